//go:build unix

package main

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// isTerminal asks what only a terminal has: a size.
func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	return err == nil
}

// terminalSize gives a terminal's rows and columns: 24 and 80 where it does not tell.
func terminalSize(out io.Writer) (rows, columns int) {
	if f, ok := asFile(out); ok {
		if s, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ); err == nil && s.Row > 0 && s.Col > 0 {
			return int(s.Row), int(s.Col)
		}
	}
	return 24, 80
}
