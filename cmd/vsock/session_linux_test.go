package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"vsockets.dev/vsock"
	"vsockets.dev/vswitch"
)

// scriptBed is a switch with two attach sockets, for tests in which the peer or the
// terminal goes away.
func scriptBed(t *testing.T) (sw *vswitch.Switch, a, b string) {
	t.Helper()
	sw = vswitch.New(vswitch.Config{})
	t.Cleanup(func() { _ = sw.Close() })
	a, b, err := attachSockets(sw, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return sw, a, b
}

// toolProcess is the tool as a process, with pipes.
type toolProcess struct {
	*exec.Cmd
	in     io.WriteCloser
	out    io.ReadCloser
	stderr bytes.Buffer
}

func startTool(t *testing.T, args ...string) *toolProcess {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &toolProcess{Cmd: exec.CommandContext(t.Context(), self, args...)}
	p.Env = append(os.Environ(), toolVar+"=1")
	p.Stderr = &p.stderr
	if p.in, err = p.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if p.out, err = p.StdoutPipe(); err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.Process.Kill()
		_ = p.Wait()
	})
	stuck := time.AfterFunc(switchLimit, func() { _ = p.Process.Kill() })
	t.Cleanup(func() { stuck.Stop() })
	return p
}

func (p *toolProcess) ends(t *testing.T, status int, stderr string) {
	t.Helper()
	_ = p.Wait()
	if got := p.ProcessState.ExitCode(); got != status || !strings.Contains(p.stderr.String(), stderr) {
		t.Errorf("status %d: %q, want %d: %q", got, &p.stderr, status, stderr)
	}
	if strings.Count(p.stderr.String(), "\n") > 1 {
		t.Errorf("more than a line: %q", &p.stderr)
	}
}

