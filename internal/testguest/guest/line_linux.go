package guest

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// openLine opens the control line, a serial port, and makes it raw: no echo, no
// signals, no translation of line ends, all eight bits. The host sends nothing
// before the hello, so that nothing can be echoed before that.
func openLine(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, fmt.Errorf("open the control line: %w", err)
	}
	t, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	if err != nil {
		return nil, fmt.Errorf("control line %s: get its mode: %w", path, err)
	}
	t.Iflag, t.Oflag, t.Lflag = 0, 0, 0
	t.Cflag = unix.CS8 | unix.CREAD | unix.CLOCAL | unix.B38400
	t.Cc[unix.VMIN], t.Cc[unix.VTIME] = 1, 0
	if err := unix.IoctlSetTermios(int(f.Fd()), unix.TCSETS, t); err != nil {
		return nil, fmt.Errorf("control line %s: make it raw: %w", path, err)
	}
	return f, nil
}
