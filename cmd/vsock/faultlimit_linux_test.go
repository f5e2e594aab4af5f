package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	vsockets "vsockets.dev"
	"vsockets.dev/internal/attach"
	"vsockets.dev/internal/guestmem"
	"vsockets.dev/internal/vhostuser"
	"vsockets.dev/vsock"
)

// limit sets a soft limit of the switch, which it has, and gives the former one.
func (p *switchProcess) limit(resource int, to uint64) (was uint64) {
	p.t.Helper()
	var old unix.Rlimit
	if err := unix.Prlimit(p.cmd.Process.Pid, resource, nil, &old); err != nil {
		p.t.Fatal(err)
	}
	if err := unix.Prlimit(p.cmd.Process.Pid, resource, &unix.Rlimit{Cur: to, Max: old.Max}, nil); err != nil {
		p.t.Fatal(err)
	}
	return old.Cur
}

// proc reads something of the switch's in /proc.
func (p *switchProcess) proc(name string) string {
	return fmt.Sprintf("/proc/%d/%s", p.cmd.Process.Pid, name)
}

// TestNoDescriptors leaves the switch no descriptor. Who is there goes on; who comes waits, or
// is refused at once where the switch would have to open something for it; the log says so in
// one line a socket, and not in one a try; and then all is as before.
func TestNoDescriptors(t *testing.T) {
	b := newFaultBed(t)
	guest := openContext(t, b.path("3"))
	toOut := vsock.Addr{CID: vsock.CIDHost, Port: 8080}
	open, err := vsock.Dial(t.Context(), guest, toOut)
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	askEcho(t, open)

	was := b.limit(unix.RLIMIT_NOFILE, 3) // it has more, so that there is none left
	joins := make(chan error, 1)
	go func() {
		s, err := vsockets.Open("switch:" + b.path("attach"))
		if err == nil {
			err = s.Close()
		}
		joins <- err
	}()
	eventually(t, "the log says that connections wait", func() bool { return b.logged("connections wait") == 1 })

	// The forward's far side cannot be opened: the guest's connection is reset at once, if
	// not while it is made, then after.
	begun := time.Now()
	c, err := vsock.Dial(t.Context(), guest, toOut)
	if err == nil {
		_ = c.SetReadDeadline(begun.Add(goneWithin))
		_, err = c.Read(make([]byte, 1))
		_ = c.Close()
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("a connection that needs a descriptor: %v", err)
	}
	if took := time.Since(begun); took > goneWithin {
		t.Errorf("refused after %v", took)
	}
	if err := b.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the reload fails", func() bool { return b.logged("reload failed") == 1 })
	askEcho(t, open)
	b.client.progress(5)
	select {
	case err := <-joins:
		t.Errorf("a process joined without descriptors, or was turned away: %v", err)
	default:
	}
	if n := b.logged("connections wait"); n != 1 {
		t.Errorf("logged %d times", n)
	}

	b.limit(unix.RLIMIT_NOFILE, was)
	if err := <-joins; err != nil {
		t.Errorf("the process that waited: %v", err)
	}
	eventually(t, "the log says that it is over", func() bool { return b.logged("connections are accepted again") == 1 })
	again, err := vsock.Dial(t.Context(), guest, toOut)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	askEcho(t, again)
	if err := b.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the reload succeeds", func() bool { return b.logged("msg=reloaded") == 1 })
	b.unmoved()
}

// TestFewDescriptors leaves the switch some, from none to as many as a session needs: whatever
// it is short of at whichever step, the one who comes is turned away or served, the others go
// on, and no descriptor is lost.
func TestFewDescriptors(t *testing.T) {
	const most = 12
	b := newFaultBed(t)
	held := func() int {
		fds, err := os.ReadDir(b.proc("fd"))
		if err != nil {
			t.Fatal(err)
		}
		return len(fds)
	}
	b.tool("ps") // opens what is opened once
	b.joined(2)
	var start int
	eventually(t, "the control connections are closed", func() bool {
		n := held()
		same := n == start
		start = n
		return same
	})
	was := uint64(0)
	joined := 0
	for n := range most {
		was = max(was, b.limit(unix.RLIMIT_NOFILE, uint64(start+n)))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		s, err := attach.Dial(ctx, b.path("attach"))
		cancel()
		if err == nil {
			joined++
			_ = s.Close()
		}
		b.client.progress(1)
		b.limit(unix.RLIMIT_NOFILE, was)
		eventually(t, "all descriptors are back", func() bool { return held() <= start })
	}
	if joined == 0 || joined == most {
		t.Errorf("%d of %d joined", joined, most)
	}
	b.unmoved()
	b.joined(2)
}

// TestNoMemory leaves the switch less address space than a front-end wants it to map. That
// session ends, with the reason in the log; the switch and all others go on, and a front-end
// that wants less is served.
func TestNoMemory(t *testing.T) {
	const spare, wanted = 512 << 20, 8 << 30
	b := newFaultBed(t)
	was := b.limit(unix.RLIMIT_AS, b.virtual()+spare)
	fd, err := unix.MemfdCreate("large", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Ftruncate(fd, wanted); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		ctx, cancel := context.WithTimeout(t.Context(), switchLimit)
		defer cancel()
		conn, err := new(net.Dialer).DialContext(ctx, "unix", b.path("3"))
		if err != nil {
			t.Fatal(err)
		}
		f, err := vhostuser.Connect(ctx, conn.(*net.UnixConn), 1<<32) // VIRTIO_F_VERSION_1
		if err != nil {
			t.Fatal(err)
		}
		region := guestmem.Region{GuestAddr: 1 << 30, UserAddr: 1 << 30, Size: wanted}
		if err := f.Start([]guestmem.Region{region}, []int{fd}, nil); err == nil {
			t.Errorf("the switch has mapped %d bytes", int64(wanted))
		}
		_ = f.Close()
		b.client.progress(1)
	}
	eventually(t, "the reason is logged", func() bool { return b.logged("cannot allocate memory") == 3 })
	guest := b.call("guest", "3", b.server.cid)
	guest.progress(2)
	guest.well()
	b.limit(unix.RLIMIT_AS, was)
	b.unmoved()
}

// virtual is the size of the switch's address space.
func (p *switchProcess) virtual() uint64 {
	p.t.Helper()
	text, err := os.ReadFile(p.proc("statm")) // in pages: proc(5)
	if err != nil {
		p.t.Fatal(err)
	}
	var pages uint64
	if _, err := fmt.Sscan(string(text), &pages); err != nil {
		p.t.Fatal(err)
	}
	return pages * uint64(os.Getpagesize())
}