// dialTool connects to a tool that joins a switch at scriptBed's first socket and listens,
// once it does.
func dialTool(t *testing.T, s vsock.Stack, typ vsock.Type) (c *vsock.Conn) {
	t.Helper()
	d := vsock.Dialer{Stack: s, Type: typ}
	if err := waitFor(t.Context(), switchLimit, func() (err error) {
		c, err = d.Dial(t.Context(), vsock.Addr{CID: scriptA, Port: 1024})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return c
}

// hear has a byte come through: then the connection is one on both ends.
func hear(t *testing.T, p *toolProcess, c net.Conn) {
	t.Helper()
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(p.out, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
}

// TestSessionEnds has everything end early that can.
func TestSessionEnds(t *testing.T) {
	sw, _, uri := scriptBed(t)
	l, err := vsock.Listen(t.Context(), sw.Host(), vsock.Addr{CID: vsock.CIDAny, Port: 1024})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	connect := func(t *testing.T, args ...string) (*toolProcess, *vsock.Conn) {
		t.Helper()
		p := startTool(t, append([]string{"connect", "--stack", uri, "host:1024"}, args...)...)
		if err := l.SetDeadline(time.Now().Add(switchLimit)); err != nil {
			t.Fatal(err)
		}
		c, err := l.AcceptConn()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		_ = c.SetDeadline(time.Now().Add(switchLimit))
		return p, c
	}
	// reads wants the connection to end with an error or an end of file.
	reads := func(t *testing.T, c io.Reader, want error) {
		t.Helper()
		if _, err := io.Copy(io.Discard, c); !errors.Is(err, want) {
			t.Errorf("the peer reads %v, want %v", err, want)
		}
	}

	t.Run("reset by the peer", func(t *testing.T) {
		p, c := connect(t)
		hear(t, p, c)
		_ = c.SetLinger(0)
		_ = c.Close()
		p.ends(t, exitCut, "0 bytes sent and 1 received")
	})
	t.Run("closed by the peer, with the input open", func(t *testing.T) {
		p, c := connect(t)
		if _, err := c.Write([]byte("last words")); err != nil {
			t.Fatal(err)
		}
		_ = c.Close()
		if got, err := io.ReadAll(p.out); string(got) != "last words" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		p.ends(t, exitOK, "")
	})
	t.Run("the peer takes no more", func(t *testing.T) {
		p, c := connect(t)
		if err := c.CloseRead(); err != nil {
			t.Fatal(err)
		}
		go func() { // until it is told
			for {
				if _, err := p.in.Write(make([]byte, 1<<10)); err != nil {
					return
				}
			}
		}()
		if _, err := c.Write([]byte("still talking")); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len("still talking"))
		if _, err := io.ReadFull(p.out, got); err != nil || string(got) != "still talking" {
			t.Errorf("%q, %v", got, err)
		}
		_ = c.Close()
		p.ends(t, exitCut, "broken pipe")
	})
	t.Run("standard output closed", func(t *testing.T) {
		p, c := connect(t)
		_ = p.out.Close()
		if _, err := c.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		reads(t, c, syscall.ECONNRESET)
		p.ends(t, exitCut, "writing the output")
	})
	t.Run("interrupted", func(t *testing.T) {
		p, c := connect(t)
		hear(t, p, c)
		if err := p.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		reads(t, c, syscall.ECONNRESET)
		p.ends(t, exitInterrupted, "vsock: interrupted")
	})
	t.Run("killed", func(t *testing.T) {
		p, c := connect(t)
		hear(t, p, c)
		if err := p.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		reads(t, c, syscall.ECONNRESET)
	})
	t.Run("idle", func(t *testing.T) {
		p, c := connect(t, "--idle", "50ms")
		reads(t, c, syscall.ECONNRESET)
		p.ends(t, exitCut, "nothing has moved for 50ms")
	})
	t.Run("the switch goes", func(t *testing.T) {
		p, c := connect(t)
		hear(t, p, c)
		_ = sw.Close()
		p.ends(t, exitCut, "connection reset")
	})
}

// TestForwardDrain has forward end while a connection goes on.
func TestForwardDrain(t *testing.T) {
	_, near, far := scriptBed(t)
	s := openContext(t, strings.TrimPrefix(far, "switch:"))
	for _, tc := range []struct {
		drain  string
		status int
		stderr string
	}{{"10ms", exitCut, "1 connections have not ended"}, {"10s", exitOK, ""}} {
		p := startTool(t, "forward", "--stack", near, "vsock:any:1024=exec:cat", "--drain", tc.drain)
		c := dialTool(t, s, vsock.Stream)
		askEcho(t, c)
		if err := p.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if tc.status == exitOK {
			askEcho(t, c) // it has its time
			_ = c.CloseWrite()
		}
		_, err := io.Copy(io.Discard, c)
		if (err == nil) != (tc.status == exitOK) {
			t.Errorf("--drain %s: the client reads %v", tc.drain, err)
		}
		_ = c.Close()
		p.ends(t, tc.status, tc.stderr)
	}
}

// TestListenInterrupted has a signal come while a connection is under way.
func TestListenInterrupted(t *testing.T) {
	_, near, far := scriptBed(t)
	s := openContext(t, strings.TrimPrefix(far, "switch:"))
	for _, tc := range []struct {
		args   []string
		status int
	}{{[]string{"--keep-open"}, exitOK}, {[]string{"--keep-open"}, exitInterrupted}, {nil, exitInterrupted}} {
		p := startTool(t, append([]string{"listen", "--stack", near, "any:1024"}, tc.args...)...)
		c := dialTool(t, s, vsock.Stream)
		if _, err := c.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(p.out, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		if err := p.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		if tc.status == exitOK {
			_ = c.CloseWrite() // within its time
		}
		if _, err := io.ReadAll(c); tc.status == exitOK && err != nil {
			t.Error(err)
		}
		p.ends(t, tc.status, "")
		_ = c.Close()
	}
}

// lateListener is a listener whose Close comes too late for those in its backlog.
type lateListener struct {
	net.Listener
	left int // in the backlog
}

func (l *lateListener) Accept() (net.Conn, error) {
	if l.left == 0 {
		return nil, net.ErrClosed
	}
	l.left--
	return l.Listener.Accept()
}

// TestListenEndsFull has a signal come while others wait for the place of a connection.
func TestListenEndsFull(t *testing.T) {
	sw, _, _ := scriptBed(t)
	l, err := vsock.Listen(t.Context(), sw.Host(), vsock.Addr{CID: vsock.CIDAny, Port: vsock.PortAny})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	const clients = 16
	var conns []*vsock.Conn
	for range clients {
		c, err := (&vsock.Dialer{Stack: sw.Host()}).Dial(t.Context(), l.Addr().(vsock.Addr))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		conns = append(conns, c)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		c := listenCommand{KeepOpen: true, stderr: io.Discard}
		done <- c.serve(ctx, &lateListener{Listener: l, left: clients}, w)
	}()
	if _, err := conns[0].Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(r, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	cancel()
	for _, c := range conns {
		_ = c.CloseWrite()
	}
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(switchLimit):
		t.Fatal("it does not end")
	}
}
