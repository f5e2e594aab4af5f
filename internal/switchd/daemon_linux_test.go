package switchd

import (
	"errors"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"vsockets.dev/internal/forward"
	"vsockets.dev/vsock"
)

const two = `
[[guest]]
cid = 3
socket = "$/3"
groups = ["a"]
[[guest]]
cid = 4
socket = "$/4"
`

// TestReloadLeavesAlone changes everything around a guest that talks.
func TestReloadLeavesAlone(t *testing.T) {
	b := newBed(t, two+`
[[attach]]
socket = "$/attach"
`)
	echo(t, b.d.Switch().Host(), 1024)
	three, four := boot(t, b.path("3")), boot(t, b.path("4"))
	conn, lost := dial(t, three, vsock.CIDHost, 1024), dial(t, four, vsock.CIDHost, 1024)
	ask(t, conn)
	ask(t, lost)
	if _, err := vsock.Dial(t.Context(), three, vsock.Addr{CID: 77, Port: 1}); err == nil {
		t.Fatal("connected to nobody")
	}
	before, _ := b.context(3)
	if before.Counters.Unreachable != 1 || before.Connections != 1 || before.State != StateConnected || !before.Configured {
		t.Fatalf("before: %+v", before)
	}

	b.reload(`
rules = ["deny 3 host:99"]
forwards = ["unix:$/f=host:1024"]
control = "$/control"
[[guest]]
cid = 3
socket = "$/3"
groups = ["a"]
[[guest]]
cid = 5
socket = "$/5"
[[attach]]
socket = "$/attach2"
`)
	ask(t, conn)
	after, _ := b.context(3)
	if after.Counters != before.Counters || !after.Since.Equal(before.Since) || after.Connections != 1 {
		t.Errorf("after:  %+v\nbefore: %+v", after, before)
	}
	_ = lost.SetReadDeadline(time.Now().Add(limit))
	if _, err := lost.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("a connection of the guest that was removed: %v", err)
	}
	if _, ok := b.context(4); ok {
		t.Error("guest 4 is there")
	}
	if _, ok := b.context(5); !ok {
		t.Error("guest 5 is not there")
	}
	for name, want := range map[string]bool{"3": true, "4": false, "5": true, "attach": false, "attach2": true, "f": true, "control": true} {
		if _, err := os.Lstat(b.path(name)); (err == nil) != want {
			t.Errorf("socket %s: %v, want it there: %v", name, err, want)
		}
	}
	if rules := b.d.Policy().Rules; len(rules) != 1 {
		t.Errorf("rules: %v", rules)
	}
	c, err := net.Dial("unix", b.path("f"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ask(t, c)

	b.reload(two)
	ask(t, conn)
	for _, name := range []string{"f", "control", "attach2", "5"} {
		if _, err := os.Lstat(b.path(name)); err == nil {
			t.Errorf("socket %s is still there", name)
		}
	}
}

// TestReloadChanges changes one guest without ending its session.
func TestReloadChanges(t *testing.T) {
	b := newBed(t, two)
	b.reload(`
[[guest]]
cid = 3
socket = "$/3"
groups = ["b", "c"]
connections = 9
[[guest]]
cid = 4
socket = "$/4"
`)
	c, _ := b.context(3)
	if strings.Join(c.Groups, "+") != "b+c" || c.Limits.Connections != 9 {
		t.Errorf("%+v", c)
	}
	for _, tc := range []struct {
		name string
		text string
		want map[string]uint32 // CIDs by socket
	}{
		{"new CID", "cid=6 socket='$/3';cid=4 socket='$/4'", map[string]uint32{"3": 6, "4": 4}},
		{"one after the other", "cid=4 socket='$/3';cid=7 socket='$/4'", map[string]uint32{"3": 4, "4": 7}},
		{"traded", "cid=7 socket='$/3';cid=4 socket='$/4'", map[string]uint32{"3": 7, "4": 4}},
		{"another socket", "cid=7 socket='$/x';cid=4 socket='$/4'", map[string]uint32{"x": 7, "4": 4}},
		{"three in a circle", "cid=3 socket='$/x';cid=4 socket='$/4';cid=5 socket='$/5'", map[string]uint32{"x": 3, "4": 4, "5": 5}},
		{"turned", "cid=4 socket='$/x';cid=5 socket='$/4';cid=3 socket='$/5'", map[string]uint32{"x": 4, "4": 5, "5": 3}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			text := "[[guest]]\n" + strings.ReplaceAll(strings.ReplaceAll(tc.text, ";", "\n[[guest]]\n"), " ", "\n")
			b.reload(text)
			for name, cid := range tc.want {
				if c, _ := b.context(cid); c.Socket != b.path(name) {
					t.Errorf("CID %d is that of %q, want %s", cid, c.Socket, name)
				}
			}
			if n := len(b.d.Contexts()); n != len(tc.want)+1 {
				t.Errorf("%d contexts", n)
			}
		})
	}
}

