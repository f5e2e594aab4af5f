package guestpeer

import (
	"context"
	"errors"
	"syscall"
	"time"

	"vsockets.dev/vsock"
)

// Caller runs commands of a Peer: a guest's agent, or the Peer itself.
type Caller interface {
	Call(ctx context.Context, name string, args, result any) error
}

// Remote is the stack of a Peer, from the other side: each call on a socket of it
// is made over there. It is how one test drives both ends of a connection.
type Remote struct {
	ctx    context.Context //nolint:containedctx // of all its calls, which have none themselves
	caller Caller
}

var _ vsock.Stack = (*Remote)(nil)

// NewRemote makes calls until ctx ends.
func NewRemote(ctx context.Context, c Caller) *Remote { return &Remote{ctx, c} }

func (r *Remote) call(ctx context.Context, c SocketCall) (SocketResult, error) {
	var res SocketResult
	if err := r.caller.Call(ctx, CmdSocket, c, &res); err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return res, err
	}
	return res, fromWire(res.Err)
}

// Socket creates a socket over there.
func (r *Remote) Socket(t vsock.Type) (vsock.Socket, error) {
	res, err := r.call(r.ctx, SocketCall{Method: "Socket", N: int(t)})
	if err != nil {
		return nil, err
	}
	return &remoteSocket{r: r, id: res.Socket, typ: t}, nil
}

// LocalCID is the CID of the stack over there.
func (r *Remote) LocalCID() (uint32, error) {
	res, err := r.call(r.ctx, SocketCall{Method: "LocalCID"})
	return res.Addr.CID, err
}

// maxPiece is the most bytes of a stream in one call: a guest's control line has
// frames of at most 1 MiB, in which bytes take a third more.
const maxPiece = 256 << 10

type remoteSocket struct {
	r   *Remote
	id  uint64
	typ vsock.Type
}

func (s *remoteSocket) call(c SocketCall) (SocketResult, error) {
	c.Socket = s.id
	return s.r.call(s.r.ctx, c)
}

func (s *remoteSocket) do(c SocketCall) error {
	_, err := s.call(c)
	return err
}

func (s *remoteSocket) Type() vsock.Type { return s.typ }

func (s *remoteSocket) Bind(a vsock.Addr) error { return s.do(SocketCall{Method: "Bind", Addr: a}) }

func (s *remoteSocket) Listen(backlog int) error {
	return s.do(SocketCall{Method: "Listen", N: backlog})
}

func (s *remoteSocket) Accept() (vsock.Socket, vsock.Addr, error) {
	res, err := s.call(SocketCall{Method: "Accept"})
	if err != nil {
		return nil, vsock.Addr{}, err
	}
	return &remoteSocket{r: s.r, id: res.Socket, typ: s.typ}, res.Addr, nil
}

func (s *remoteSocket) Connect(ctx context.Context, a vsock.Addr) error {
	_, err := s.r.call(ctx, SocketCall{Socket: s.id, Method: "Connect", Addr: a})
	return err
}

func (s *remoteSocket) Recv(p []byte, flags vsock.Flags) (int, vsock.Flags, error) {
	n, got, _, err := s.RecvFrom(p, flags)
	return n, got, err
}

func (s *remoteSocket) RecvFrom(p []byte, flags vsock.Flags) (int, vsock.Flags, vsock.Addr, error) {
	if s.typ == vsock.Stream {
		p = p[:min(len(p), maxPiece)]
	}
	res, err := s.call(SocketCall{Method: "RecvFrom", N: len(p), Flags: flags})
	copy(p, res.Data)
	return res.N, res.Flags, res.Addr, err
}

// Send sends a stream in pieces, and a message in one.
func (s *remoteSocket) Send(p []byte, flags vsock.Flags) (n int, err error) {
	for {
		piece := p[n:]
		if s.typ == vsock.Stream {
			piece = piece[:min(len(piece), maxPiece)]
		}
		res, err := s.call(SocketCall{Method: "Send", Data: piece, Flags: flags})
		n += res.N
		if err != nil || res.N < len(piece) || n == len(p) {
			if n > 0 && errors.Is(err, syscall.EAGAIN) {
				err = nil // the pieces before went
			}
			return n, err
		}
	}
}

func (s *remoteSocket) SendTo(p []byte, flags vsock.Flags, to vsock.Addr) (int, error) {
	res, err := s.call(SocketCall{Method: "SendTo", Data: p, Flags: flags, Addr: to})
	return res.N, err
}

func (s *remoteSocket) Read(p []byte) (int, error) {
	n, _, err := s.Recv(p, 0)
	return n, err
}

func (s *remoteSocket) Write(p []byte) (int, error) { return s.Send(p, 0) }

func (s *remoteSocket) Shutdown(how vsock.How) error {
	return s.do(SocketCall{Method: "Shutdown", N: int(how)})
}

func (s *remoteSocket) Close() error { return s.do(SocketCall{Method: "Close"}) }

func (s *remoteSocket) LocalAddr() (vsock.Addr, error) {
	res, err := s.call(SocketCall{Method: "LocalAddr"})
	return res.Addr, err
}

func (s *remoteSocket) RemoteAddr() (vsock.Addr, error) {
	res, err := s.call(SocketCall{Method: "RemoteAddr"})
	return res.Addr, err
}

func (s *remoteSocket) SetReadDeadline(t time.Time) error {
	return s.do(SocketCall{Method: "SetReadDeadline", Timeout: timeout(t)})
}

func (s *remoteSocket) SetWriteDeadline(t time.Time) error {
	return s.do(SocketCall{Method: "SetWriteDeadline", Timeout: timeout(t)})
}

func timeout(t time.Time) time.Duration {
	if t.IsZero() {
		return noDeadline
	}
	return max(time.Until(t), noDeadline+1)
}

func (s *remoteSocket) SetNonblock(on bool) error {
	return s.do(SocketCall{Method: "SetNonblock", On: on})
}

func (s *remoteSocket) SetOption(o vsock.Option, v uint64) error {
	return s.do(SocketCall{Method: "SetOption", Option: o, Value: v})
}

func (s *remoteSocket) Option(o vsock.Option) (uint64, error) {
	res, err := s.call(SocketCall{Method: "Option", Option: o})
	return res.Value, err
}

// Ready gives PollErr where the other side cannot be asked.
func (s *remoteSocket) Ready() vsock.Events {
	res, err := s.call(SocketCall{Method: "Ready"})
	if err != nil {
		return vsock.PollErr
	}
	return vsock.Events(res.N)
}

func (s *remoteSocket) Watch(want vsock.Events, notify func()) (stop func()) {
	ctx, cancel := context.WithCancel(s.r.ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = s.r.call(ctx, SocketCall{Socket: s.id, Method: "Watch", N: int(want)})
		notify()
	}()
	return func() {
		cancel()
		<-done
	}
}
