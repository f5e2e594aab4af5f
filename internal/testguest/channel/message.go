package channel

import (
	"encoding/json"
	"errors"
	"fmt"
	"syscall"
)

// Hello is the guest's first message.
type Hello struct {
	// Kernel is the guest's kernel release, as uname gives it.
	Kernel string `json:"kernel"`
	// CID is the guest's own context ID, 0 if it has none.
	CID uint32 `json:"cid,omitempty"`
}

// Command asks the guest to run a program.
type Command struct {
	Path string   `json:"path"`
	Args []string `json:"args,omitempty"` // without the program's name
	Env  []string `json:"env,omitempty"`  // added to the guest's own
	Dir  string   `json:"dir,omitempty"`
}

// Call asks the guest to call a function.
type Call struct {
	Name string          `json:"name"`
	Args json.RawMessage `json:"args,omitempty"`
}

// Result is the end of a program or call.
type Result struct {
	Exit  int             `json:"exit,omitempty"`
	Value json.RawMessage `json:"value,omitempty"`
	Err   *Error          `json:"error,omitempty"`
}

// Error is an error that crosses the line. Its text crosses as it is; an errno
// in its chain crosses as a number, so that errors.Is(err, syscall.ECONNRESET)
// holds on the other side. Both sides run Linux on the same architecture.
type Error struct {
	Text  string        `json:"text"`
	Errno syscall.Errno `json:"errno,omitempty"`
}

// NewError gives err in the form that crosses the line, nil for nil.
func NewError(err error) *Error {
	if err == nil {
		return nil
	}
	e := &Error{Text: err.Error()}
	errors.As(err, &e.Errno)
	return e
}

func (e *Error) Error() string { return "in the guest: " + e.Text }

// Unwrap gives the errno, if there was one.
func (e *Error) Unwrap() error {
	if e.Errno == 0 {
		return nil
	}
	return e.Errno
}

// Decode decodes the body of m, which came from the other side, into v.
func (m *Message) Decode(v any) error {
	if err := json.Unmarshal(m.Body, v); err != nil {
		return fmt.Errorf("channel: message of kind %d: %w", m.Kind, err)
	}
	return nil
}
