package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"vsockets.dev/internal/switchd"
	"vsockets.dev/vsock"
)

// seedVar repeats a test's random choices: the seed that its log tells.
const seedVar = "VSOCKETS_TEST_SEED"

// random gives a test's random choices.
func random(t *testing.T) *rand.Rand {
	t.Helper()
	seed := rand.Uint64()
	if s := os.Getenv(seedVar); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatalf("%s: %v", seedVar, err)
		}
	}
	t.Logf("%s=%d repeats this", seedVar, seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// soon waits for up to 30 ms, so that what comes next comes at any moment of a load.
func soon(r *rand.Rand) { <-time.After(time.Duration(r.Int64N(int64(30 * time.Millisecond)))) }

// faultBed is a switch, and two processes that use it all the time and must not notice
// what happens to others.
type faultBed struct {
	*switchProcess
	server, client *load
}

func faultFlags() []string {
	return []string{
		"--guest", "cid=3,socket=$/3,groups=a", "--guest", "cid=4,socket=$/4,groups=a", "--attach", "$/attach,groups=a",
		"--forward", "host:8080=unix:$/out", "--control", "$/control", "--config", "$/file",
	}
}

func newFaultBed(t *testing.T) *faultBed {
	t.Helper()
	dir := switchFolder(t)
	b := &faultBed{switchProcess: startSwitch(t, dir, faultFlags()...)}
	b.server = b.serve("honest server", "attach")
	b.client = b.call("honest client", "attach", b.server.cid)
	b.client.progress(1)
	return b
}

// serve starts a process on a socket of the switch that echoes.
func (b *faultBed) serve(name, socket string) *load {
	b.t.Helper()
	return startLoad(b.t, name, "serve", "switch:"+b.path(socket))
}

// call starts a process on a socket of the switch, which has blocks be echoed by a CID.
func (b *faultBed) call(name, socket, cid string) *load {
	b.t.Helper()
	return startLoad(b.t, name, "call", "switch:"+b.path(socket), cid+":"+strconv.Itoa(loadPort))
}

// unmoved holds the two to go on, and to have had no fault.
func (b *faultBed) unmoved() {
	b.t.Helper()
	b.client.progress(2)
	b.client.well()
	b.server.well()
}

// contexts are those that the switch has.
func (b *faultBed) contexts() []switchd.Context {
	b.t.Helper()
	var all []switchd.Context
	if err := json.Unmarshal([]byte(b.tool("ps", "--json")), &all); err != nil {
		b.t.Fatal(err)
	}
	return all
}

// joined waits until as many processes are connected.
func (b *faultBed) joined(n int) {
	b.t.Helper()
	eventually(b.t, strconv.Itoa(n)+" connected", func() bool {
		got := 0
		for _, c := range b.contexts() {
			if c.State == "connected" {
				got++
			}
		}
		return got == n
	})
}

// resets are the ways in which a client may fail whose peer went away.
var resets = []string{"read: ECONNRESET", "write: ECONNRESET", "write: EPIPE", "dial: ECONNRESET", "dial: ECONNREFUSED"}

// goneDials are those, besides, of a process whose own connection to the switch has ended:
// while it dials, and after that.
var goneDials = []string{"dial: ENETUNREACH", "dial: ENETDOWN"}

// logged counts the lines of the switch's log that have some text.
func (p *switchProcess) logged(text string) int { return strings.Count(p.stderr.String(), text) }

// TestKilledUnderLoad kills one process after the other at any moment. Those that had to do
// with it are told, all others notice nothing, and another one takes its place.
func TestKilledUnderLoad(t *testing.T) {
	const times = 3
	for _, tc := range []struct {
		name           string
		server, client string // the sockets that they are on: guest 3 is a front-end
		victim         string
	}{
		{"attached client", "attach", "attach", "client"},
		{"attached server", "attach", "attach", "server"},
		{"front-end that calls", "attach", "3", "client"},
		{"front-end that serves", "3", "attach", "server"},
		{"server of a front-end", "attach", "3", "server"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := random(t)
			b := newFaultBed(t)
			for range times {
				server := b.serve("server", tc.server)
				client := b.call("client", tc.client, server.cid)
				client.progress(1 + r.IntN(3))
				soon(r)
				if tc.victim == "server" {
					server.kill()
					// What was open is reset. What is opened later is refused, as what nobody serves.
					client.fails(goneWithin, resets...)
					b.joined(2)
					continue
				}
				client.kill()
				b.joined(3) // the honest two, and the server
				next := b.call("next client", tc.client, server.cid)
				next.progress(1)
				next.well()
				server.mu.Lock()
				for _, line := range server.lines[1:] {
					if line != "ended ECONNRESET" && line != "ended EPIPE" {
						t.Errorf("the server: %s", line)
					}
				}
				server.mu.Unlock()
				next.kill()
				server.kill()
				b.joined(2)
			}
			b.unmoved()
			if err := b.end(syscall.SIGTERM); err != nil {
				t.Errorf("the switch ends with %v", err)
			}
		})
	}
}

