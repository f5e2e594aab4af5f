package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"vsockets.dev/internal/capture"
	"vsockets.dev/internal/doctor"
	"vsockets.dev/internal/testguest"
	"vsockets.dev/vswitch"
)

const (
	toolGuestCID = 3

	// toolGuestLimit is for the guest's life: it boots in 2 s.
	toolGuestLimit = 2 * time.Minute

	// toolGuestAmount is how many bytes go each way.
	toolGuestAmount = 1 << 20
)

// toolGuest is a guest that has the tool, on a switch with attach sockets.
type toolGuest struct {
	*testing.T
	sw    *vswitch.Switch
	a, b  string // stacks on the host
	guest *testguest.Guest
	tool  string // its path, in the guest too
	dir   string // which the guest sees
}

func bootTool(t *testing.T) *toolGuest {
	t.Helper()
	testguest.Require(t)
	g := &toolGuest{T: t, dir: t.TempDir()}
	var err error
	if g.tool, err = testguest.Build(t.Context(), g.dir, "vsockets.dev/cmd/vsock"); err != nil {
		t.Fatal(err)
	}
	g.sw = vswitch.New(vswitch.Config{})
	t.Cleanup(func() { _ = g.sw.Close() })
	if g.a, g.b, err = attachSockets(g.sw, g.dir); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(g.dir, "guest")
	if _, err := g.sw.AddGuest(vswitch.GuestConfig{CID: toolGuestCID, Socket: socket, Groups: []string{"all"}}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"data", "back"} { // one for each way
		data := make([]byte, 0, toolGuestAmount+16)
		for i := 0; len(data) < toolGuestAmount; i++ {
			data = fmt.Appendf(data, "%s %d\n", name, i)
		}
		if err := os.WriteFile(filepath.Join(g.dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	// The tool is its init too. Not the test's context: that ends before the guest
	// is powered off.
	g.guest, err = testguest.Boot(context.Background(), testguest.Config{Init: g.tool, Device: socket, Loopback: true, TimeLimit: toolGuestLimit})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.guest.Close(); err != nil {
			t.Error(err)
		}
	})
	return g
}

// expand puts the tool's and the folder's path into a command.
func (g *toolGuest) expand(script string) string {
	return strings.NewReplacer("VSOCK", g.tool, "DIR", g.dir).Replace(script)
}

// in runs a shell's script in the guest, and gives its output.
func (g *toolGuest) in(t *testing.T, script string) string {
	t.Helper()
	var out, stderr bytes.Buffer
	exit, err := g.guest.Run(t.Context(), testguest.Command{Path: "/bin/sh", Args: []string{"-c", g.expand(script)}, Stdout: &out, Stderr: &stderr})
	if exit != 0 || err != nil {
		t.Errorf("%s: exit status %d, %v: %s%s", script, exit, err, &out, &stderr)
	}
	return out.String()
}

// both runs a script in the guest and one on the host, at the same time.
func (g *toolGuest) both(t *testing.T, guest, host string) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		g.in(t, guest)
	}()
	cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", g.expand(host))
	cmd.Env = append(os.Environ(), "A="+g.a, "B="+g.b, "VSOCK_STACK=switch:"+g.dir+"/nowhere")
	cmd.WaitDelay = time.Second
	stuck := time.AfterFunc(toolGuestLimit/4, func() { _ = cmd.Process.Kill() })
	defer stuck.Stop()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%s: %v: %s", host, err, out)
	}
	<-done
}

// TestGuestTool has the tool in a real guest, over the kernel's stack, talk to the
// tool on the host, and to programs of others.
func TestGuestTool(t *testing.T) {
	g := bootTool(t)
	t.Run("doctor", func(t *testing.T) {
		var f doctor.Facts
		if err := json.Unmarshal([]byte(g.in(t, "VSOCK info --probe --json")), &f); err != nil || f.CID == nil || *f.CID != toolGuestCID || *f.Probed != (doctor.Probed{}) {
			t.Errorf("%+v, %v", f, err)
		}
		if out := g.in(t, "VSOCK doctor --probe"); strings.Contains(out, "problem") || !strings.Contains(out, "3: this is a guest") {
			t.Error(out)
		}
	})
	t.Run("guest listens", func(t *testing.T) {
		tap, err := g.sw.Capture(vswitch.CaptureConfig{})
		if err != nil {
			t.Fatal(err)
		}
		defer tap.Close()
		g.both(t, "VSOCK listen any:1024 <DIR/data >/tmp/got && cmp /tmp/got DIR/data",
			"VSOCK connect --stack $B --wait 20s 3:1024 <DIR/data | cmp - DIR/data")
		dissect(t, tap)
	})
	t.Run("guest connects", func(t *testing.T) {
		g.both(t, "VSOCK connect --wait 20s 10:1024 <DIR/data | cmp - DIR/data",
			"VSOCK listen --stack $A any:1024 <DIR/data | cmp - DIR/data")
	})
	t.Run("seqpacket", func(t *testing.T) {
		g.both(t, "echo message | VSOCK connect --wait 20s --type seqpacket 10:1024",
			"test $(VSOCK listen --stack $A --type seqpacket any:1024 </dev/null) = message")
	})
	t.Run("ping", func(t *testing.T) {
		if out := g.in(t, `VSOCK listen -k any:1025 >/dev/null & VSOCK connect --wait 20s 1:1025 </dev/null &&
			VSOCK ping -c 3 -i 1ms 1:1025; s=$?; kill $!; wait $!; exit $s`); !strings.Contains(out, "3 answered") {
			t.Error(out)
		}
	})
	t.Run("cp", func(t *testing.T) {
		g.both(t, `mkdir /tmp/share; VSOCK cp --serve /tmp/share -q & n=0
			until cmp -s /tmp/share/there DIR/data; do n=$((n+1)); test $n -lt 2000 || break; done
			kill -INT $!; wait $!; cmp /tmp/share/there DIR/data`,
			"VSOCK cp --stack $B --wait 20s DIR/data 3:/there")
	})
	// Both ways at once: each side sends all of a file, half-closes, and takes the other's.
	for _, tc := range []struct{ name, program, script string }{
		{"socat listens", "socat", `socat -t 20 vsock-listen:2000 'OPEN:DIR/back!!CREATE:/tmp/x1' &
			VSOCK connect --wait 20s 1:2000 <DIR/data >/tmp/y1 && wait $! && cmp /tmp/x1 DIR/data && cmp /tmp/y1 DIR/back`},
		{"socat connects", "socat", `VSOCK listen any:2001 <DIR/data >/tmp/x2 &
			n=0; until socat -t 20 'OPEN:DIR/back!!CREATE:/tmp/y2' vsock-connect:1:2001 2>/dev/null; do n=$((n+1)); test $n -lt 200 || exit 1; done
			wait $! && cmp /tmp/x2 DIR/back && cmp /tmp/y2 DIR/data`},
		{"ncat listens", "ncat", `ncat --vsock -l 2002 <DIR/back >/tmp/x3 &
			VSOCK connect --wait 20s 1:2002 <DIR/data >/tmp/y3 && wait $! && cmp /tmp/x3 DIR/data && cmp /tmp/y3 DIR/back`},
		{"ncat connects", "ncat", `VSOCK listen any:2003 <DIR/data >/tmp/x4 &
			n=0; until ncat --vsock 1 2003 <DIR/back >/tmp/y4 2>/dev/null; do n=$((n+1)); test $n -lt 200 || exit 1; done
			wait $! && cmp /tmp/x4 DIR/back && cmp /tmp/y4 DIR/data`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			testguest.RequireProgram(t, "", tc.program)
			g.in(t, tc.script)
		})
	}
	t.Run("forward", func(t *testing.T) { g.web(t) })
	t.Run("ssh with the descriptor", func(t *testing.T) { g.ssh(t) })
}

