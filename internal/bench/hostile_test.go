package bench

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// TestHostileClient sends a server what it must not take.
func TestHostileClient(t *testing.T) {
	ok := request{OpReceive, 64, time.Second}.append(nil)
	last := append([]byte{1}, make([]byte, 63)...)
	for name, tc := range map[string]struct {
		send []byte
		want string // of what the server logs
	}{
		"another protocol":   {[]byte("GET / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: nobody at all here\r\n\r\n"), "no bench client"},
		"nothing":            {nil, "read the request"},
		"half a request":     {ok[:30], "read the request"},
		"a reserved byte":    {append(bytes.Clone(ok[:63]), 1), "must be zero"},
		"no blocks":          {ok, "unexpected EOF"},
		"half a block":       {append(bytes.Clone(ok), last[:20]...), "unexpected EOF"},
		"more than the last": {append(append(bytes.Clone(ok), last...), 0), "behind the last block"},
	} {
		t.Run(name, func(t *testing.T) {
			logged := make(chan error, 8)
			c := serve(t, &Server{Log: func(err error) { logged <- err }})
			conn, err := c.Dial(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := conn.Write(tc.send); err != nil {
				t.Fatal(err)
			}
			if err := conn.(*net.UnixConn).CloseWrite(); err != nil {
				t.Fatal(err)
			}
			if b, _ := io.ReadAll(conn); len(b) > 0 {
				t.Errorf("the server answers %q", b)
			}
			if err := <-logged; !strings.Contains(err.Error(), tc.want) {
				t.Errorf("logged %q, want %q", err, tc.want)
			}
			if _, err := c.Run(t.Context(), Job{Kind: Echo, Block: 1, Streams: 1, Time: time.Millisecond}); err != nil {
				t.Errorf("the next client: %v", err)
			}
		})
	}
}

// TestMaxConns closes what is too much, and serves the others.
func TestMaxConns(t *testing.T) {
	logged := make(chan error, 8)
	c := serve(t, &Server{MaxConns: 1, Log: func(err error) { logged <- err }})
	first, err := c.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	second, err := c.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if n, err := second.Read(make([]byte, 1)); n > 0 || err == nil {
		t.Errorf("the second connection reads %d bytes, error %v", n, err)
	}
	if err := <-logged; !strings.Contains(err.Error(), "limit of 1") {
		t.Errorf("logged %q", err)
	}
	if _, err := first.Write(request{op: OpAnswer, block: 1}.append(nil)); err != nil {
		t.Fatal(err)
	}
	if _, err := readReport(first, nil); err != nil {
		t.Errorf("the first connection: %v", err)
	}
}

// TestHostileServer answers a client with what is no answer.
func TestHostileServer(t *testing.T) {
	good := report{bytes: 64, process: 1}.append(nil)
	for name, tc := range map[string]struct {
		answer []byte
		ok     bool
	}{
		"report":              {good, true},
		"nothing":             {nil, false},
		"half a report":       {good[:40], false},
		"another protocol":    {bytes.Repeat([]byte("x"), messageSize), false},
		"a century of CPU":    {report{cpu: maxCPU + 1}.append(nil), false},
		"a reserved byte set": {append(bytes.Clone(good[:63]), 1), false},
	} {
		t.Run(name, func(t *testing.T) {
			c := &Client{}
			near, far := net.Pipe()
			defer near.Close()
			go func() {
				defer far.Close()
				_, _ = io.ReadFull(far, make([]byte, messageSize))
				_, _ = far.Write(tc.answer)
			}()
			if err := c.ask(near, OpSend, Job{Block: 64}); err != nil {
				t.Fatal(err)
			}
			if _, err := readReport(near, nil); (err == nil) != tc.ok {
				t.Errorf("error %v, want it taken: %v", err, tc.ok)
			}
		})
	}
	if _, err := readReport(nil, make([]byte, messageSize+1)); err == nil {
		t.Error("more than a report is taken")
	}
	if err := confirm(bytesConn{bytes.NewReader(good)}, nil, 63); err == nil {
		t.Error("a count that is not ours is taken")
	}
}

type bytesConn struct{ io.Reader }

func (bytesConn) Write([]byte) (int, error)        { return 0, errors.ErrUnsupported }
func (bytesConn) Close() error                     { return nil }
func (bytesConn) LocalAddr() net.Addr              { return nil }
func (bytesConn) RemoteAddr() net.Addr             { return nil }
func (bytesConn) SetDeadline(time.Time) error      { return nil }
func (bytesConn) SetReadDeadline(time.Time) error  { return nil }
func (bytesConn) SetWriteDeadline(time.Time) error { return nil }

func TestJobCheck(t *testing.T) {
	good := Job{Kind: Up, Block: 64, Streams: 1, Time: time.Second}
	for name, change := range map[string]func(*Job){
		"no kind":           func(j *Job) { j.Kind = "" },
		"no block":          func(j *Job) { j.Block = 0 },
		"too large a block": func(j *Job) { j.Block = MaxBlock + 1 },
		"no streams":        func(j *Job) { j.Streams = 0 },
		"too many streams":  func(j *Job) { j.Streams = MaxStreams + 1 },
		"no time":           func(j *Job) { j.Time = 0 },
		"too long":          func(j *Job) { j.Time = MaxTime + 1 },
		"too many idle":     func(j *Job) { j.Extra.Idle = MaxExtra + 1 },
		"fewer than none":   func(j *Job) { j.Extra.Stalled = -1 },
	} {
		j := good
		if change(&j); j.Check() == nil {
			t.Errorf("%s: %+v is taken", name, j)
		}
	}
	if err := good.Check(); err != nil {
		t.Error(err)
	}
}
