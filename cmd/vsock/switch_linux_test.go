package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	vsockets "vsockets.dev"
	"vsockets.dev/internal/switchd"
	"vsockets.dev/vsock"
)

// toolVar has the test program be the tool itself.
const toolVar = "VSOCKETS_TEST_TOOL"

func init() {
	if os.Getenv(toolVar) != "" {
		main()
	}
}

const (
	// switchLimit is for everything that these tests wait for.
	switchLimit = 10 * time.Second

	// goneWithin is how soon peers know that the switch was killed.
	goneWithin = time.Second
)

// switchProcess is `vsock switch`, with sockets in a folder.
type switchProcess struct {
	t      *testing.T
	dir    string
	cmd    *exec.Cmd
	stderr lockedBuffer
}

// lockedBuffer is a buffer that is read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func (p *switchProcess) path(name string) string { return filepath.Join(p.dir, name) }

// startSwitch starts it, and waits until it is ready. In the arguments, $ stands for
// the folder.
func startSwitch(t *testing.T, dir string, args ...string) *switchProcess {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for i := range args {
		args[i] = strings.ReplaceAll(args[i], "$", dir)
	}
	// It ends by the cleanup below, after all that a test starts on it later. The
	// test's own context ends before any of them.
	ctx := context.WithoutCancel(t.Context())
	p := &switchProcess{t: t, dir: dir, cmd: exec.CommandContext(ctx, self, append([]string{"switch"}, args...)...)}
	p.cmd.Env = append(os.Environ(), toolVar+"=1")
	p.cmd.Stderr = &p.stderr
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stuck := time.AfterFunc(switchLimit, func() { _ = p.cmd.Process.Kill() })
	t.Cleanup(func() {
		if p.cmd.ProcessState == nil {
			_ = p.cmd.Process.Kill()
			_ = p.cmd.Wait()
		}
		if t.Failed() {
			t.Logf("the switch's log:\n%s", &p.stderr)
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	stuck.Stop()
	if err != nil || !strings.HasPrefix(line, "vsock switch: ready: ") {
		t.Fatalf("%q, %v", line, err)
	}
	return p
}

// end sends a signal and waits for the end.
func (p *switchProcess) end(s syscall.Signal) error {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
	stuck := time.AfterFunc(switchLimit, func() { _ = p.cmd.Process.Kill() })
	defer stuck.Stop()
	return p.cmd.Wait()
}

// tool runs another command of the tool on this switch.
func (p *switchProcess) tool(args ...string) string {
	p.t.Helper()
	var stdout, stderr bytes.Buffer
	if status := run(p.t.Context(), append(args, "--control", p.path("control")), &stdout, &stderr); status != exitOK {
		p.t.Fatalf("vsock %s: status %d: %s", args, status, &stderr)
	}
	return stdout.String()
}

// echoOn serves a port, and gives the listener.
func echoOn(t *testing.T, l net.Listener) {
	t.Helper()
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(c, c)
				_ = c.Close()
			}()
		}
	}()
}

// askEcho has an echo answer through a connection.
func askEcho(t *testing.T, c net.Conn) {
	t.Helper()
	_ = c.SetDeadline(time.Now().Add(switchLimit))
	const question = "question"
	answer := make([]byte, len(question))
	if _, err := io.WriteString(c, question); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, answer); err != nil || string(answer) != question {
		t.Fatalf("%q, %v", answer, err)
	}
}

