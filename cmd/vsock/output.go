package main

import (
	"encoding/json"
	"io"
	"os"
)

// writeJSON writes a value for programs, that people can read too.
func writeJSON(out io.Writer, v any) error {
	e := json.NewEncoder(out)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// onTerminal says whether an output is a terminal: then it may have colours and move.
func onTerminal(out io.Writer) bool {
	f, ok := out.(*os.File)
	if !ok {
		return false
	}
	i, err := f.Stat()
	return err == nil && i.Mode()&(os.ModeCharDevice|os.ModeDevice) == os.ModeCharDevice|os.ModeDevice && os.Getenv("TERM") != "dumb"
}

// writeLine writes a value in a line.
func writeLine(out io.Writer, v any) error { return json.NewEncoder(out).Encode(v) }
