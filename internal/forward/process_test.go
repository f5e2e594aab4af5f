//go:build unix

package forward

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"vsockets.dev/internal/relay"
)

// gone says whether a process has ended.
func gone(pid int) bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }

// pidOf reads the process ID that a command says first.
func pidOf(t *testing.T, c net.Conn) int {
	t.Helper()
	b := make([]byte, 32)
	n, err := c.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b[:n])))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// TestExecEnds has a command that ends while its client is silent and open.
func TestExecEnds(t *testing.T) {
	for _, from := range []Kind{TCP, Host, Unix} {
		b := newBed(t)
		var stderr bytes.Buffer
		f := b.start(b.froms()[from]+"=exec:sh -c 'echo out; echo err >&2; exit 3'", func(c *Config) { c.Stderr = &stderr })
		client := b.dial(f)
		if got, err := io.ReadAll(client); string(got) != "out\n" || err != nil {
			t.Errorf("%s: %q, %v", from, got, err)
		}
		if err := f.Drain(t.Context()); err != nil {
			t.Error(err)
		}
		if stderr.String() != "err\n" {
			t.Errorf("%s: standard error %q", from, stderr.String())
		}
	}
}

// TestExecReset has a command end as soon as its input does: whoever reads what it
// writes is not to take that for its end.
func TestExecReset(t *testing.T) {
	p, err := startProcess("cat", io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	read := make(chan error)
	go func() {
		_, err := p.Read(make([]byte, 1))
		read <- err
	}()
	end := p.closeIn
	p.closeIn = func() error {
		err := end()
		<-p.exited // whoever is slow here gives it the time
		return err
	}
	if err := relay.Reset(p); err != nil {
		t.Error(err)
	}
	if err := <-read; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Read: %v, want %v", err, net.ErrClosed)
	}
}

// TestExecKilled ends connections of commands that would go on.
func TestExecKilled(t *testing.T) {
	const command = "=exec:sh -c 'echo $$; sleep 1000; :'"
	t.Run("Close", func(t *testing.T) {
		b := newBed(t)
		f := b.start("tcp:0" + command)
		pid := pidOf(t, b.dial(f))
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		if !gone(pid) {
			t.Error("it runs still")
		}
	})
	t.Run("reset", func(t *testing.T) {
		b := newBed(t)
		f := b.start("tcp:0" + command)
		c := b.dial(f)
		pid := pidOf(t, c)
		_ = c.(*net.TCPConn).SetLinger(0)
		_ = c.Close()
		eventually(t, "its end", func() bool { return gone(pid) })
	})
	t.Run("peer gone", func(t *testing.T) {
		b := newBed(t)
		f := b.start("host:7000" + command)
		c := b.dial(f)
		pid := pidOf(t, c)
		_ = c.Close()
		eventually(t, "its end", func() bool { return gone(pid) })
	})
}

// TestFromExec has a command as the client, and ends with it.
func TestFromExec(t *testing.T) {
	b := newBed(t)
	l, text := b.server(Vsock)
	b.serve(l)
	path := filepath.Join(b.dir, "answer")
	f := b.start("exec:sh -c 'echo question; exec >&-; cat >" + path + "'=" + text)
	if err := f.Wait(); err != nil {
		t.Error(err)
	}
	if got, err := os.ReadFile(path); string(got) != "question\n" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

// TestStdio has standard input and output as the client, and as the server.
func TestStdio(t *testing.T) {
	outR, outW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer outR.Close()
	b := newBed(t)
	l, text := b.server(Vsock)
	b.serve(l)
	data := pattern(300_000)
	f := b.start("stdio="+text, func(c *Config) { c.Stdin, c.Stdout = bytes.NewReader(data), outW })
	if got, err := io.ReadAll(outR); !bytes.Equal(got, data) || err != nil {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if err := f.Wait(); err != nil {
		t.Error(err)
	}

	outR2, outW2, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer outR2.Close()
	f = b.start("tcp:0=stdio", func(c *Config) { c.Stdin, c.Stdout = strings.NewReader("in"), outW2 })
	client := b.dial(f)
	_, _ = io.WriteString(client, "out")
	_ = client.CloseWrite()
	if got, err := io.ReadAll(outR2); string(got) != "out" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := io.ReadAll(client); string(got) != "in" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

// TestStdioFails says why.
func TestStdioFails(t *testing.T) {
	b := newBed(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	f := b.start("stdio=vsock:3:9999", func(c *Config) { c.Stdin, c.Stdout = strings.NewReader("x"), w })
	if err := f.Wait(); !errors.Is(err, syscall.ECONNREFUSED) || !strings.Contains(err.Error(), "dialling vsock:3:9999") {
		t.Errorf("%v", err)
	}
}