func openContext(t *testing.T, path string) vsockets.Stack {
	t.Helper()
	s, err := vsockets.Open("switch:" + path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// talk has a process be called through a forward, and call out through another.
func (p *switchProcess) talk(process vsockets.Stack) {
	p.t.Helper()
	cid, err := process.LocalCID()
	if err != nil || cid != 1000 {
		p.t.Fatalf("CID %d, %v", cid, err)
	}
	l, err := vsock.Listen(p.t.Context(), process, vsock.Addr{CID: vsock.CIDAny, Port: 1024})
	if err != nil {
		p.t.Fatal(err)
	}
	defer l.Close()
	echoOn(p.t, l)
	in, err := net.Dial("unix", p.path("in"))
	if err != nil {
		p.t.Fatal(err)
	}
	defer in.Close()
	askEcho(p.t, in)
	out, err := vsock.Dial(p.t.Context(), process, vsock.Addr{CID: vsock.CIDHost, Port: 8080})
	if err != nil {
		p.t.Fatal(err)
	}
	defer out.Close()
	askEcho(p.t, out)
}

// flags of the tests' switch.
func switchFlags() []string {
	return []string{
		"--guest", "cid=3,socket=$/3,groups=a+b,connections=5", "--attach", "$/attach,groups=a",
		"--forward", "unix:$/in=vsock:1000:1024", "--forward", "host:8080=unix:$/out",
		"--rule", "deny 3 host:22", "--control", "$/control", "--config", "$/file", "--log-format", "json", "--verbose",
	}
}

func switchFolder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	out, err := net.Listen("unix", filepath.Join(dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	echoOn(t, out)
	writeFile(t, dir, "")
	return dir
}

func writeFile(t *testing.T, dir, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte(strings.ReplaceAll(text, "$", dir)), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestSwitch(t *testing.T) {
	dir := switchFolder(t)
	p := startSwitch(t, dir, switchFlags()...)
	process := openContext(t, p.path("attach"))
	p.talk(process)
	kept, err := vsock.Dial(t.Context(), process, vsock.Addr{CID: vsock.CIDHost, Port: 8080})
	if err != nil {
		t.Fatal(err)
	}
	defer kept.Close()
	askEcho(t, kept)

	var all []switchd.Context
	if err := json.Unmarshal([]byte(p.tool("ps", "--json")), &all); err != nil {
		t.Fatal(err)
	}
	if len(all) != 3 || all[1].CID != 3 || all[1].Limits.Connections != 5 || all[2].PID != int32(os.Getpid()) {
		t.Errorf("%+v", all)
	}
	table := p.tool("ps")
	for _, want := range []string{"CID   KIND", "host", "local", "waiting", "a+b", "connected", fmt.Sprint(os.Getpid()), p.path("attach")} {
		if !strings.Contains(table, want) {
			t.Errorf("the table lacks %q:\n%s", want, table)
		}
	}

	// Guests come and go by command.
	for _, tc := range []struct {
		args []string
		want string
	}{
		{[]string{"guest", "add", "cid=5,socket=" + p.path("5")}, ""},
		{[]string{"guest", "set", "5", "--cid", "6", "--groups", "x+y", "--limit", "connections=9", "--limit", "buffered=1M", "--json"}, `"cid":6`},
		{[]string{"guest", "set", "6", "--groups="}, ""},
		{[]string{"guest", "rm", "6"}, ""},
	} {
		if got := p.tool(tc.args...); !strings.Contains(got, tc.want) || tc.want == "" && got != "" {
			t.Errorf("%s: %q, want %q", tc.args, got, tc.want)
		}
	}

	// A reload adds what the file has now. When that is there, it is over.
	writeFile(t, dir, "[[guest]]\ncid = 7\nsocket = '$/7'\n")
	if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(switchLimit)
	for !strings.Contains(p.tool("ps"), p.path("7")) {
		if time.Now().After(deadline) {
			t.Fatal("the reload adds nothing")
		}
	}
	askEcho(t, kept)
	_ = kept.Close()

	if err := p.end(syscall.SIGTERM); err != nil {
		t.Errorf("it ends with %v", err)
	}
	select {
	case <-process.(interface{ Done() <-chan struct{} }).Done():
	case <-time.After(switchLimit):
		t.Error("the process is not told of the end")
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 2 {
		t.Errorf("left: %v, %v", left, err)
	}
	if log := p.stderr.String(); !strings.Contains(log, `"msg":"reloaded"`) {
		t.Error("the log is not JSON, or has no word of the reload")
	}
}

// TestSwitchKilled leaves the switch no time to clean up.
func TestSwitchKilled(t *testing.T) {
	dir := switchFolder(t)
	p := startSwitch(t, dir, switchFlags()...)
	process, guest := openContext(t, p.path("attach")), openContext(t, p.path("3"))
	p.talk(process)
	var conns []net.Conn
	for _, s := range []vsock.Stack{process, guest} {
		c, err := vsock.Dial(t.Context(), s, vsock.Addr{CID: vsock.CIDHost, Port: 8080})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		askEcho(t, c)
		conns = append(conns, c)
	}
	killed := time.Now()
	if err := p.end(syscall.SIGKILL); err == nil {
		t.Fatal("it ended in order")
	}
	for _, c := range conns {
		_ = c.SetReadDeadline(killed.Add(goneWithin))
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("after %v: %v", time.Since(killed), err)
		}
	}
	for _, name := range []string{"attach", "3", "in", "control"} {
		if _, err := os.Lstat(p.path(name)); err != nil {
			t.Errorf("it was to leave its sockets behind: %v", err)
		}
	}

	p = startSwitch(t, dir, switchFlags()...)
	p.talk(openContext(t, p.path("attach")))
	openContext(t, p.path("3"))
	if err := p.end(syscall.SIGTERM); err != nil {
		t.Errorf("it ends with %v", err)
	}
}

func TestSwitchErrors(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, dir, "contol = '/x'\n")
	none := filepath.Join(dir, "none")
	for _, tc := range []struct {
		name   string
		args   []string
		status int
		want   string
	}{
		{"guest without a socket", []string{"switch", "--guest", "cid=3"}, exitUsage, "no socket"},
		{"bad rule", []string{"switch", "--rule", "permit 3 4"}, exitUsage, "neither allow nor deny"},
		{"bad forward", []string{"switch", "--forward", "host:1"}, exitUsage, "FROM=TO"},
		{"bad attach", []string{"switch", "--attach", "/x,cids=9-1"}, exitUsage, "FIRST-LAST"},
		{"same CID twice", []string{"switch", "--guest", "cid=3,socket=/x", "--guest", "cid=3,socket=/y"}, exitUsage, "guest 3 is there twice"},
		{"no folder", []string{"switch", "--control", none + "/x"}, exitFailed, "create it"},
		{"unknown key", []string{"switch", "--config", filepath.Join(dir, "file")}, exitUsage, "line 1: contol"},
		{"no file", []string{"switch", "--config", none}, exitUsage, none},
		{"no switch", []string{"ps", "--control", none}, exitUnreachable, "start one with vsock switch --control"},
		{"nothing to set", []string{"guest", "set", "3", "--control", none}, exitUsage, "--groups"},
		{"unknown limit", []string{"guest", "set", "3", "--limit", "conns=3"}, exitUsage, "half-open"},
		{"guest by command without a socket", []string{"guest", "add", "cid=3"}, exitUsage, "no socket"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			if status := run(t.Context(), tc.args, &stdout, &stderr); status != tc.status || !strings.Contains(stderr.String(), tc.want) {
				t.Errorf("status %d: %q, want %d: %q", status, &stderr, tc.status, tc.want)
			}
		})
	}
	for _, command := range []string{"switch", "ps", "guest"} {
		var stdout, stderr bytes.Buffer
		if status := run(t.Context(), []string{command, "--help"}, &stdout, &stderr); status != exitOK || !strings.Contains(stdout.String(), "Examples:") {
			t.Errorf("%s --help: status %d: %s", command, status, &stdout)
		}
	}
}
