package hybrid

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
)

const (
	verbConnect = "CONNECT "
	verbOK      = "OK "
)

// Limits of the two lines, line end included. A carriage return before the line
// feed is let pass, as real servers do.
const (
	maxRequest = len("CONNECT 4294967295\r\n")
	maxAnswer  = len("OK 4294967295\r\n")
)

var (
	errTooLong = errors.New("the line is too long")
	errNoLine  = errors.New("the line has no end")
)

// readRequest reads a line CONNECT, and gives what came in behind it: the first
// bytes of the stream. It reads no further than the longest line.
func readRequest(r io.Reader) (port uint32, rest []byte, err error) {
	buf := make([]byte, maxRequest)
	for n := 0; ; {
		k, err := r.Read(buf[n:])
		seen := n
		n += k
		if i := bytes.IndexByte(buf[seen:n], '\n'); i >= 0 {
			end := seen + i
			port, err := parseLine(buf[:end], verbConnect)
			return port, buf[end+1 : n], err
		}
		switch {
		case n == len(buf):
			return 0, nil, errTooLong
		case errors.Is(err, io.EOF):
			return 0, nil, errNoLine
		case err != nil:
			return 0, nil, err
		}
	}
}

// parseLine takes a line, its line feed taken off, apart. Digits are all that a
// port has. Upper and lower case are one, as to Firecracker.
func parseLine(line []byte, verb string) (port uint32, err error) {
	line = bytes.TrimSuffix(line, []byte("\r"))
	if len(line) < len(verb) || !bytes.EqualFold(line[:len(verb)], []byte(verb)) {
		return 0, fmt.Errorf("%q does not begin with %q", line, verb)
	}
	v, err := strconv.ParseUint(string(line[len(verb):]), 10, 32)
	if err != nil {
		return 0, fmt.Errorf("%q has no port: a number below 2^32 in decimal", line)
	}
	return uint32(v), nil
}

// formatLine gives a whole line.
func formatLine(verb string, port uint32) []byte {
	return fmt.Appendf(nil, "%s%d\n", verb, port)
}
