package switchd

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"vsockets.dev/vsock"
)

// listenAs makes a socket as systemd does.
func listenAs(t *testing.T, path string) *os.File {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	f, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// child is a service manager's view of a switch.
type child struct {
	t      *testing.T
	cmd    *exec.Cmd
	notify *net.UnixConn
	stderr bytes.Buffer // to be read when it has ended
}

func startChild(t *testing.T, file string, names []string, sockets ...*os.File) *child {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(filepath.Dir(file), "notify")
	c := &child{t: t, cmd: exec.CommandContext(t.Context(), self)}
	if c.notify, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.notify.Close() })
	c.cmd.Env = append(os.Environ(), childVar+"="+file, "NOTIFY_SOCKET="+path,
		"LISTEN_FDS="+string(rune('0'+len(sockets))), "LISTEN_FDNAMES="+strings.Join(names, ":"))
	c.cmd.ExtraFiles = sockets
	c.cmd.Stderr = &c.stderr
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if c.cmd.ProcessState == nil {
			_ = c.cmd.Process.Kill()
			_ = c.cmd.Wait()
		}
		if t.Failed() {
			t.Logf("the child's log:\n%s", &c.stderr)
		}
	})
	return c
}

// told gives what the service manager is told next.
func (c *child) told() string {
	c.t.Helper()
	_ = c.notify.SetReadDeadline(time.Now().Add(limit))
	b := make([]byte, 4096)
	n, err := c.notify.Read(b)
	if err != nil {
		c.t.Fatal(err)
	}
	return string(b[:n])
}

func (c *child) expect(want ...string) {
	c.t.Helper()
	got := c.told()
	for _, w := range want {
		if !strings.Contains(got, w) {
			c.t.Fatalf("told %q, want %q", got, want)
		}
	}
}

func (c *child) signal(s os.Signal) {
	c.t.Helper()
	if err := c.cmd.Process.Signal(s); err != nil {
		c.t.Fatal(err)
	}
}

// TestActivation has sockets handed over, by their names and by their paths, and
// follows the life of a service.
func TestActivation(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	file := path("switch.toml")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(expand(text, dir)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const rest = "[[attach]]\nsocket='$/attach'\n"
	full := "control='$/control'\n" + two + rest
	write(full)
	names := []string{"guest-3", "vm4.socket", "attach", "control", "spare"}
	c := startChild(t, file, names, listenAs(t, path("elsewhere")), listenAs(t, path("4")),
		listenAs(t, path("attach-elsewhere")), listenAs(t, path("control")), listenAs(t, path("unused")))
	c.expect("READY=1", "STATUS=2 guests, 1 attach socket, 0 forwards")

	client := NewClient(path("control"))
	talk := func() {
		t.Helper()
		all, err := client.Contexts(t.Context())
		if err != nil || len(all) != 3 {
			t.Fatalf("%+v, %v", all, err)
		}
		three := boot(t, path("elsewhere"))
		process := boot(t, path("attach-elsewhere"))
		if cid, err := three.LocalCID(); cid != 3 || err != nil {
			t.Errorf("CID %d, %v", cid, err)
		}
		if cid, err := process.LocalCID(); cid < 1000 || err != nil {
			t.Errorf("CID %d, %v", cid, err)
		}
		four := boot(t, path("4"))
		if _, err := vsock.Dial(t.Context(), four, vsock.Addr{CID: 3, Port: 1}); err == nil {
			t.Error("connected without a common group")
		}
		for _, s := range []interface{ Close() error }{three, process, four} {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	talk()

	// Removed and configured again, they have their sockets still.
	write("control='$/control'\n")
	c.signal(syscall.SIGHUP)
	c.expect("RELOADING=1", "MONOTONIC_USEC=")
	c.expect("READY=1", "STATUS=0 guests, 0 attach sockets")
	write(full)
	c.signal(syscall.SIGHUP)
	c.expect("RELOADING=1")
	c.expect("READY=1", "STATUS=2 guests")
	talk()

	// A file that cannot be used changes nothing.
	write("control = 5\n")
	c.signal(syscall.SIGHUP)
	c.expect("RELOADING=1")
	c.expect("READY=1", "STATUS=2 guests", "the last reload failed")
	talk()

	c.signal(syscall.SIGTERM)
	c.expect("STOPPING=1")
	if err := c.cmd.Wait(); err != nil {
		t.Error(err)
	}
	for _, want := range []string{"spare (" + path("unused") + ")", "reload failed", "line 1: control"} {
		if !strings.Contains(c.stderr.String(), want) {
			t.Errorf("the log lacks %q", want)
		}
	}
	// They are systemd's: it serves them again, with the next process.
	for _, name := range []string{"elsewhere", "4", "attach-elsewhere", "control"} {
		if _, err := os.Lstat(path(name)); err != nil {
			t.Error(err)
		}
	}
}

// TestActivationRefused hands over what cannot be used.
func TestActivationRefused(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "switch.toml")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	overTCP, err := tcp.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer overTCP.Close()
	datagram, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "d"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer datagram.Close()
	datagrams, err := datagram.File()
	if err != nil {
		t.Fatal(err)
	}
	defer datagrams.Close()
	plain, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	for name, tc := range map[string]struct {
		file *os.File
		want string
	}{
		"TCP":       {overTCP, "only Unix sockets"},
		"datagrams": {datagrams, "ListenStream="},
		"file":      {plain, "no socket that listens"},
	} {
		t.Run(name, func(t *testing.T) {
			_ = os.Remove(filepath.Join(dir, "notify"))
			c := startChild(t, file, []string{"guest-3"}, tc.file)
			if err := c.cmd.Wait(); err == nil || !strings.Contains(c.stderr.String(), tc.want) {
				t.Errorf("%v: %s", err, &c.stderr)
			}
		})
	}
}
