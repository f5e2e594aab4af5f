package qemu

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"vsockets.dev/internal/guestpeer"
	"vsockets.dev/internal/guests"
	"vsockets.dev/internal/testguest"
	"vsockets.dev/vsock"
	"vsockets.dev/vswitch"
)

// Ports of the control connection of Linux's test program. Its own are at 1234.
const (
	kernelTestPort  = 7001 // TCP, in both guests
	kernelTestVsock = 7002 // in the server's guest, and on the host
)

// kernelTestTimeLimit is for one run. In the program, each wait has a limit of 10 s.
const kernelTestTimeLimit = time.Minute

// kernelTestCases are the cases of Linux 6.1.
var kernelTestCases = []string{
	"SOCK_STREAM connection reset",
	"SOCK_STREAM bind only",
	"SOCK_STREAM client close",
	"SOCK_STREAM server close",
	"SOCK_STREAM multiple connections",
	"SOCK_STREAM MSG_PEEK",
	"SOCK_SEQPACKET msg bounds",
	"SOCK_SEQPACKET MSG_TRUNC flag",
	"SOCK_SEQPACKET timeout",
	"SOCK_SEQPACKET invalid receive buffer",
	"SOCK_STREAM poll() + SO_RCVLOWAT",
}

// kernelTestOld is a case that a guest cannot pass as the server from Linux 6.7 on:
// where it reads into memory that is not there, the program of 6.1 expects ENOMEM,
// and the kernel gives EFAULT. It is nothing that the switch has a part in.
const kernelTestOld = "SOCK_SEQPACKET invalid receive buffer"

// TestKernelsOwnTest runs Linux's own test program of vSockets between two guests,
// in both directions.
func TestKernelsOwnTest(t *testing.T) {
	program := testguest.RequireProgram(t, testguest.EnvKernelTest, "vsock_test")
	for _, machine := range []testguest.Machine{testguest.UML, testguest.QEMU612} {
		t.Run(machine.String(), func(t *testing.T) {
			sw, pair := guestPair(t, machine, testguest.Config{Files: []string{program}})
			host := guestpeer.New(sw.Host())
			t.Cleanup(func() { _ = host.Close() })
			for _, d := range [][2]int{{0, 1}, {1, 0}} {
				client, server := pair[d[0]], pair[d[1]]
				t.Run(fmt.Sprintf("%d to %d", client.CID(), server.CID()), func(t *testing.T) {
					testVsockTest(t, program, host, client, server)
				})
			}
		})
	}
}

// guestPair is a switch with two guests that may talk to each other, of CIDs 3 and 4: one of
// User Mode Linux, and one of the machine.
func guestPair(t *testing.T, machine testguest.Machine, c testguest.Config) (*vswitch.Switch, [2]*testguest.Guest) {
	t.Helper()
	testguest.Require(t)
	machine.Require(t)
	sw := vswitch.New(vswitch.Config{})
	t.Cleanup(func() { _ = sw.Close() })
	var pair [2]*testguest.Guest
	var booting sync.WaitGroup
	for i, m := range []testguest.Machine{testguest.UML, machine} {
		cid := uint32(guests.CID + i)
		c := c
		c.Machine = m
		_, c.Device = guests.Add(t, sw, cid, "pair")
		booting.Go(func() { pair[i] = guests.TryBoot(t, cid, c) })
	}
	booting.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return sw, pair
}

