//go:build !unix

package main

import (
	"io"
	"os"
)

// isTerminal takes any device of characters for one: a console is.
func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

func terminalSize(io.Writer) (rows, columns int) { return 24, 80 }