// TestSwitchKilledUnderLoad kills the switch at any moment: all that use it are told at once,
// and the next one takes over its sockets.
func TestSwitchKilledUnderLoad(t *testing.T) {
	const times = 5
	r := random(t)
	dir := switchFolder(t)
	for range times {
		b := &faultBed{switchProcess: startSwitch(t, dir, faultFlags()...)}
		server := b.serve("server", "attach")
		clients := []*load{b.call("client", "attach", server.cid), b.call("front-end", "3", server.cid)}
		for _, c := range clients {
			c.progress(1)
		}
		soon(r)
		if err := b.end(syscall.SIGKILL); err == nil {
			t.Fatal("it ended in order")
		}
		for _, c := range clients {
			c.fails(goneWithin, append(resets, goneDials...)...)
		}
		server.fails(goneWithin, "accept: closed")
	}
}

// TestGuestRemovedUnderLoad takes a guest out and puts it back, while it talks.
func TestGuestRemovedUnderLoad(t *testing.T) {
	const times = 5
	r := random(t)
	b := newFaultBed(t)
	server := b.serve("server", "attach")
	for range times {
		guest := b.call("guest", "3", server.cid)
		guest.progress(1)
		soon(r)
		b.tool("guest", "rm", "3")
		guest.fails(goneWithin, append(resets, goneDials...)...)
		b.tool("guest", "add", "cid=3,groups=a,socket="+b.path("3"))
	}
	back := b.call("guest", "3", server.cid)
	back.progress(2)
	back.well()
	b.unmoved()
}

// TestReloadUnderLoad reloads a file again and again, with another guest, forward, policy
// and limit each time. What it does not name goes on; so does a guest whose groups change.
func TestReloadUnderLoad(t *testing.T) {
	const times = 20
	b := newFaultBed(t)
	guest := b.call("guest", "3", b.server.cid)
	guest.progress(1)
	for i := range times {
		text := "[[guest]]\ncid = 9\nsocket = '$/9'\n"
		if i%2 == 1 {
			text = "rules = ['deny 9 *']\nforwards = ['unix:$/f=host:1']\n[[guest]]\ncid = 10\nsocket = '$/10'\ngroups = ['a']\nconnections = 7\n"
		}
		writeFile(t, b.dir, text)
		before := b.logged("msg=reloaded")
		if err := b.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		eventually(t, "reloaded", func() bool { return b.logged("msg=reloaded") > before })
		guest.progress(1)
	}
	if n := b.logged("reload failed"); n > 0 {
		t.Errorf("%d reloads failed", n)
	}
	guest.well()
	b.unmoved()
	if all := b.contexts(); len(all) != 6 { // host, 3, 4, 10 and the two
		t.Errorf("contexts: %+v", all)
	}
}

// TestStoppedUnderLoad stops processes for a while (SIGSTOP), as a debugger or a host that swaps
// does: others go on meanwhile, and so do they after it, without a byte lost.
func TestStoppedUnderLoad(t *testing.T) {
	r := random(t)
	for _, tc := range []struct{ name, server, client, victim string }{
		{"client", "attach", "attach", "client"},
		{"server", "attach", "attach", "server"},
		{"front-end that calls", "attach", "3", "client"},
		{"front-end that serves", "3", "attach", "server"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newFaultBed(t)
			server := b.serve("server", tc.server)
			client := b.call("client", tc.client, server.cid)
			client.progress(1)
			soon(r)
			victim := map[string]*load{"client": client, "server": server}[tc.victim].cmd.Process
			if err := victim.Signal(syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
			eventually(t, "it has stopped", func() bool { return isStopped(t, victim.Pid) })
			b.client.progress(10)
			// One that calls them in vain is refused in time, and the switch answers.
			if tc.victim == "server" {
				b.call("caller", "4", server.cid).fails(2*vsock.DefaultConnectTimeout, "dial: ETIMEDOUT")
			}
			b.contexts()
			if !isStopped(t, victim.Pid) {
				t.Error("it did not stay stopped")
			}
			if err := victim.Signal(syscall.SIGCONT); err != nil {
				t.Fatal(err)
			}
			if tc.victim == "client" {
				client.progress(2)
				client.well()
			} else {
				// It goes on too, unless it was about to connect.
				client.mu.Lock()
				to := client.done + 2
				client.mu.Unlock()
				client.until("on", switchLimit, func() bool {
					return client.done >= to || slices.Contains(client.lines, "failed dial: ETIMEDOUT")
				})
			}
			b.unmoved()
		})
	}
}

// isStopped asks the kernel whether a process is stopped by a signal: proc_pid_stat(5).
func isStopped(t *testing.T, pid int) bool {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	return strings.HasPrefix(string(text[bytes.LastIndexByte(text, ')')+1:]), " T ")
}