func TestReloadErrors(t *testing.T) {
	b := newBed(t, two)
	three := boot(t, b.path("3"))
	echo(t, b.d.Switch().Host(), 1024)
	conn := dial(t, three, vsock.CIDHost, 1024)

	err := b.d.Reload(b.parse("[[guest]]\ncid=3\nsocket='$/3'\nconnections=5\n[[guest]]\ncid=3\nsocket='$/9'"))
	if !errors.Is(err, ErrInvalid) {
		t.Errorf("not valid: %v", err)
	}
	if c, _ := b.context(3); c.Limits.Connections == 5 {
		t.Error("a configuration that is not valid was applied")
	}
	if err := os.WriteFile(b.path("file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	text := two + "[[guest]]\ncid=5\nsocket='$/file'\n[[guest]]\ncid=6\nsocket='$/6'\n[[attach]]\nsocket='$/none/x'"
	err = b.d.Reload(b.parse(text))
	if err == nil || !strings.Contains(err.Error(), b.path("file")) || !strings.Contains(err.Error(), b.path("none")) {
		t.Errorf("items that fail: %v", err)
	}
	if _, ok := b.context(6); !ok {
		t.Error("what does not fail was not applied")
	}
	if err := os.Remove(b.path("file")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(b.path("none"), 0o700); err != nil {
		t.Fatal(err)
	}
	b.reload(text) // tries again
	if _, ok := b.context(5); !ok {
		t.Error("guest 5 is not there")
	}
	ask(t, conn)
}

// TestStartUndone starts nothing if one thing fails.
func TestStartUndone(t *testing.T) {
	b := &bed{t: t, dir: t.TempDir()}
	if err := os.WriteFile(b.path("file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Start(b.parse("control='$/file'\nforwards=['unix:$/f=host:1']\n[[attach]]\nsocket='$/a'\n"+two), Options{})
	if err == nil || !strings.Contains(err.Error(), "control socket: "+b.path("file")) {
		t.Errorf("%v", err)
	}
	left, err := os.ReadDir(b.dir)
	if err != nil || len(left) != 1 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// TestForwards ends a forward that leads elsewhere, and no other.
func TestForwards(t *testing.T) {
	b := newBed(t, "forwards=['unix:$/a=host:1024','unix:$/b=host:1024']")
	echo(t, b.d.Switch().Host(), 1024)
	echo(t, b.d.Switch().Host(), 1025)
	open := func(name string) net.Conn {
		c, err := net.Dial("unix", b.path(name))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		ask(t, c)
		return c
	}
	first, second := open("a"), open("b")
	b.reload("forwards=['unix:$/b=host:1025','unix:$/a=host:1024']")
	ask(t, first)
	if _, err := second.Read(make([]byte, 1)); err == nil {
		t.Error("a forward that leads elsewhere now goes on")
	}
	_ = open("b")
	all := b.d.Forwards()
	if len(all) != 2 || all[0].Accepted != 1 || all[0].Active != 1 {
		t.Errorf("%+v", all)
	}
	if err := b.d.RemoveForward(forward.Endpoint{Kind: forward.Unix, Address: b.path("a")}); err != nil {
		t.Error(err)
	}
}

// TestCloseDrains lets the connections of a forward end by themselves.
func TestCloseDrains(t *testing.T) {
	b := &bed{t: t, dir: t.TempDir()}
	d, err := Start(b.parse("forwards=['unix:$/a=host:1024']"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	echo(t, d.Switch().Host(), 1024)
	c, err := net.Dial("unix", b.path("a"))
	if err != nil {
		t.Fatal(err)
	}
	ask(t, c)
	over := make(chan error)
	go func() { over <- d.Close(t.Context()) }()
	for {
		// The socket is gone before connections are waited for.
		if _, err := os.Lstat(b.path("a")); err != nil {
			break
		}
	}
	ask(t, c)
	_ = c.Close()
	select {
	case err := <-over:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(limit):
		t.Fatal("Close does not return")
	}
	if err := d.Reload(Config{}); !errors.Is(err, ErrClosed) {
		t.Errorf("Reload after Close: %v", err)
	}
}
