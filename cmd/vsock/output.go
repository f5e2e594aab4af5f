package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
)

// output is standard output. It keeps the first error of writing, so that no command has
// to ask after each line, and none loses what it says in silence.
type output struct {
	to  io.Writer
	err error
}

// Write writes. Commands write from one goroutine at a time.
func (o *output) Write(p []byte) (int, error) {
	n, err := o.to.Write(p)
	if err != nil && o.err == nil {
		o.err = err
	}
	return n, err
}

// Close closes a file, as a command does whose connection has ended.
func (o *output) Close() error {
	if c, ok := o.to.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// outcome is how a command ends whose own end is an error or nil: what could not be
// written is one too.
func (o *output) outcome(ctx context.Context, err error) error {
	var s *statusError
	switch {
	case o.err != nil && (err == nil || errors.Is(err, o.err)) && !errors.As(err, &s):
		return withStatus(exitCut, outputError(o.err))
	case ctx.Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, net.ErrClosed)) && !errors.As(err, &s):
		return errInterrupted
	}
	return err
}

// asFile gives the file that an output is, if it is one.
func asFile(out io.Writer) (f *os.File, ok bool) {
	if o, is := out.(*output); is {
		out = o.to
	}
	f, ok = out.(*os.File)
	return f, ok
}

// onTerminal says whether an output is a terminal: then it may have colours and move.
// A device such as /dev/null is none.
func onTerminal(out io.Writer) bool {
	f, ok := asFile(out)
	return ok && isTerminal(f) && os.Getenv("TERM") != "dumb"
}

// writeJSON writes a value for programs, in a line: what reads lines can read it.
func writeJSON(out io.Writer, v any) error { return json.NewEncoder(out).Encode(v) }

// writeDocument writes measurements that are kept in a file, and compared with others
// line by line.
func writeDocument(out io.Writer, v any) error {
	e := json.NewEncoder(out)
	e.SetIndent("", " ")
	return e.Encode(v)
}
