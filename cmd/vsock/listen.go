package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"sync"
	"time"

	"vsockets.dev/internal/forward"
	"vsockets.dev/vsock"
)

// listenGrace is how long connections may go on after a signal, with --keep-open.
const listenGrace = time.Second

// listenCommand takes connections for standard input and output, or for a command.
type listenCommand struct {
	stackFlag
	typeFlag
	Addr     vsock.Addr    `arg:"" placeholder:"CID:PORT" help:"Where to listen: any:1024 is port 1024, any:any a free port."`
	KeepOpen bool          `short:"k" help:"Go on with further connections."`
	Exec     string        `placeholder:"COMMAND" help:"Run a command for each connection, which is its standard input and output. There is no shell: write sh -c '...' for one."`
	MaxConns int           `default:"64" help:"With --exec: how many connections there are at a time. Further ones wait until one has ended."`
	Idle     time.Duration `placeholder:"TIME" help:"End a connection when nothing has moved either way for so long. Default: never."`
	Wait     time.Duration `placeholder:"TIME" help:"Try again for so long while the stack is not there, as where a switch is starting."`
	Verbose  bool          `short:"v" help:"Tell on standard error where it listens, and who connects."`

	stderr io.Writer
}

// Help is what --help shows beside the flags.
func (*listenCommand) Help() string {
	return `Takes one connection and joins it to standard input and output, as vsock connect does. With
--keep-open, it takes connections one after the other and writes what they send; standard input
is not read then. A signal ends that: connections that do not end within a second are reset then,
with status 130.

A command has the peer's address in VSOCK_REMOTE_CID and VSOCK_REMOTE_PORT.

Examples:

  vsock listen any:1024 | tar x

  vsock listen any:1024 --keep-open --exec 'sh -c "date; cat"' --max-conns 10

  vsock listen --stack switch:/run/vsock/attach.sock any:any --verbose

` + exitHelp
}

// Run listens.
func (c *listenCommand) Run(ctx context.Context, out io.Writer) error {
	if err := c.check(); err != nil {
		return withStatus(exitUsage, err)
	}
	defer keepSIGPIPE()()
	c.stderr = os.Stderr
	s, err := c.openWithin(ctx, c.Wait)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	if c.socket() == vsock.Datagram {
		return c.gone(s, c.datagrams(ctx, s, out))
	}
	l, err := (&vsock.ListenConfig{Stack: s, Type: c.socket()}).Listen(ctx, c.Addr)
	if err != nil {
		return remedyListen(err)
	}
	c.tell(l.Addr())
	waiting := patientListener(l, c.stderr)
	defer closeWith(ctx, waiting)()
	return c.gone(s, c.serve(ctx, waiting, out))
}

// closeWith closes a listener when the context ends, or else when what it gives is called.
// That returns when it is closed: a socket that has a name must not leave it behind.
func closeWith(ctx context.Context, l io.Closer) (end func()) {
	ctx, cancel := context.WithCancel(ctx)
	closed := make(chan struct{})
	go func() {
		<-ctx.Done()
		_ = l.Close()
		close(closed)
	}()
	return func() {
		cancel()
		<-closed
	}
}

func (c *listenCommand) check() error {
	switch {
	case c.MaxConns < 1:
		return fmt.Errorf("--max-conns is %d; it must be at least 1", c.MaxConns)
	case c.Exec != "" && c.socket() == vsock.Datagram:
		return errors.New("--exec is for connections, and datagrams have none; leave one of the two out")
	case c.Exec != "":
		words, err := forward.SplitWords(c.Exec)
		if err != nil {
			return fmt.Errorf("--exec: %w", err)
		}
		// Now, and not when somebody has connected.
		if _, err := exec.LookPath(words[0]); err != nil {
			return fmt.Errorf("--exec: %w; is it installed, and does its name need a path?", err)
		}
	}
	return checkTimes(c.Idle, c.Wait)
}

// tell says where it listens, if that is asked for or cannot be known.
func (c *listenCommand) tell(a net.Addr) {
	if c.Verbose || c.Addr.Port == vsock.PortAny {
		_, _ = fmt.Fprintf(c.stderr, "vsock: listening on %s\n", a)
	}
}

// serve accepts connections: as many at a time as there are places.
func (c *listenCommand) serve(ctx context.Context, l net.Listener, out io.Writer) error {
	places := 1
	if c.Exec != "" && c.KeepOpen {
		places = c.MaxConns
	}
	sessions, reset := context.WithCancel(context.WithoutCancel(ctx))
	defer reset()
	defer context.AfterFunc(ctx, func() {
		if c.KeepOpen {
			time.AfterFunc(listenGrace, reset)
		} else {
			reset()
		}
	})()
	free := make(chan struct{}, places)
	var running sync.WaitGroup
	var mu sync.Mutex
	var first error
	note := func(err error) {
		mu.Lock()
		defer mu.Unlock()
		if first == nil {
			first = err
		}
	}
	interrupted := func() error {
		running.Wait()
		if first == nil && !c.KeepOpen {
			return errInterrupted
		}
		return first
	}
	for {
		select {
		case free <- struct{}{}:
		case <-ctx.Done():
			return interrupted() // who waits in the backlog has no place
		}
		accepted, err := l.Accept()
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return interrupted()
		default:
			running.Wait()
			return err
		}
		conn := accepted.(*vsock.Conn) // as a vsock.Listener's are
		running.Go(func() {
			defer func() { <-free }()
			err := c.one(sessions, conn, out)
			switch {
			case err == nil:
			case !c.KeepOpen, errors.Is(err, errInterrupted):
				note(err)
			default: // it is the peer's matter, and the others' connections go on
				_, _ = fmt.Fprintf(c.stderr, "vsock: %s: %v\n", conn.RemoteAddr(), err)
			}
		})
		if !c.KeepOpen {
			_ = l.Close()
			running.Wait()
			return first
		}
	}
}

// one serves a connection.
func (c *listenCommand) one(ctx context.Context, conn *vsock.Conn, out io.Writer) error {
	if c.Verbose {
		_, _ = fmt.Fprintf(c.stderr, "vsock: connection from %s\n", conn.RemoteAddr())
	}
	j := &session{conn: conn, idle: c.Idle}
	switch {
	case c.Exec != "":
		return j.exec(ctx, c.Exec, c.stderr)
	case c.KeepOpen:
		j.out = keepOpen{out}
	default:
		j.in, j.out = os.Stdin, writeCloser(out)
	}
	return j.run(ctx)
}
