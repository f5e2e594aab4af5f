package testguest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Available gives nil if the machine can boot a guest here, and else the reason
// and what to do.
func (m Machine) Available() error {
	switch m {
	case UML:
		return umlAvailable()
	case QEMU61, QEMU612:
		return qemuAvailable(m)
	}
	return fmt.Errorf("testguest: there is no machine %q", string(m))
}

// command is how the process of a virtual machine is started. Its files are the
// serial line of the guest, lineIn to read from and lineOut to write to.
type command struct {
	args []string // the program first
	env  []string
}

// The files of a command's process, as package supervise passes them on.
const (
	lineIn  = 3
	lineOut = 4
)

// vmCommand gives the command of the configured virtual machine. Its files may
// go into dir.
func vmCommand(cfg *Config, dir string) (*command, error) {
	if cfg.Machine == UML {
		return umlCommand(cfg, dir)
	}
	return qemuCommand(cfg, dir)
}

// maxSocketPath is the longest path of a Unix socket, sun_path without its end.
const maxSocketPath = 107

// devicePath gives the absolute path of a device's socket. It makes sure that
// there is one, and that its path has none of the characters that the machine
// takes for something else.
func devicePath(path, special string) (string, error) {
	device, err := filepath.Abs(path)
	switch {
	case err != nil:
		return "", err
	case strings.ContainsAny(device, special):
		return "", fmt.Errorf("device socket %q: the path cannot hold any of %q here", device, special)
	case len(device) > maxSocketPath:
		return "", fmt.Errorf("device socket %q: longer than a socket's path may be, %d bytes", device, maxSocketPath)
	}
	// Without this check User Mode Linux would boot, and just have no device.
	if _, err := os.Stat(device); err != nil {
		return "", fmt.Errorf("device socket: %w", err)
	}
	return device, nil
}

// checkParameters checks parameters of the guest's kernel.
func checkParameters(params []string) error {
	for _, p := range params {
		if strings.ContainsAny(p, " \t\n\"") {
			return fmt.Errorf("%q: the kernel's command line cannot hold a space or quote", p)
		}
	}
	return nil
}
