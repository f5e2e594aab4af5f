// Package testguest boots real Linux guests, for tests and for the
// demonstration, on machines where nothing but a Debian package is at hand: no
// KVM, no root, no disk image.
//
// The guest is User Mode Linux: the Linux kernel as a process. Its root is the
// host's, read-only, so that a program which lies on the host runs in the guest
// under the same path; /tmp is the host's too, but what the guest writes there
// stays in the guest.
//
// Or it is a whole PC that QEMU emulates, which is slower but has another
// vhost-user front-end, and kernels that people use. Its root is in its memory, and
// has nothing but the guest's init and the files that the test names.
//
// A guest's init is a static Go program that calls guest.Main first, such as guestinit.
//
//	dir := t.TempDir()
//	init, err := testguest.Build(ctx, dir, testguest.InitPackage)
//	g, err := testguest.Boot(ctx, testguest.Config{Init: init, Device: socket})
//	defer g.Close()
//	exit, err := g.Run(ctx, testguest.Command{Path: program, Stdout: os.Stdout})
//
// Every guest has a hard time limit, and none outlives the process that booted
// it, even if that is killed (see package supervise).
package testguest

import (
	"errors"
	"fmt"
	"io"
	"time"
)

// Defaults of a Config.
const (
	DefaultMemory     = 128 // MiB; a Go program and its output need less than half
	DefaultMemoryQEMU = 256 // MiB; half of it for the kernel and its unpacking
	DefaultTimeLimit  = time.Minute
)

// InitPackage is the package of an init that has no functions of its own.
const InitPackage = "vsockets.dev/internal/testguest/guestinit"

// Reasons for the end of a guest, and so for the failure of what was under way in it.
var (
	ErrTimeLimit = errors.New("time limit reached, guest killed")
	ErrKilled    = errors.New("guest killed")
	ErrEnded     = errors.New("guest has ended")
)

// Config says what to boot.
type Config struct {
	// Machine is what to boot it on. The zero value is User Mode Linux.
	Machine Machine
	// Init is the path of the guest's init: a static program that calls guest.Main first.
	Init string
	// Device is the path of a vhost-user vsock device's socket. Empty: no such device.
	Device string
	// Loopback loads vsock_loopback, which makes context ID 1 work inside the guest.
	Loopback bool
	// Files are plain files of the host that the guest has too, under the same
	// absolute paths. User Mode Linux has all of the host's, whatever is named here.
	Files []string
	// Memory is the guest's memory in MiB. 0: DefaultMemory or DefaultMemoryQEMU.
	Memory int
	// TimeLimit is how long the guest may live. It is killed then, once it has had a
	// moment to say what hangs: programs of Go print their goroutines, as they do on
	// SIGQUIT, and the agent's are in the error. 0: DefaultTimeLimit.
	TimeLimit time.Duration
	// Log gets what the guest's console shows. It must not block. Nil: nowhere.
	Log io.Writer
}

// Command is a program to run in the guest. It has no input.
type Command struct {
	// Path is the program: a path, which is the same on the host, or a name in the guest's PATH.
	Path string
	// Args are its arguments, without its own name.
	Args []string
	// Env is added to the guest's own environment, which is PATH, HOME, TMPDIR and guest.EnvGuest.
	Env []string
	// Dir is its working folder. Empty: the root.
	Dir string
	// Stdout and Stderr get its output as it comes. They are written to from the
	// goroutine that serves the whole guest: a Write that waits for the guest waits
	// forever. Nil: nowhere.
	Stdout, Stderr io.Writer
}

func (cfg *Config) setDefaults() error {
	switch {
	case cfg.Init == "":
		return errors.New("no Init given")
	case cfg.Memory < 0 || cfg.TimeLimit < 0:
		return fmt.Errorf("negative Memory %d or TimeLimit %v", cfg.Memory, cfg.TimeLimit)
	}
	switch {
	case cfg.Memory != 0:
	case cfg.Machine == UML:
		cfg.Memory = DefaultMemory
	default:
		cfg.Memory = DefaultMemoryQEMU
	}
	if cfg.TimeLimit == 0 {
		cfg.TimeLimit = DefaultTimeLimit
	}
	return nil
}
