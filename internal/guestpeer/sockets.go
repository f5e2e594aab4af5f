package guestpeer

import (
	"context"
	"fmt"
	"sync"
	"time"

	"vsockets.dev/vsock"
)

// sockets are the sockets that were made by CmdSocket.
type sockets struct {
	mu   sync.Mutex
	open map[uint64]vsock.Socket
	last uint64
}

func (t *sockets) add(s vsock.Socket) uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.open == nil {
		t.open = make(map[uint64]vsock.Socket)
	}
	t.last++
	t.open[t.last] = s
	return t.last
}

func (t *sockets) get(id uint64) vsock.Socket {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.open[id]
}

// socket makes one call. The socket's own error is part of the result.
func (p *Peer) socket(ctx context.Context, c SocketCall) (SocketResult, error) {
	var r SocketResult
	var err error
	if c.Socket == 0 {
		err = p.stackCall(c, &r)
	} else {
		s := p.sockets.get(c.Socket)
		if s == nil {
			return r, fmt.Errorf("guestpeer: no socket %d", c.Socket)
		}
		err = p.socketCall(ctx, s, c, &r)
	}
	r.Err = ToWire(err)
	return r, nil
}

func (p *Peer) stackCall(c SocketCall, r *SocketResult) error {
	switch c.Method {
	case "Socket":
		s, err := p.stack.Socket(vsock.Type(c.N))
		if err != nil {
			return err
		}
		r.Socket = p.sockets.add(s)
		return nil
	case "LocalCID":
		cid, err := p.stack.LocalCID()
		r.Addr.CID = cid
		return err
	}
	return fmt.Errorf("guestpeer: no call %q of a stack", c.Method)
}

func (p *Peer) socketCall(ctx context.Context, s vsock.Socket, c SocketCall, r *SocketResult) (err error) {
	switch c.Method {
	case "Bind":
		return s.Bind(c.Addr)
	case "Listen":
		return s.Listen(c.N)
	case "Accept":
		var a vsock.Socket
		if a, r.Addr, err = s.Accept(); err != nil {
			return err
		}
		r.Socket = p.sockets.add(a)
		return nil
	case "Connect":
		return s.Connect(ctx, c.Addr)
	case "RecvFrom":
		buf := make([]byte, c.N)
		r.N, r.Flags, r.Addr, err = s.RecvFrom(buf, c.Flags)
		r.Data = buf[:max(min(r.N, len(buf)), 0)]
		return err
	case "Send":
		r.N, err = s.Send(c.Data, c.Flags)
		return err
	case "SendTo":
		r.N, err = s.SendTo(c.Data, c.Flags, c.Addr)
		return err
	case "Shutdown":
		return s.Shutdown(vsock.How(c.N))
	case "Close":
		return s.Close()
	case "LocalAddr":
		r.Addr, err = s.LocalAddr()
		return err
	case "RemoteAddr":
		r.Addr, err = s.RemoteAddr()
		return err
	case "SetReadDeadline":
		return s.SetReadDeadline(deadline(c.Timeout))
	case "SetWriteDeadline":
		return s.SetWriteDeadline(deadline(c.Timeout))
	case "SetNonblock":
		return s.SetNonblock(c.On)
	case "SetOption":
		return s.SetOption(c.Option, c.Value)
	case "Option":
		r.Value, err = s.Option(c.Option)
		return err
	case "Ready":
		r.N = int(s.Ready())
		return nil
	case "Watch":
		return watch(ctx, s, vsock.Events(c.N))
	}
	return fmt.Errorf("guestpeer: no call %q of a socket", c.Method)
}

func deadline(timeout time.Duration) time.Time {
	if timeout == noDeadline {
		return time.Time{}
	}
	return time.Now().Add(timeout)
}

// watch returns when the socket notifies, or the caller gives up.
func watch(ctx context.Context, s vsock.Socket, want vsock.Events) error {
	news := make(chan struct{}, 1)
	defer s.Watch(want, func() {
		select {
		case news <- struct{}{}:
		default:
		}
	})()
	if s.Ready()&(want|vsock.PollErr|vsock.PollHup|vsock.PollNval) != 0 {
		return nil
	}
	select {
	case <-news:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
