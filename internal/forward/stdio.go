package forward

import (
	"io"
	"net"
	"sync"
	"time"
)

// local is the address of what has no address of its own.
type local Kind

func (local) Network() string  { return "local" }
func (a local) String() string { return string(a) }

// noDeadlines are the methods of net.Conn that files are not asked for here.
type noDeadlines struct{ kind Kind }

func (n noDeadlines) LocalAddr() net.Addr            { return local(n.kind) }
func (n noDeadlines) RemoteAddr() net.Addr           { return local(n.kind) }
func (noDeadlines) SetDeadline(time.Time) error      { return nil }
func (noDeadlines) SetReadDeadline(time.Time) error  { return nil }
func (noDeadlines) SetWriteDeadline(time.Time) error { return nil }

// stdio is standard input and output as a connection.
type stdio struct {
	noDeadlines
	*io.PipeReader // what comes from standard input
	out            io.WriteCloser
	closeOut       func() error // once
}

// newStdio takes standard input over. A read from a terminal or a file cannot be
// broken off, so it has a goroutine of its own, which stays behind where the
// connection ends before the input: until there is input, or the program ends.
func newStdio(in io.Reader, out io.WriteCloser) *stdio {
	r, w := io.Pipe()
	go func() {
		_, err := io.Copy(w, in)
		_ = w.CloseWithError(err)
	}()
	return &stdio{
		noDeadlines: noDeadlines{Stdio}, PipeReader: r,
		out: out, closeOut: sync.OnceValue(out.Close),
	}
}

func (s *stdio) Write(p []byte) (int, error) { return s.out.Write(p) }

// CloseWrite closes standard output, so that a pipe behind it ends.
func (s *stdio) CloseWrite() error { return s.closeOut() }

// CloseRead ends Read with net.ErrClosed.
func (s *stdio) CloseRead() error { return s.CloseWithError(net.ErrClosed) }

// Close ends both directions.
func (s *stdio) Close() error {
	_ = s.CloseRead()
	return s.CloseWrite()
}

// once is a listener for an endpoint that is one connection.
type once struct {
	mu   sync.Mutex
	conn net.Conn // nil: it was accepted
}

// Accept gives the connection, and then io.EOF: there will be no more.
func (o *once) Accept() (net.Conn, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	c := o.conn
	if o.conn = nil; c == nil {
		return nil, io.EOF
	}
	return c, nil
}

// Close ends the connection if it was not accepted.
func (o *once) Close() error {
	if c, err := o.Accept(); err == nil {
		return c.Close()
	}
	return nil
}

func (o *once) Addr() net.Addr { return local("once") }
