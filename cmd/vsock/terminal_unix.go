//go:build unix

package main

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// terminalSize gives a terminal's rows and columns: 24 and 80 where it does not tell.
func terminalSize(out io.Writer) (rows, columns int) {
	if f, ok := out.(*os.File); ok {
		if s, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ); err == nil && s.Row > 0 && s.Col > 0 {
			return int(s.Row), int(s.Col)
		}
	}
	return 24, 80
}