// webClients is how many clients the test of forward has at a time.
const webClients = 100

// web has curl in the guest ask a server on the host, through a forward on each side.
// No request is answered before all have come.
func (g *toolGuest) web(t *testing.T) {
	testguest.RequireProgram(t, "", "curl")
	l, err := net.Listen("unix", filepath.Join(g.dir, "http"))
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Add(webClients)
	server := http.Server{ReadHeaderTimeout: toolGuestLimit, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		all.Done()
		all.Wait()
		_, _ = fmt.Fprintf(w, "%s\n", r.URL.Path)
	})}
	go func() { _ = server.Serve(l) }()
	defer server.Close()
	host := startTool(t, "forward", "--stack", g.a, "vsock:any:80=unix:"+filepath.Join(g.dir, "http"))
	out := g.in(t, fmt.Sprintf(`mkdir -m 700 /tmp/web
		VSOCK forward unix:/tmp/web/s=vsock:10:80 & VSOCK connect --wait 20s 10:80 </dev/null
		n=0; until test -S /tmp/web/s; do n=$((n+1)); test $n -lt 10000 || exit 1; done
		curl -sS --no-keepalive --parallel --parallel-immediate --parallel-max %[1]d --unix-socket /tmp/web/s 'http://vm/[1-%[1]d]'; s=$?
		kill $!; wait $! || s=$?; exit $s`, webClients))
	got := strings.Fields(out)
	for i := range webClients {
		if !slices.Contains(got, fmt.Sprintf("/%d", i+1)) {
			t.Errorf("no answer to request %d", i+1)
		}
	}
	if err := host.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	host.ends(t, exitOK, "")
}

// dissect holds what tshark sees of a capture against what was captured.
func dissect(t *testing.T, tap *vswitch.Capture) {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "trace"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w, err := capture.NewWriter(f, vswitch.DefaultSnapLen)
	if err != nil {
		t.Fatal(err)
	}
	all, _ := tap.Next(nil)
	var want []string
	var bytes uint64
	for _, c := range all {
		p := capture.Packet{Time: c.Time, Payload: c.Payload}
		p.Decode(&c.Header)
		if err := w.Write(&p); err != nil {
			t.Fatal(err)
		}
		want = append(want, tsharkLine(&p))
		bytes += uint64(p.Len)
	}
	if bytes < 2*toolGuestAmount || tap.Dropped() > 0 {
		t.Errorf("%d bytes in %d packets, %d dropped", bytes, len(all), tap.Dropped())
	}
	tsharkSees(t, f.Name(), want)
}

// ssh has ssh take a connection's descriptor over.
func (g *toolGuest) ssh(t *testing.T) {
	sshd := testguest.RequireProgram(t, "", "sshd")
	testguest.RequireProgram(t, "", "ssh")
	config := sshdConfig(t, g.dir, sshd)
	g.in(t, fmt.Sprintf(`mount -t tmpfs none /run && mkdir /run/sshd || exit
		VSOCK listen any:22 --exec '%s -i -e -f %s' & 
		test "$(ssh -F none -i DIR/user -o IdentitiesOnly=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/tmp/known -o ProxyUseFdpass=yes \
			-o 'ProxyCommand=VSOCK ssh-proxy --fdpass --wait 20s vsock/1 %%p' root@vm 'wc -c' <DIR/data)" = %d`,
		sshd, config, fileSize(t, filepath.Join(g.dir, "data"))))
}

func fileSize(t *testing.T, path string) int64 {
	t.Helper()
	i, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return i.Size()
}
