package vswitch

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"vsockets.dev/internal/attach"
	"vsockets.dev/vsock"
)

// addAttach opens an attach socket on a switch of its own, with what that logs.
func addAttach(t *testing.T, c AttachConfig) (*Switch, *Attach, *syncBuffer) {
	t.Helper()
	log := new(syncBuffer)
	sw := New(Config{Log: slog.New(slog.NewTextHandler(log, nil))})
	t.Cleanup(func() { _ = sw.Close() })
	c.Socket = filepath.Join(t.TempDir(), "s")
	a, err := sw.AddAttach(c)
	if err != nil {
		t.Fatal(err)
	}
	return sw, a, log
}

// syncBuffer is a buffer that several may write to.
type syncBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func mustDial(t testing.TB, a *Attach) *attach.Stack {
	t.Helper()
	s, err := attach.Dial(t.Context(), a.config.Socket)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestAttachConfig(t *testing.T) {
	sw := New(Config{})
	path := filepath.Join(t.TempDir(), "s")
	for name, tc := range map[string]struct {
		config AttachConfig
		want   string
	}{
		"reserved":      {AttachConfig{Socket: path, First: 2, Last: 9}, "reserved"},
		"reserved last": {AttachConfig{Socket: path, First: 3, Last: vsock.CIDAny}, "reserved"},
		"only the last": {AttachConfig{Socket: path, Last: 9}, "reserved"},
		"none":          {AttachConfig{Socket: path, First: 9, Last: 8}, "9 to 8 are none"},
		"bad group":     {AttachConfig{Socket: path, Groups: []string{"*"}}, "no name"},
		"bad limits":    {AttachConfig{Socket: path, Limits: Limits{BufAlloc: 1}}, "BufAlloc"},
		"no socket":     {AttachConfig{}, "no socket path"},
	} {
		if _, err := sw.AddAttach(tc.config); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
	a, err := sw.AddAttach(AttachConfig{Socket: path})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	if err := a.Close(); err == nil {
		t.Error("closed twice without an error")
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is left: %v", err)
	}
	_ = sw.Close()
	if _, err := sw.AddAttach(AttachConfig{Socket: path}); !errors.Is(err, ErrClosed) {
		t.Errorf("on a closed switch: %v", err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is left: %v", err)
	}
}

// TestAttachPool gives out all CIDs, the one that became free last at last.
func TestAttachPool(t *testing.T) {
	sw, a, log := addAttach(t, AttachConfig{First: 10, Last: 13, Groups: []string{"x"}, Limits: Limits{Connections: 7}})
	if _, err := sw.AddContext(ContextConfig{CID: 11}); err != nil {
		t.Fatal(err)
	}
	stacks := make(map[uint32]*attach.Stack)
	join := func(want uint32) {
		t.Helper()
		s := mustDial(t, a)
		if cid, _ := s.LocalCID(); cid != want {
			t.Errorf("CID %d, want %d", cid, want)
		}
		stacks[want] = s
	}
	join(10)
	join(12)
	join(13)
	if s, err := attach.Dial(t.Context(), a.config.Socket); err == nil {
		_ = s.Close()
		t.Error("more join than there are CIDs")
	}
	if got := log.String(); !strings.Contains(got, "all CIDs are in use, from 10 to 13") {
		t.Errorf("logged: %s", got)
	}
	for _, i := range sw.Contexts() {
		want := Info{CID: i.CID, Kind: KindAttached, Socket: a.config.Socket, PID: int32(os.Getpid())}
		if i.Kind == KindAttached && (i.Socket != want.Socket || i.PID != want.PID || i.UID == nil || *i.UID != uint32(os.Getuid()) ||
			i.Since.IsZero() || len(i.Groups) != 1 || i.Groups[0] != "x" || i.Limits.Connections != 7) {
			t.Errorf("info: %+v", i)
		}
	}
	leave := func(cid uint32) {
		t.Helper()
		_ = stacks[cid].Close()
		eventually(t, "its CID is free", func() bool { return (*sw.routes.Load())[cid] == nil })
	}
	leave(12)
	join(12) // the only one
	leave(10)
	leave(13)
	join(13) // after 12
	join(10)
	for _, s := range stacks {
		_ = s.Close()
	}
}

func TestAttachUsers(t *testing.T) {
	for _, tc := range []struct {
		users []uint32
		may   bool
	}{
		{[]uint32{12345}, false},
		{[]uint32{}, false},
		{[]uint32{12345, uint32(os.Getuid())}, true},
	} {
		sw, a, log := addAttach(t, AttachConfig{Users: tc.users})
		info, err := os.Stat(a.config.Socket)
		if err != nil || info.Mode().Perm() != 0o666 {
			t.Errorf("the socket: %v, %v", info, err)
		}
		s, err := attach.Dial(t.Context(), a.config.Socket)
		if (err == nil) != tc.may {
			t.Errorf("users %v: %v", tc.users, err)
		}
		if err == nil {
			_ = s.Close()
		}
		refused := strings.Contains(log.String(), fmt.Sprintf("of user %d, who is not among those that may", os.Getuid()))
		if refused == tc.may {
			t.Errorf("users %v: logged %s", tc.users, log)
		}
		if !tc.may && len(sw.Contexts()) != 1 {
			t.Error("it is a context all the same")
		}
	}
}

// TestAttachSilent has front-ends that say nothing: others join nevertheless, and
// Close does not wait for them.
func TestAttachSilent(t *testing.T) {
	_, a, _ := addAttach(t, AttachConfig{})
	var silent []net.Conn
	for range 10 {
		c, err := net.Dial("unix", a.config.Socket)
		if err != nil {
			t.Fatal(err)
		}
		silent = append(silent, c)
	}
	s := mustDial(t, a)
	if cid, _ := s.LocalCID(); cid != DefaultAttachFirst+10 {
		t.Errorf("CID %d", cid)
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	for _, c := range silent {
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("a session is left: %v", err)
		}
		_ = c.Close()
	}
	<-s.Done()
	_ = s.Close()
}

// TestAttachEndsSilent has the time be up of a front-end that says nothing, and of one
// that has begun.
func TestAttachEndsSilent(t *testing.T) {
	sw, a, _ := addAttach(t, AttachConfig{})
	live := mustDial(t, a)
	defer live.Close()
	c, err := net.Dial("unix", a.config.Socket)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	silent := func() (p *port) {
		eventually(t, "the second session", func() bool {
			p = (*sw.routes.Load())[DefaultAttachFirst+1]
			return p != nil && p.owner.(*attached).session.Load() != nil
		})
		return p
	}()
	for _, p := range []*port{silent, (*sw.routes.Load())[DefaultAttachFirst]} {
		p.owner.(*attached).endSilent()
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the silent one reads %v", err)
	}
	eventually(t, "the end of the silent one", func() bool { return (*sw.routes.Load())[DefaultAttachFirst+1] == nil })
	if (*sw.routes.Load())[DefaultAttachFirst] == nil {
		t.Error("the other one has gone too")
	}
}

// TestAttachCloses closes a socket while processes join.
func TestAttachCloses(t *testing.T) {
	for range 20 {
		sw, a, _ := addAttach(t, AttachConfig{})
		var joining sync.WaitGroup
		begun := make(chan struct{}, 8)
		for range cap(begun) {
			joining.Go(func() {
				c, err := net.Dial("unix", a.config.Socket)
				begun <- struct{}{}
				if err == nil {
					_, _ = c.Read(make([]byte, 1))
					_ = c.Close()
				}
			})
		}
		<-begun
		if err := a.Close(); err != nil {
			t.Error(err)
		}
		if n := len(sw.Contexts()); n != 1 {
			t.Errorf("%d contexts are left", n)
		}
		joining.Wait()
	}
}

// openFiles is how many files this process has open.
func openFiles(t testing.TB) int {
	t.Helper()
	e, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(e)
}

// mappings is how many memory files this process has mapped.
func mappings(t testing.TB) int {
	t.Helper()
	b, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(b), "memfd:")
}

// TestAttachLeaves has many processes join, talk and leave: nothing is left of them.
func TestAttachLeaves(t *testing.T) {
	sw, a, _ := addAttach(t, AttachConfig{Groups: []string{"g"}})
	stay := mustDial(t, a)
	defer stay.Close()
	ln, err := vsock.Listen(t.Context(), stay, vsock.Addr{CID: vsock.CIDAny, Port: 1024})
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	stayCID, _ := stay.LocalCID()
	files, maps := openFiles(t), mappings(t)
	for i := range 100 {
		s := mustDial(t, a)
		c, err := vsock.Dial(t.Context(), s, vsock.Addr{CID: stayCID, Port: 1024})
		if err != nil {
			t.Fatal(err)
		}
		d, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 {
			_ = c.Close()
		}
		_ = s.Close()
		if _, err := d.Read(make([]byte, 1)); i%2 == 1 && !errors.Is(err, syscall.ECONNRESET) || err == nil {
			t.Errorf("the end that stays: %v", err)
		}
		_ = d.Close()
	}
	eventually(t, "they have left", func() bool { return len(sw.Contexts()) == 2 })
	eventually(t, "files and memory are given back", func() bool { return openFiles(t) <= files && mappings(t) <= maps })
	p := (*sw.routes.Load())[stayCID]
	eventually(t, "the backlogs are given up", func() bool {
		p.backlogMu.Lock()
		defer p.backlogMu.Unlock()
		return len(p.backlogs) == 0 && len(*p.ways.Load()) <= 1
	})
	if all, half := p.flows.count(); all != 0 || half != 0 {
		t.Errorf("%d connections, %d half-open", all, half)
	}
}

// childEnv names the socket to which TestAttachChild attaches.
const childEnv = "VSWITCH_TEST_ATTACH"

// TestAttachChild is the process that TestAttachKilled kills. It tells its CID,
// connects to the ports 1024 of those that are named, and never ends.
func TestAttachChild(t *testing.T) {
	path := os.Getenv(childEnv)
	if path == "" {
		t.Skip("it is a part of TestAttachKilled")
	}
	s, err := attach.Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	cid, _ := s.LocalCID()
	for _, to := range []uint32{vsock.CIDHost, 1000} {
		if _, err := vsock.Dial(t.Context(), s, vsock.Addr{CID: to, Port: 1024}); err != nil {
			t.Fatal(err)
		}
	}
	fmt.Println("CHILD", cid)
	_, _ = io.Copy(io.Discard, os.Stdin) // until the parent ends, if it does first
}

// TestAttachKilled kills a process that has attached. Its peers know at once.
func TestAttachKilled(t *testing.T) {
	sw, a, _ := addAttach(t, AttachConfig{First: 1000, Last: 1001, Groups: []string{"g"}})
	other := mustDial(t, a)
	defer other.Close()
	stacks := []vsock.Stack{sw.Host(), other}
	var lns []*vsock.Listener
	for _, s := range stacks {
		ln, err := vsock.Listen(t.Context(), s, vsock.Addr{CID: vsock.CIDAny, Port: 1024})
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		lns = append(lns, ln)
	}
	files, maps := openFiles(t), mappings(t)
	for range 2 {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestAttachChild$", "-test.timeout=60s")
		cmd.Env = append(os.Environ(), childEnv+"="+a.config.Socket)
		stdin, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		stdout, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		line, err := bufio.NewReader(stdout).ReadString('\n')
		if line != "CHILD 1001\n" {
			t.Fatalf("the child says %q, %v", line, err)
		}
		var conns []net.Conn
		for _, ln := range lns {
			c, err := ln.Accept()
			if err != nil {
				t.Fatal(err)
			}
			conns = append(conns, c)
		}
		info := sw.Contexts()[2]
		if info.CID != 1001 || info.PID != int32(cmd.Process.Pid) || info.Connections != 2 {
			t.Errorf("info: %+v", info)
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		for _, c := range conns {
			if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("a peer: %v", err)
			}
			_ = c.Close()
		}
		_ = cmd.Wait()
		_, _ = stdin.Close(), stdout.Close()
		eventually(t, "its CID is free", func() bool { return len(sw.Contexts()) == 2 })
		eventually(t, "files and memory are given back", func() bool { return openFiles(t) <= files && mappings(t) <= maps })
	}
}
