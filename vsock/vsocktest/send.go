package vsocktest

import (
	"errors"
	"fmt"
	"hash/crc64"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"vsockets.dev/vsock"
)

// smallBuffer is a buffer that a test fills quickly.
const smallBuffer = 8192

// tooMuch is more than fits the buffers between the ends of r.sized(smallBuffer).
func (r *rig) tooMuch() string {
	if r.relayed() {
		return pattern(4 << 20)
	}
	return pattern(8 * smallBuffer)
}

var sendTests = []test{
	{name: "bytes arrive", run: func(r *rig) {
		a, b := r.joined(vsock.Stream)
		r.send(a, "to")
		r.recv(b, "to")
		r.send(b, "fro")
		r.recv(a, "fro")
	}},
	{name: "zero length", run: func(r *rig) {
		a, b := r.joined(vsock.Stream)
		r.send(a, "")
		r.send(a, "x")
		r.recv(b, "x")
	}},
	{name: "not connected", run: func(r *rig) {
		bound, _ := r.bound(r.A, vsock.Stream)
		for state, s := range map[string]vsock.Socket{"new": r.socket(r.A, vsock.Stream), "bound": bound} {
			_, err := s.Send([]byte("x"), 0)
			r.want(err, syscall.ENOTCONN, state)
			_, err = s.SendTo([]byte("x"), 0, vsock.Addr{CID: r.B.CID, Port: 5000})
			r.want(err, syscall.ENOTCONN, state+": sendto")
		}
	}},
	{name: "sendto a connection", run: func(r *rig) {
		a, _ := r.joined(vsock.Stream)
		_, err := a.SendTo([]byte("x"), 0, r.peerName(a))
		r.want(err, syscall.EISCONN, "sendto")
	}},
	{name: "large, both ways at once", run: func(r *rig) {
		a, b := r.joined(vsock.Stream)
		r.transfer(a, b, 1<<20)
	}},
	{name: "large through the smallest buffer", run: func(r *rig) {
		a, b := r.sized(vsock.Stream, 128)
		r.transfer(a, b, 8<<10)
	}},
	{name: "large through the largest buffer", run: func(r *rig) {
		a, b := r.sized(vsock.Stream, 262144)
		r.transfer(a, b, 1<<20)
	}},
	{name: "many small ones", run: func(r *rig) {
		const n = 2000
		a, b := r.joined(vsock.Stream)
		p := pattern(n)
		wait := r.background(func() error {
			for i := range n {
				if _, err := a.Send([]byte(p[i:i+1]), 0); err != nil {
					return err
				}
				if i%renewEvery == 0 {
					if err := renew(a); err != nil {
						return err
					}
				}
			}
			return nil
		})
		for i := 0; i < n; i += renewEvery {
			r.ok(renew(b), "set the deadlines")
			r.recv(b, p[i:i+renewEvery])
		}
		r.ok(wait(), "send")
	}},
	{name: "many connections at once", run: func(r *rig) {
		const n = 8
		l, addr := r.listener(vsock.Stream)
		var waits []func() error
		for i := range n {
			a := r.socket(r.A, vsock.Stream)
			r.connect(a, addr)
			b := r.accept(l)
			waits = append(waits, r.background(func() error {
				defer func() { _ = a.Shutdown(vsock.ShutWrite) }()
				_, err := a.Write([]byte(pattern(20_000 + i)))
				return err
			}), r.background(func() error {
				got, err := io.ReadAll(b)
				if string(got) != pattern(20_000+i) {
					return fmt.Errorf("connection %d: other data, %w", i, err)
				}
				return err
			}))
		}
		for _, wait := range waits {
			r.ok(wait(), "transfer")
		}
	}},
	{name: "nonblocking, credit exhausted then freed", run: func(r *rig) {
		a, b := r.sized(vsock.Stream, smallBuffer)
		filled := r.fill(a, b)
		r.idle(a, vsock.PollOut)
		r.nonblock(a)
		_, err := a.Send([]byte("x"), 0)
		r.want(err, syscall.EAGAIN, "send")
		r.recv(b, filled)
		r.await(a, vsock.PollOut)
		n, err := a.Send([]byte("more"), 0)
		if n == 0 || err != nil {
			r.Fatalf("send when writable: %d, %v", n, err)
		}
		r.recv(b, "more"[:n])
	}},
	{name: "nonblocking sends a part", run: func(r *rig) {
		a, b := r.sized(vsock.Stream, smallBuffer)
		p := r.tooMuch()
		n, err := a.Send([]byte(p), vsock.MsgDontWait)
		if n == 0 || n == len(p) || err != nil {
			r.Fatalf("send of %d bytes: %d, %v; want a part", len(p), n, err)
		}
		r.recv(b, p[:n])
	}},
	{name: "waits for credit", run: func(r *rig) {
		a, b := r.sized(vsock.Stream, smallBuffer)
		filled := r.fill(a, b)
		wait := r.background(func() error { _, err := a.Send([]byte("freed"), 0); return err })
		r.recv(b, filled+"freed")
		r.ok(wait(), "send")
	}},
	{name: "the buffer bounds what is in flight", run: func(r *rig) {
		a, b := r.sized(vsock.Stream, smallBuffer)
		if n := len(r.fill(a, b)); n < smallBuffer/2 || n > 2*smallBuffer != r.relayed() {
			r.Errorf("%d bytes fit a buffer of %d", n, smallBuffer)
		}
	}},
	{name: "deadline while waiting for credit", run: func(r *rig) {
		a, b := r.sized(vsock.Stream, smallBuffer)
		r.fill(a, b)
		r.passes(a.SetWriteDeadline, func() error { _, err := a.Send([]byte("x"), 0); return err })
	}},
	{name: "deadline passes, a part has gone", run: func(r *rig) {
		a, b := r.sized(vsock.Stream, smallBuffer)
		p := r.tooMuch()
		r.ok(a.SetWriteDeadline(time.Now().Add(soon)), "SetWriteDeadline")
		n, err := a.Send([]byte(p), 0)
		r.want(err, os.ErrDeadlineExceeded, "send")
		r.recv(b, p[:n])
		r.ok(a.SetWriteDeadline(never), "SetWriteDeadline")
		r.send(a, "and on")
		r.recv(b, "and on")
	}},
	{name: "deadline has passed", run: func(r *rig) {
		a, _ := r.joined(vsock.Stream)
		r.ok(a.SetWriteDeadline(past), "SetWriteDeadline")
		_, err := a.Send([]byte("x"), 0)
		r.want(err, os.ErrDeadlineExceeded, "send")
	}},
	{name: "the read deadline is another's", run: func(r *rig) {
		a, b := r.joined(vsock.Stream)
		r.ok(a.SetReadDeadline(past), "SetReadDeadline")
		r.send(a, "x")
		r.recv(b, "x")
	}},
	{name: "closed while waiting for credit", run: func(r *rig) {
		for range 10 {
			a, b := r.sized(vsock.Stream, smallBuffer)
			r.fill(a, b)
			wait := r.background(func() error { _, err := a.Send([]byte("x"), 0); return err })
			r.ok(a.Close(), "close")
			r.want(wait(), net.ErrClosed, "send")
		}
	}},
	{name: "peer closes while waiting for credit", run: func(r *rig) {
		a, b := r.sized(vsock.Stream, smallBuffer)
		r.fill(a, b)
		wait := r.background(func() error { _, err := a.Send([]byte("x"), 0); return err })
		r.ok(b.Close(), "close")
		_, send := r.A.Traits.unread(&r.B.Traits)
		err := wait()
		if r.B.Traits.Relayed && errors.Is(err, syscall.EPIPE) {
			return // the relay could not write, and told so before it read the reset
		}
		r.want(err, send, "send")
	}},
	{name: "shutdown while waiting for credit", run: func(r *rig) {
		a, b := r.sized(vsock.Stream, smallBuffer)
		r.fill(a, b)
		wait := r.background(func() error { _, err := a.Send([]byte("x"), 0); return err })
		r.ok(a.Shutdown(vsock.ShutWrite), "shutdown")
		r.want(wait(), syscall.EPIPE, "send")
	}},
	{name: "counters go on past the buffer, many times", run: func(r *rig) {
		a, b := r.sized(vsock.Stream, 1024)
		p := pattern(1000)
		for i := range 200 {
			if i%(renewEvery/4) == 0 {
				r.ok(errors.Join(renew(a), renew(b)), "set the deadlines")
			}
			r.send(a, p)
			r.recv(b, p)
			r.send(b, p[:100])
			r.recv(a, p[:100])
		}
	}},
}

// transfer sends n bytes each way at once, and compares checksums.
func (r *rig) transfer(a, b vsock.Socket, n int) {
	r.Helper()
	table := crc64.MakeTable(crc64.ECMA)
	var waits []func() error
	for i, way := range [][2]vsock.Socket{{a, b}, {b, a}} {
		p := []byte(pattern(n + i)[i:])
		waits = append(waits, r.background(func() error {
			_, err := way[0].Write(p)
			return errors.Join(err, way[0].Shutdown(vsock.ShutWrite))
		}), r.background(func() error {
			sum := crc64.New(table)
			got, err := io.Copy(sum, way[1])
			if err == nil && (got != int64(len(p)) || sum.Sum64() != crc64.Checksum(p, table)) {
				err = fmt.Errorf("%d bytes of %d, or other ones", got, len(p))
			}
			return err
		}))
	}
	for _, wait := range waits {
		r.ok(wait(), "transfer")
	}
}
