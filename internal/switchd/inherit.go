package switchd

import (
	"fmt"
	"net"
	"os"
	"path/filepath"

	"github.com/coreos/go-systemd/v22/activation"
)

// Names of sockets that are handed over, FileDescriptorName= in systemd's units; a
// guest's is guest-CID.
const (
	nameAttach  = "attach"
	nameControl = "control"
)

// Inherited are listening Unix sockets that someone else made, as systemd's socket
// activation does (sd_listen_fds). They are kept, so that one can be used again
// after what used it was removed. A nil one has none.
type Inherited struct{ sockets []*inherited }

type inherited struct {
	file   *os.File
	name   string
	path   string
	served string // the path of what uses it; empty: nothing does
}

// Inherit takes the sockets that were handed to this process, and removes what says
// so from the environment. Close is to be called in the end.
func Inherit() (*Inherited, error) {
	in := new(Inherited)
	var err error
	for _, f := range activation.Files(true) {
		s := &inherited{file: f, name: f.Name()}
		in.sockets = append(in.sockets, s)
		if err == nil {
			err = s.identify()
		}
	}
	if err != nil {
		in.Close()
		return nil, err
	}
	return in, nil
}

// identify refuses what is no listening Unix socket.
func (s *inherited) identify() error {
	l, err := s.listener()
	if err != nil {
		return fmt.Errorf("the file %q that was handed over: %w", s.name, err)
	}
	s.path = filepath.Clean(l.Addr().String())
	err = checkListening(l)
	_ = l.Close()
	if err != nil {
		return fmt.Errorf("the socket %q (%s) that was handed over: %w", s.name, s.path, err)
	}
	return nil
}

// listener gives a listener of its own for the socket.
func (s *inherited) listener() (*net.UnixListener, error) {
	l, err := net.FileListener(s.file)
	if err != nil {
		return nil, fmt.Errorf("it is no socket that listens: %w", err)
	}
	u, ok := l.(*net.UnixListener)
	if !ok {
		_ = l.Close()
		return nil, fmt.Errorf("it listens at %s; only Unix sockets can be used (ListenStream=/path)", l.Addr())
	}
	return u, nil
}

// take gives the socket that is bound to a path, or else the one of a name, nil if
// there is neither. By its name,
// one is given to one path at a time.
func (in *Inherited) take(name, path string) (*net.UnixListener, error) {
	if in == nil {
		return nil, nil
	}
	var found *inherited
	for _, s := range in.sockets {
		if s.path == path {
			found = s
			break
		}
		if s.name == name && (s.served == "" || s.served == path) && found == nil {
			found = s
		}
	}
	if found == nil {
		return nil, nil
	}
	found.served = path
	return found.listener()
}

// release has the socket of a path be free for another.
func (in *Inherited) release(path string) {
	if in != nil {
		for _, s := range in.sockets {
			if s.served == path {
				s.served = ""
			}
		}
	}
}

// unused names those that nothing uses.
func (in *Inherited) unused() []string {
	var names []string
	if in != nil {
		for _, s := range in.sockets {
			if s.served == "" {
				names = append(names, fmt.Sprintf("%s (%s)", s.name, s.path))
			}
		}
	}
	return names
}

// Close closes them.
func (in *Inherited) Close() {
	if in != nil {
		for _, s := range in.sockets {
			_ = s.file.Close()
		}
	}
}
