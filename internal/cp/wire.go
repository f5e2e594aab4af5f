package cp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"unicode/utf8"
)

// Limits of messages.
const (
	MaxName = 4096 // bytes, Linux's PATH_MAX
	maxText = 1024 // of an error
)

// Op is what a request asks for.
type Op uint8

// Operations.
const (
	Put Op = 1 // the client sends a file
	Get Op = 2 // the server does
)

var magic = [8]byte{'v', 's', 'o', 'c', 'k', 'c', 'p', '1'}

// modeMask is what of a file's mode is sent: the permissions.
const modeMask = uint16(fs.ModePerm)

// request opens a copy.
type request struct {
	Op   Op
	Mode uint16
	Size uint64
	Name string
}

// requestHead is the part of a request whose length is fixed.
type requestHead struct {
	Magic [8]byte
	Op    Op
	Mode  uint16
	Size  uint64
	Name  uint16
}

func (r request) write(w io.Writer) error {
	if len(r.Name) > MaxName {
		return fmt.Errorf("cp: the name has %d bytes, and at most %d are possible", len(r.Name), MaxName)
	}
	var b bytes.Buffer
	_ = binary.Write(&b, binary.BigEndian, requestHead{magic, r.Op, r.Mode, r.Size, uint16(len(r.Name))})
	b.WriteString(r.Name)
	_, err := w.Write(b.Bytes())
	return err
}

// errNothingAsked is a client that has gone without a request, as vsock ping does.
var errNothingAsked = errors.New("cp: nothing is asked")

// readRequest reads one, and refuses what is none.
func readRequest(from io.Reader) (request, error) {
	var h requestHead
	switch err := binary.Read(from, binary.BigEndian, &h); {
	case errors.Is(err, io.EOF):
		return request{}, errNothingAsked
	case err != nil:
		return request{}, fmt.Errorf("cp: reading the request: %w", err)
	}
	switch {
	case h.Magic != magic:
		return request{}, errors.New("cp: the client does not speak this protocol; it must be vsock cp")
	case h.Op != Put && h.Op != Get:
		return request{}, fmt.Errorf("cp: operation %d is unknown", h.Op)
	case h.Op == Get && h.Size != 0:
		return request{}, errors.New("cp: a request to get a file has a size")
	case h.Name == 0 || h.Name > MaxName:
		return request{}, fmt.Errorf("cp: a name of %d bytes", h.Name)
	case h.Mode&^modeMask != 0:
		return request{}, fmt.Errorf("cp: mode %o has more than permissions", h.Mode)
	}
	name, err := readText(from, h.Name)
	if err != nil {
		return request{}, fmt.Errorf("cp: reading the name: %w", err)
	}
	return request{Op: h.Op, Mode: h.Mode, Size: h.Size, Name: name}, nil
}

// reply answers a request, or says that a file has come.
type reply struct {
	Failed bool
	Mode   uint16
	Size   uint64
	Text   string
}

type replyHead struct {
	Status uint8
	Mode   uint16
	Size   uint64
	Text   uint16
}

func (r reply) write(w io.Writer) error {
	h := replyHead{Mode: r.Mode, Size: r.Size}
	if r.Failed {
		h.Status = 1
	}
	text := r.Text[:min(len(r.Text), maxText)]
	h.Text = uint16(len(text))
	var b bytes.Buffer
	_ = binary.Write(&b, binary.BigEndian, h)
	b.WriteString(text)
	_, err := w.Write(b.Bytes())
	return err
}

// readReply reads one. An error of the other side is an error.
func readReply(from io.Reader) (reply, error) {
	var h replyHead
	if err := binary.Read(from, binary.BigEndian, &h); err != nil {
		return reply{}, fmt.Errorf("cp: reading the answer: %w; is vsock cp --serve there?", err)
	}
	if h.Status > 1 || h.Text > maxText || h.Mode&^modeMask != 0 {
		return reply{}, errors.New("cp: the other side does not speak this protocol; it must be vsock cp --serve")
	}
	text, err := readText(from, h.Text)
	if err != nil {
		return reply{}, fmt.Errorf("cp: reading the answer: %w", err)
	}
	r := reply{Failed: h.Status == 1, Mode: h.Mode, Size: h.Size, Text: text}
	if r.Failed {
		return r, &RemoteError{text}
	}
	return r, nil
}

// readText reads so many bytes, which are to be text without control characters.
func readText(from io.Reader, n uint16) (string, error) {
	b := make([]byte, n)
	if _, err := io.ReadFull(from, b); err != nil {
		return "", err
	}
	if !utf8.Valid(b) || bytes.ContainsFunc(b, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return "", errors.New("it is no text")
	}
	return string(b), nil
}

// RemoteError is what the other side says.
type RemoteError struct{ Text string }

func (e *RemoteError) Error() string { return "the other side says: " + e.Text }
