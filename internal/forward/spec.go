package forward

import (
	"errors"
	"fmt"
	"strings"
)

// Spec is a forward in one line, FROM=TO: connections that are made to From are
// joined to new ones to To.
//
//	host:8080=tcp:127.0.0.1:80
//	tcp:127.0.0.1:2222=vsock:3:22
//	unix:/run/x.sock=vsock:3:1024
//	kernel:2:1024=host:53
//	tcp:8000=exec:sh -c 'date; cat'
//
// The two are parted at the first = that the name of a kind follows, with its
// colon: other ones may be in a path or a command.
type Spec struct{ From, To Endpoint }

// ParseSpec reads a forward.
func ParseSpec(s string) (Spec, error) {
	from, to, ok := cutSpec(s)
	if !ok {
		return Spec{}, fmt.Errorf("forward: %q is no forward; write FROM=TO, for example host:8080=tcp:127.0.0.1:80, each one of %s", s, forms)
	}
	var v Spec
	var err error
	if v.From, err = ParseEndpoint(from); err != nil {
		return Spec{}, err
	}
	if v.To, err = ParseEndpoint(to); err != nil {
		return Spec{}, err
	}
	if err = v.check(); err != nil {
		return Spec{}, err
	}
	return v, nil
}

// check says why two endpoints make no forward.
func (s Spec) check() error {
	if err := s.From.canListen(); err != nil {
		return fmt.Errorf("forward: %s cannot be listened on: %w", s.From, err)
	}
	if err := s.To.canDial(); err != nil {
		return fmt.Errorf("forward: %s cannot be dialled: %w", s.To, err)
	}
	if s.From == s.To {
		err := errors.New("both ends are the same, so that it would only reach itself; change one")
		return fmt.Errorf("forward: %s: %w", s, err)
	}
	return nil
}

// cutSpec parts FROM and TO.
func cutSpec(s string) (from, to string, ok bool) {
	for i := range len(s) {
		if s[i] == '=' && startsEndpoint(s[i+1:]) {
			return s[:i], s[i+1:], true
		}
	}
	return "", "", false
}

func startsEndpoint(s string) bool {
	for _, k := range []Kind{TCP, Unix, Vsock, Kernel, Host, Exec} {
		if strings.HasPrefix(s, string(k)+":") {
			return true
		}
	}
	return s == string(Stdio)
}

// String is the forward's text, which ParseSpec reads back.
func (s Spec) String() string { return s.From.String() + "=" + s.To.String() }

// MarshalText gives String.
func (s Spec) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what ParseSpec reads.
func (s *Spec) UnmarshalText(text []byte) error { return s.Set(string(text)) }

// Set reads what ParseSpec reads. With it, a *Spec is a flag.Value.
func (s *Spec) Set(text string) error {
	v, err := ParseSpec(text)
	if err == nil {
		*s = v
	}
	return err
}
