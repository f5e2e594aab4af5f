package vsocktest

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"vsockets.dev/vsock"
)

// seqpackets: the pair has them.
func seqpackets(p *Pair) bool {
	return p.A.Traits.NoSeqpacket == nil && p.B.Traits.NoSeqpacket == nil && seqpacketSockets(p)
}

// seqpacketSockets: there are such sockets, whether they connect or not.
func seqpacketSockets(p *Pair) bool {
	return p.A.Traits.NoSeqpacketSocket == nil && p.B.Traits.NoSeqpacketSocket == nil
}

// messagePeeks: and one can peek at messages.
func messagePeeks(p *Pair) bool { return seqpackets(p) && p.B.Traits.NoMessagePeek == nil }

var seqpacketTests = []test{
	{name: "connect", on: seqpacketSockets, run: func(r *rig) {
		_, addr := r.listener(vsock.Seqpacket)
		r.want(r.socket(r.A, vsock.Seqpacket).Connect(r.Context(), addr), r.A.Traits.NoSeqpacket, "connect")
	}},
	{name: "boundaries", on: seqpackets, run: func(r *rig) {
		r.messageEnds(func(a, b vsock.Socket) {
			for _, m := range []string{"one", "two", "a third"} {
				r.send(a, m)
			}
			for _, m := range []string{"one", "two", "a third"} {
				r.message(b, m)
			}
		})
	}},
	{name: "mixed sizes in order", on: seqpackets, run: func(r *rig) {
		r.messageEnds(func(a, b vsock.Socket) {
			p := pattern(40_000)
			sizes := []int{1, 2, 40_000, 3, 127, 4096, 4097, 65, 1, 30_000, 8191, 1}
			wait := r.background(func() error {
				for _, n := range sizes {
					if _, err := a.Send([]byte(p[:n]), 0); err != nil {
						return err
					}
				}
				return nil
			})
			for _, n := range sizes {
				r.message(b, p[:n])
			}
			r.ok(wait(), "send")
		})
	}},
	{name: "end of record", on: seqpackets, run: func(r *rig) {
		r.messageEnds(func(a, b vsock.Socket) {
			for i, flags := range []vsock.Flags{0, vsock.MsgEOR, 0, vsock.MsgEOR} {
				m := strings.Repeat("m", i+1)
				if n, err := a.Send([]byte(m), flags); n != len(m) || err != nil {
					r.Fatalf("send: %d, %v", n, err)
				}
				p := make([]byte, 8)
				if n, got, err := b.Recv(p, 0); string(p[:n]) != m || got != flags || err != nil {
					r.Errorf("recv: %q, flags %#x, %v; want %q, %#x", p[:n], got, err, m, flags)
				}
			}
		})
	}},
	{name: "too short a buffer loses the rest", on: seqpackets, run: func(r *rig) {
		a, b := r.joined(vsock.Seqpacket)
		r.send(a, "123456789")
		r.send(a, "next")
		p := make([]byte, 4)
		if n, got, err := b.Recv(p, 0); string(p[:n]) != "1234" || got&vsock.MsgTrunc == 0 || err != nil {
			r.Errorf("recv: %q, flags %#x, %v; want 1234, MsgTrunc", p[:n], got, err)
		}
		r.message(b, "next")
	}},
	{name: "MsgTrunc tells the whole length", on: seqpackets, run: func(r *rig) {
		a, b := r.joined(vsock.Seqpacket)
		r.send(a, "123456789")
		r.send(a, "next")
		p := make([]byte, 4)
		if n, got, err := b.Recv(p, vsock.MsgTrunc); n != 9 || string(p) != "1234" || got&vsock.MsgTrunc == 0 || err != nil {
			r.Errorf("recv: %d, %q, flags %#x, %v; want 9, 1234, MsgTrunc", n, p, got, err)
		}
		r.message(b, "next")
	}},
	{name: "a buffer of just the size", on: seqpackets, run: func(r *rig) {
		a, b := r.joined(vsock.Seqpacket)
		r.send(a, "1234")
		p := make([]byte, 4)
		if n, got, err := b.Recv(p, vsock.MsgTrunc); n != 4 || string(p) != "1234" || got != 0 || err != nil {
			r.Errorf("recv: %d, %q, flags %#x, %v; want 4, 1234, none", n, p, got, err)
		}
	}},
	{name: "peek", on: seqpackets, run: func(r *rig) {
		a, b := r.joined(vsock.Seqpacket)
		r.send(a, "1234")
		r.await(b, vsock.PollIn)
		p := make([]byte, 8)
		n, _, err := b.Recv(p, vsock.MsgPeek)
		r.want(err, r.B.Traits.NoMessagePeek, "peek")
		if err == nil && string(p[:n]) != "1234" {
			r.Errorf("peeked at %q", p[:n])
		}
		r.message(b, "1234")
	}},
	{name: "peek with MsgTrunc tells the length", on: messagePeeks, run: func(r *rig) {
		a, b := r.joined(vsock.Seqpacket)
		r.send(a, "123456789")
		r.await(b, vsock.PollIn)
		if n, got, err := b.Recv(nil, vsock.MsgPeek|vsock.MsgTrunc); n != 9 || got&vsock.MsgTrunc == 0 || err != nil {
			r.Errorf("peek: %d, flags %#x, %v; want 9, MsgTrunc", n, got, err)
		}
		r.message(b, "123456789")
	}},
	{name: "as large as the buffer", on: seqpackets, run: func(r *rig) {
		for _, size := range []int{128, smallBuffer, 65536, 262144} {
			a, b := r.sized(vsock.Seqpacket, uint64(size))
			for range 3 { // and again, when it is free again
				wait := r.background(func() error { _, err := a.Send([]byte(pattern(size)), 0); return err })
				r.message(b, pattern(size))
				r.ok(wait(), "send")
			}
		}
	}},
	{name: "larger than the buffer", on: seqpackets, run: func(r *rig) {
		a, b := r.sized(vsock.Seqpacket, smallBuffer)
		for _, flags := range []vsock.Flags{0, vsock.MsgDontWait} {
			n, err := a.Send([]byte(pattern(smallBuffer+1)), flags)
			if n != 0 {
				r.Errorf("sent %d", n)
			}
			r.want(err, syscall.EMSGSIZE, "send")
		}
		r.send(a, "fits") // the connection is none the worse
		r.message(b, "fits")
	}},
	{name: "empty", on: seqpackets, run: func(r *rig) {
		a, b := r.joined(vsock.Seqpacket)
		switch sent := r.sendEmpty(a); {
		case sent && r.B.Traits.NoEmptyMessages != nil:
			r.emptyMessage(b)
		case sent:
			r.message(b, "")
		}
		r.send(a, "x")
		r.message(b, "x")
	}},
	{name: "empty is not end of file", on: seqpackets, run: func(r *rig) {
		a, b := r.joined(vsock.Seqpacket)
		sent := r.sendEmpty(a)
		r.send(a, "x")
		r.ok(a.Shutdown(vsock.ShutWrite), "shutdown")
		switch {
		case sent && r.B.Traits.NoEmptyMessages != nil:
			r.awaits(b, vsock.PollRdHup)
			r.fails(b, errEOF)
		case sent:
			r.message(b, "")
		}
		r.message(b, "x")
		r.fails(b, errEOF)
	}},
	{name: "nonblocking, whole or not at all", on: seqpackets, run: func(r *rig) {
		a, b := r.sized(vsock.Seqpacket, smallBuffer)
		r.nonblock(a)
		m := pattern(smallBuffer / 4)
		for range 4 {
			r.send(a, m)
		}
		n, err := a.Send([]byte("x"), 0)
		if n != 0 {
			r.Errorf("sent %d", n)
		}
		r.want(err, syscall.EAGAIN, "send")
		r.idle(a, vsock.PollOut)
		for range 4 {
			r.message(b, m)
		}
		r.await(a, vsock.PollOut)
		r.send(a, "next")
		r.message(b, "next")
	}},
	{name: "nonblocking, room for a part", on: seqpackets, run: func(r *rig) {
		a, b := r.sized(vsock.Seqpacket, smallBuffer)
		m := pattern(smallBuffer/2 + 1)
		r.send(a, m)
		try := func() error {
			n, err := a.Send([]byte(m), vsock.MsgDontWait)
			if err == nil && n != len(m) {
				err = fmt.Errorf("sent %d", n)
			}
			return err
		}
		if r.A.Traits.MessageWaits {
			wait := r.background(try)
			r.message(b, m)
			r.message(b, m)
			r.ok(wait(), "send")
			return
		}
		r.want(try(), syscall.EAGAIN, "send")
		r.message(b, m)
		_, _, err := b.Recv(make([]byte, 1), vsock.MsgDontWait)
		r.want(err, syscall.EAGAIN, "recv")
		r.send(a, m)
		r.message(b, m)
	}},
	{name: "waits for credit", on: seqpackets, run: func(r *rig) {
		a, b := r.sized(vsock.Seqpacket, smallBuffer)
		m := pattern(smallBuffer - 1)
		wait := r.background(func() error {
			for i := range 5 {
				if n, err := a.Send([]byte(m), 0); n != len(m) || err != nil {
					return fmt.Errorf("message %d: %d, %w", i, n, err)
				}
			}
			return nil
		})
		for range 5 {
			r.message(b, m)
		}
		r.ok(wait(), "send")
	}},
	{name: "shutdown while waiting for credit", on: seqpackets, run: func(r *rig) {
		a, _ := r.sized(vsock.Seqpacket, smallBuffer)
		m := pattern(smallBuffer)
		r.send(a, m)
		wait := r.background(func() error { _, err := a.Send([]byte(m), 0); return err })
		r.ok(a.Shutdown(vsock.ShutWrite), "shutdown")
		r.want(wait(), syscall.EPIPE, "send")
	}},
	{name: "closed while waiting for credit", on: seqpackets, run: func(r *rig) {
		for range 10 {
			a, _ := r.sized(vsock.Seqpacket, smallBuffer)
			m := pattern(smallBuffer)
			r.send(a, m)
			wait := r.background(func() error { _, err := a.Send([]byte(m), 0); return err })
			r.ok(a.Close(), "close")
			r.want(wait(), net.ErrClosed, "send")
		}
	}},
	{name: "peer closes while waiting for credit", on: seqpackets, run: func(r *rig) {
		a, b := r.sized(vsock.Seqpacket, smallBuffer)
		m := pattern(smallBuffer)
		r.send(a, m)
		wait := r.background(func() error { _, err := a.Send([]byte(m), 0); return err })
		r.ok(b.Close(), "close")
		r.want(wait(), syscall.EPIPE, "send")
	}},
	{name: "closed while receiving", on: seqpackets, run: func(r *rig) {
		for range 10 {
			_, b := r.joined(vsock.Seqpacket)
			wait := r.background(func() error { _, _, err := b.Recv(make([]byte, 1), 0); return err })
			r.ok(b.Close(), "close")
			r.want(wait(), net.ErrClosed, "recv")
		}
	}},
	{name: "deadline while waiting for credit", on: seqpackets, run: func(r *rig) {
		a, b := r.sized(vsock.Seqpacket, smallBuffer)
		m := pattern(smallBuffer)
		r.send(a, m)
		r.passes(a.SetWriteDeadline, func() error { _, err := a.Send([]byte(m), 0); return err })
		r.message(b, m)
	}},
	{name: "recv waits, deadline", on: seqpackets, run: func(r *rig) {
		_, b := r.joined(vsock.Seqpacket)
		_, _, err := b.Recv(make([]byte, 1), vsock.MsgDontWait)
		r.want(err, syscall.EAGAIN, "recv")
		r.passes(b.SetReadDeadline, func() error { _, _, err := b.Recv(make([]byte, 1), 0); return err })
		r.ok(b.SetReadDeadline(past), "SetReadDeadline")
		r.fails(b, os.ErrDeadlineExceeded)
	}},
	{name: "poll", on: seqpackets, run: func(r *rig) {
		a, b := r.joined(vsock.Seqpacket)
		r.idle(b, vsock.PollIn)
		wait := r.background(func() error { _, err := a.Send([]byte("m"), 0); return err })
		r.await(b, vsock.PollIn)
		r.ok(wait(), "send")
		r.message(b, "m")
		r.idle(b, vsock.PollIn)
	}},
	{name: "half-close and close", on: seqpackets, run: func(r *rig) {
		r.messageEnds(func(a, b vsock.Socket) {
			r.send(a, "last")
			r.send(a, "words")
			r.ok(a.Shutdown(vsock.ShutWrite), "shutdown")
			_, err := a.Send([]byte("x"), 0)
			r.want(err, syscall.EPIPE, "send")
			r.message(b, "last")
			r.message(b, "words")
			r.fails(b, errEOF)
			r.send(b, "answer")
			r.ok(b.Close(), "close")
			r.message(a, "answer")
			r.fails(a, errEOF)
		})
	}},
	{name: "wrong type is refused", on: seqpackets, run: func(r *rig) {
		_, streams := r.listener(vsock.Stream)
		_, messages := r.listener(vsock.Seqpacket)
		r.want(r.socket(r.A, vsock.Seqpacket).Connect(r.Context(), streams), syscall.ECONNRESET, "seqpacket to a stream listener")
		r.want(r.socket(r.A, vsock.Stream).Connect(r.Context(), messages), syscall.ECONNRESET, "stream to a seqpacket listener")
	}},
	{name: "accepted type", on: seqpackets, run: func(r *rig) {
		_, b := r.joined(vsock.Seqpacket)
		if b.Type() != vsock.Seqpacket {
			r.Errorf("type %v", b.Type())
		}
	}},
	{name: "many", on: seqpackets, run: func(r *rig) {
		const n = 1000
		a, b := r.joined(vsock.Seqpacket)
		wait := r.background(func() error {
			for i := range n {
				if _, err := fmt.Fprintf(a, "message %d", i); err != nil {
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
		for i := range n {
			if i%renewEvery == 0 {
				r.ok(renew(b), "set the deadlines")
			}
			r.message(b, fmt.Sprintf("message %d", i))
		}
		r.ok(wait(), "send")
	}},
}

// sendEmpty sends an empty message of A's, if A can, and says whether.
func (r *rig) sendEmpty(a vsock.Socket) bool {
	r.Helper()
	n, err := a.Send(nil, 0)
	if want := r.A.Traits.NoEmptyMessages; n != 0 || !errors.Is(err, want) {
		r.Fatalf("send of an empty message: %d, %v; want %v", n, err, want)
	}
	return err == nil
}

// message takes one message, which must be this.
func (r *rig) message(s vsock.Socket, want string) {
	r.Helper()
	p := make([]byte, len(want)+8)
	begin := time.Now()
	n, got, err := s.Recv(p, 0)
	if string(p[:n]) != want || got&vsock.MsgTrunc != 0 || err != nil {
		r.Fatalf("received %d bytes (%.20q), flags %#x, %v after %v; want %d (%.20q)", n, p[:n], got, err, time.Since(begin), len(want), want)
	}
}

// emptyMessage takes one that is empty. Linux wakes nobody for it who waits already,
// since it counts the bytes that there are (vsock_data_ready): so this one asks.
func (r *rig) emptyMessage(s vsock.Socket) {
	r.Helper()
	var n int
	var err error
	p := make([]byte, 8)
	r.until(func() bool {
		n, _, err = s.Recv(p, vsock.MsgDontWait)
		return !errors.Is(err, syscall.EAGAIN)
	}, "an empty message")
	if n != 0 || err != nil {
		r.Fatalf("received %d bytes (%.20q), %v; want an empty message", n, p[:n], err)
	}
}

// messageEnds is ends of a seqpacket connection.
func (r *rig) messageEnds(try func(a, b vsock.Socket)) {
	a, b := r.joined(vsock.Seqpacket)
	try(a, b)
	b, a = r.joined(vsock.Seqpacket)
	try(a, b)
}
