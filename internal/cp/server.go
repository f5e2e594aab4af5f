package cp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"vsockets.dev/internal/relay"
)

// Limits of a Server.
const (
	// DefaultMaxConns is how many copies are made at a time. Further ones wait.
	DefaultMaxConns = 16

	// idleTime is after what time a client that sends nothing, or takes nothing, is
	// given up.
	idleTime = 30 * time.Second
)

// Server gives and takes files of one folder.
type Server struct {
	Root     *os.Root
	ReadOnly bool   // nothing is taken
	MaxSize  uint64 // of a file that is taken; 0: no limit
	MaxConns int    // default: DefaultMaxConns

	// Log gets each copy; default: nothing is logged. err is nil if it was made.
	Log func(peer net.Addr, op Op, name string, err error)
}

// Serve serves a listener until the context ends, and then resets what is under way. The
// listener is closed when it returns.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	places := s.MaxConns
	if places == 0 {
		places = DefaultMaxConns
	}
	free := make(chan struct{}, places)
	var running sync.WaitGroup
	defer running.Wait()
	serving, end := context.WithCancel(ctx)
	defer end()
	running.Go(func() { // which is waited for: the address is free when Serve returns
		<-serving.Done()
		_ = l.Close()
	})
	for {
		select {
		case free <- struct{}{}:
		case <-ctx.Done():
			return nil // who waits in the backlog has no place
		}
		c, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		running.Go(func() {
			defer func() { <-free }()
			stop := context.AfterFunc(ctx, func() { _ = relay.Reset(c) })
			defer stop()
			s.serve(c)
		})
	}
}

// serve makes one copy.
func (s *Server) serve(c net.Conn) {
	conn := &impatient{c}
	r, err := readRequest(conn)
	if errors.Is(err, errNothingAsked) {
		_ = c.Close()
		return
	}
	if err == nil {
		err = s.copy(conn, r)
	}
	if err != nil {
		_ = reply{Failed: true, Text: text(err)}.write(conn)
		drain(c)
	}
	_ = c.Close()
	if s.Log != nil {
		s.Log(c.RemoteAddr(), r.Op, r.Name, err)
	}
}

// Limits of what is read and dropped of a refused file.
const (
	maxUnread = 1 << 20
	drainTime = time.Second
)

// drain has the reply be read, and not lost in a reset that data on its way causes.
func drain(c net.Conn) {
	if h, ok := c.(relay.Conn); ok {
		_ = h.CloseWrite()
	}
	if c.SetReadDeadline(time.Now().Add(drainTime)) == nil {
		_, _ = io.CopyN(io.Discard, c, maxUnread)
	}
}

func (s *Server) copy(conn *impatient, r request) error {
	name, err := clean(r.Name)
	if err != nil {
		return err
	}
	if r.Op == Get {
		return s.give(conn, name)
	}
	switch {
	case s.ReadOnly:
		return errors.New("files can only be got from here")
	case s.MaxSize > 0 && r.Size > s.MaxSize:
		return fmt.Errorf("the file has %d bytes, and at most %d are taken", r.Size, s.MaxSize)
	}
	if i, err := s.Root.Stat(name); err == nil {
		if i.IsDir() {
			return fmt.Errorf("%s is a folder; write the file's name behind it", r.Name)
		}
		if !i.Mode().IsRegular() {
			return fmt.Errorf("%s is no regular file", r.Name)
		}
	}
	if err := (reply{}).write(conn); err != nil {
		return err
	}
	if _, err := receiveFile(s.Root, name, conn, r.Size, fs.FileMode(r.Mode)); err != nil {
		return err
	}
	return reply{}.write(conn)
}

func (s *Server) give(conn *impatient, name string) error {
	i, err := s.Root.Stat(name) // before it is opened: opening a pipe would wait
	if err != nil {
		return err
	}
	if !i.Mode().IsRegular() {
		return fmt.Errorf("%s is no regular file", name)
	}
	f, err := s.Root.OpenFile(name, os.O_RDONLY|nonblock, 0)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	if i, err = f.Stat(); err != nil {
		return err
	}
	if !i.Mode().IsRegular() {
		return fmt.Errorf("%s is no regular file", name)
	}
	size := uint64(i.Size())
	if err := (reply{Mode: uint16(i.Mode().Perm()), Size: size}).write(conn); err != nil {
		return err
	}
	if _, err := send(conn, f, size); err != nil {
		return err
	}
	_, err = readReply(conn)
	return err
}

// clean gives the local form of a name. os.Root is what confines it; this gives
// clear errors, and lets /x be x.
func clean(name string) (string, error) {
	p := path.Clean("/" + name)[1:]
	switch {
	case p == "" || strings.HasSuffix(name, "/"):
		return "", fmt.Errorf("%q names a folder; write a file's name", name)
	case strings.HasPrefix(path.Base(p), ".vsock-cp-"):
		return "", fmt.Errorf("%q is a name for files that are not complete", name)
	}
	return filepath.Localize(p)
}

// text is what the client is told: not where the folder is.
func text(err error) string {
	var p *fs.PathError
	if errors.As(err, &p) {
		return fmt.Sprintf("%s: %v", filepath.ToSlash(p.Path), p.Err)
	}
	return strings.TrimPrefix(err.Error(), "cp: ")
}

// impatient is a connection that may not stand still.
type impatient struct{ net.Conn }

func (c *impatient) Read(p []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(idleTime)); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

func (c *impatient) Write(p []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(idleTime)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}
