package hybrid

import (
	"container/list"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"vsockets.dev/internal/patient"
	"vsockets.dev/internal/relay"
	"vsockets.dev/vsock"
)

// Defaults of ServerConfig.
const (
	// DefaultHandshakeTimeout is how long a client may take to say what it wants.
	DefaultHandshakeTimeout = 2 * time.Second

	// DefaultDialTimeout is how long the guest, or a host's program, may take to
	// accept a connection. It is the connect timeout of vSockets.
	DefaultDialTimeout = vsock.DefaultConnectTimeout

	// DefaultMaxHandshakes is how many clients may be about to say what they want.
	DefaultMaxHandshakes = 128

	// DefaultMaxConns is how many connections a guest may have through a Server,
	// in both directions. Each costs some 100 KiB while data flows. Firecracker has 1023.
	DefaultMaxConns = 1024
)

// ErrServerClosed is what a closed server says.
var ErrServerClosed = errors.New("hybrid: the server is closed")

// errMaxConns is what DialHost says beyond the limit.
var errMaxConns = errors.New("hybrid: the guest has as many connections as ServerConfig.MaxConns allows")

// ServerConfig is what a Server is told. Dial and Path must be set.
type ServerConfig struct {
	// Dial connects to a port of the guest.
	Dial func(ctx context.Context, port uint32) (*vsock.Conn, error)

	// Path is the path of the guest's Unix socket; for port P of the host, _P is
	// put behind it.
	Path string

	// HandshakeTimeout is how long a client may take to send its line. Default:
	// DefaultHandshakeTimeout.
	HandshakeTimeout time.Duration

	// DialTimeout limits Dial, and DialHost. Default: DefaultDialTimeout.
	DialTimeout time.Duration

	// MaxHandshakes is how many clients may be before the end of their line. One
	// more, and the oldest is closed: who has something to say says it at once.
	// Default: DefaultMaxHandshakes.
	MaxHandshakes int

	// MaxConns is how many connections there may be, in both directions and with
	// those in the handshake. A further one is closed at once. Default:
	// DefaultMaxConns.
	MaxConns int

	// Log gets the connections that came to nothing. Default: nothing is logged.
	Log *slog.Logger
}

func (c *ServerConfig) fill() {
	orDefault(&c.HandshakeTimeout, DefaultHandshakeTimeout)
	orDefault(&c.DialTimeout, DefaultDialTimeout)
	orDefault(&c.MaxHandshakes, DefaultMaxHandshakes)
	orDefault(&c.MaxConns, DefaultMaxConns)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
}

func orDefault[T int | time.Duration](v *T, d T) {
	if *v <= 0 {
		*v = d
	}
}

// Counters count the connections of a Server.
type Counters struct {
	Joined    uint64 // made, in either direction
	Malformed uint64 // closed: the client's line was none
	TimedOut  uint64 // closed: the client's line did not come in time
	Evicted   uint64 // closed: too many clients were before the end of their line
	Limited   uint64 // closed, or refused: beyond MaxConns
	Refused   uint64 // closed, or refused: the guest or the host's program did not accept
	Active    int    // now, those in the handshake included
}

// Server joins the Unix sockets of one guest to the guest. Its methods may be
// called from any goroutine.
type Server struct {
	config ServerConfig
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wait   sync.WaitGroup

	joined, malformed, timedOut, evicted, limited, refused atomic.Uint64

	mu         sync.Mutex
	closed     bool
	active     int                    // connections, at most MaxConns
	open       map[io.Closer]struct{} // what Close closes
	handshakes *list.List             // of relay.Conn, the oldest first
}

// NewServer makes a server for one guest.
func NewServer(c ServerConfig) *Server {
	c.fill()
	s := &Server{config: c, open: make(map[io.Closer]struct{}), handshakes: list.New()}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// Counters counts the server's connections.
func (s *Server) Counters() Counters {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Counters{
		Joined: s.joined.Load(), Malformed: s.malformed.Load(), TimedOut: s.timedOut.Load(),
		Evicted: s.evicted.Load(), Limited: s.limited.Load(), Refused: s.refused.Load(),
		Active: s.active,
	}
}

// Close closes the listeners of Serve and all connections, and waits until
// everything that the server does has ended. Then Serve returns ErrServerClosed.
func (s *Server) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return ErrServerClosed
	}
	s.closed = true
	s.cancel()
	open := s.open
	s.open = nil
	s.mu.Unlock()
	for c := range open {
		_ = c.Close()
	}
	s.wait.Wait()
	return nil
}

// enter makes a connection or listener one that Close closes. leave ends that, and
// closes it.
func (s *Server) enter(c io.Closer) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrServerClosed
	}
	s.open[c] = struct{}{}
	return nil
}

func (s *Server) leave(c io.Closer) {
	_ = c.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, c)
}

// begin is enter, and Close waits for who uses c. The function it gives ends both.
func (s *Server) begin(c io.Closer) (end func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrServerClosed
	}
	s.open[c] = struct{}{}
	s.wait.Add(1)
	return func() {
		s.leave(c)
		s.wait.Done()
	}, nil
}

// take takes up a place among MaxConns, and free gives it back.
func (s *Server) take() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.active >= s.config.MaxConns {
		s.limited.Add(1)
		return false
	}
	s.active++
	return true
}

func (s *Server) free() {
	s.mu.Lock()
	s.active--
	s.mu.Unlock()
}

// Serve accepts clients until the server or the listener is closed, and joins each
// to the port of the guest that it asks for. The listener is closed when Serve
// returns; its connections must be able to half-close, as those of Unix sockets.
func (s *Server) Serve(l net.Listener) error {
	l = patient.New(l, s.config.Log.With("path", s.config.Path))
	end, err := s.begin(l)
	if err != nil {
		_ = l.Close()
		return err
	}
	defer end()
	for {
		c, err := l.Accept()
		switch {
		case err == nil:
			s.start(c)
		case s.ctx.Err() != nil:
			return ErrServerClosed
		default:
			return err
		}
	}
}

// start serves a client in a goroutine of its own.
func (s *Server) start(c net.Conn) {
	client, ok := c.(relay.Conn)
	if !ok {
		s.config.Log.Error("hybrid: the listener's connections cannot half-close; use a Unix socket", "addr", c.LocalAddr())
		_ = c.Close()
		return
	}
	if !s.take() {
		s.config.Log.Debug("hybrid: client closed, too many connections", "path", s.config.Path)
		_ = c.Close()
		return
	}
	end, err := s.begin(client)
	if err != nil {
		s.free()
		_ = c.Close()
		return
	}
	evicted := s.handshake(client) // here, so that the oldest is the one that came first
	go func() {
		defer end()
		defer s.free()
		if err := s.serve(client, evicted); err != nil {
			s.config.Log.Info("hybrid: connection from the host", "path", s.config.Path, "err", err)
		}
	}()
}

// hostPath is the Unix socket that stands for a port of the host.
func hostPath(path string, port uint32) string {
	return path + "_" + strconv.FormatUint(uint64(port), 10)
}