// testVsockTest runs the program in two guests that may talk to each other. Its
// control connection is TCP, which the guests have only inside: their agents relay
// it to vSockets, and the host relays it from one to the other.
func testVsockTest(t *testing.T, program string, host guests.Caller, client, server *testguest.Guest) {
	ctx, cancel := context.WithTimeout(t.Context(), kernelTestTimeLimit)
	defer cancel()
	control := "127.0.0.1:" + strconv.Itoa(kernelTestPort)
	guests.Call[vsock.Addr](t, server, guestpeer.CmdListen, guestpeer.Listen{Port: kernelTestVsock, Service: guestpeer.ServiceTCP, TCP: control})
	defer guests.Call[any](t, server, guestpeer.CmdClose, guestpeer.Port{Port: kernelTestVsock})
	guests.Call[vsock.Addr](t, host, guestpeer.CmdListen, guestpeer.Listen{
		Port: kernelTestVsock, Service: guestpeer.ServiceRelay, To: vsock.Addr{CID: server.CID(), Port: kernelTestVsock},
	})
	defer guests.Call[any](t, host, guestpeer.CmdClose, guestpeer.Port{Port: kernelTestVsock})
	forward := guestpeer.Forward{TCP: "127.0.0.1:0", To: vsock.Addr{CID: vsock.CIDHost, Port: kernelTestVsock}}
	via := guests.Call[string](t, client, guestpeer.CmdForward, forward)

	start := time.Now()
	var servers, clients kernelTestRun
	if strings.HasPrefix(server.Kernel(), "6.12.") {
		clients.skipped = kernelTestOld
	}
	servers.listening = make(chan struct{})
	listening := servers.listening
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		servers.run(ctx, server, program, "server", control, client.CID())
	}()
	select {
	case <-listening:
		clients.run(ctx, client, program, "client", via, server.CID())
	case <-ended:
	}
	<-ended
	t.Logf("Linux %s (client) and %s, %v:\n%s", client.Kernel(), server.Kernel(), time.Since(start), &clients.out)
	servers.skipped = clients.skipped
	if err := errors.Join(servers.check(), clients.check()); err != nil {
		t.Errorf("%v\nthe server says:\n%s%s\nthe client says:\n%s", err, &servers.out, &servers.errors, &clients.errors)
	}
}

// kernelTestRun is the program in one of its two roles.
type kernelTestRun struct {
	out, errors bytes.Buffer
	listening   chan struct{} // closed when the server says that it is, if not nil
	skipped     string        // a case; both sides leave it out
	exit        int
	err         error
}

func (r *kernelTestRun) run(ctx context.Context, g *testguest.Guest, program, mode, control string, peer uint32) {
	host, port, _ := strings.Cut(control, ":")
	args := []string{
		"--mode=" + mode, "--control-host=" + host, "--control-port=" + port,
		"--peer-cid=" + strconv.FormatUint(uint64(peer), 10),
	}
	if i := slices.Index(kernelTestCases, r.skipped); i >= 0 {
		args = append(args, "--skip="+strconv.Itoa(i))
	}
	r.exit, r.err = g.Run(ctx, testguest.Command{Path: program, Args: args, Stdout: r, Stderr: &r.errors})
}

func (r *kernelTestRun) Write(b []byte) (int, error) {
	n, err := r.out.Write(b)
	if r.listening != nil && bytes.Contains(r.out.Bytes(), []byte("listening on")) {
		close(r.listening)
		r.listening = nil
	}
	return n, err
}

// kernelTestCase is a line of the program's output.
var kernelTestCase = regexp.MustCompile(`(?m)^\d+ - (.*)\.\.\.(.*)$`)

// check makes sure that each case has been run and passed. A newer source may have
// more of them.
func (r *kernelTestRun) check() error {
	if r.err != nil {
		return r.err
	}
	if r.exit != 0 {
		return fmt.Errorf("exit status %d", r.exit)
	}
	missing := slices.Clone(kernelTestCases)
	for _, m := range kernelTestCase.FindAllStringSubmatch(r.out.String(), -1) {
		if m[2] != "ok" && m[1] != r.skipped {
			return fmt.Errorf("case %q: %s", m[1], m[2])
		}
		missing = slices.DeleteFunc(missing, func(c string) bool { return c == m[1] })
	}
	if len(missing) > 0 {
		return fmt.Errorf("cases that did not run: %q", missing)
	}
	return nil
}
