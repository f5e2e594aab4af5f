package vsock

import (
	"context"
	"errors"
	"sync/atomic"
	"syscall"
	"time"

	"vsockets.dev/internal/winsock"
)

// kernelStack is the sockets of one address family of Winsock: VMware's, if none is
// named.
type kernelStack struct{ family winsock.Family }

// Family gives the stack of another address family. Package hyperv calls it.
func (kernelStack) Family(f winsock.Family) Stack { return kernelStack{f} }

func (k kernelStack) fam() winsock.Family {
	if k.family == nil {
		return vmci{}
	}
	return k.family
}

func (k kernelStack) Socket(t Type) (Socket, error) {
	switch t {
	case Stream, Datagram, Seqpacket:
	default:
		return nil, ErrNotSupported
	}
	af, err := k.fam().Number()
	if err != nil {
		return nil, err
	}
	s, err := winsock.New(af, int(t), k.fam().Protocol())
	for _, none := range []error{syscall.ESOCKTNOSUPPORT, syscall.EPROTOTYPE, syscall.EPROTONOSUPPORT, syscall.EAFNOSUPPORT} {
		if errors.Is(err, none) {
			return nil, ErrNotSupported
		}
	}
	if err != nil {
		return nil, err
	}
	return &kernelSocket{s: s, typ: t, family: k.fam()}, nil
}

func (k kernelStack) LocalCID() (uint32, error) { return k.fam().LocalCID() }

// kernelSocket is a socket of Winsock.
type kernelSocket struct {
	s       *winsock.Socket
	typ     Type
	family  winsock.Family
	timeout atomic.Uint64 // ConnectTimeout, ns
}

func (s *kernelSocket) Type() Type { return s.typ }

func (s *kernelSocket) Bind(a Addr) error {
	sa, err := s.family.BindAddress(a.CID, a.Port)
	if err != nil {
		return err
	}
	return s.s.Bind(sa)
}

func (s *kernelSocket) Listen(backlog int) error { return s.s.Listen(backlog) }

func (s *kernelSocket) Accept() (Socket, Addr, error) {
	c, sa, err := s.s.Accept()
	if err != nil {
		return nil, Addr{}, err
	}
	a, err := s.addr(sa)
	if err != nil {
		_ = c.Close()
		return nil, Addr{}, err
	}
	return &kernelSocket{s: c, typ: s.typ, family: s.family}, a, nil
}

// Connect keeps the time itself: whether a provider does it for sockets that do not
// block is not said.
func (s *kernelSocket) Connect(ctx context.Context, a Addr) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	sa, err := s.family.PeerAddress(a.CID, a.Port)
	if err != nil {
		return err
	}
	ctx, cancel := withConnectTimeout(ctx, s.timeout.Load())
	defer cancel()
	return refused(s.s.Connect(ctx, sa))
}

// refused makes Linux's error of Winsock's, as Socket says.
func refused(err error) error {
	if errors.Is(err, syscall.ECONNREFUSED) {
		return syscall.ECONNRESET
	}
	return err
}

func (s *kernelSocket) Read(p []byte) (int, error) {
	n, _, err := s.Recv(p, 0)
	return n, err
}

func (s *kernelSocket) Write(p []byte) (int, error) { return s.Send(p, 0) }

func (s *kernelSocket) Recv(p []byte, flags Flags) (int, Flags, error) {
	n, got, _, err := s.recv(p, flags)
	return n, got, err
}

func (s *kernelSocket) RecvFrom(p []byte, flags Flags) (int, Flags, Addr, error) {
	n, got, sa, err := s.recv(p, flags)
	if err != nil {
		return n, got, Addr{}, err
	}
	if s.typ == Datagram {
		from, err := s.addr(sa)
		return n, got, from, err
	}
	from, err := s.RemoteAddr()
	if err != nil { // the connection has ended since
		from = Addr{}
	}
	return n, got, from, nil
}

func (s *kernelSocket) recv(p []byte, flags Flags) (n int, got Flags, from []byte, err error) {
	n, from, err = s.s.Recv(p, flags&MsgPeek != 0, flags&MsgDontWait == 0)
	if s.typ != Stream && errors.Is(err, syscall.EMSGSIZE) {
		return n, MsgTrunc, from, nil // Winsock does not tell how long it was
	}
	return n, 0, from, err
}

func (s *kernelSocket) Send(p []byte, flags Flags) (int, error) {
	return s.s.Send(p, nil, flags&MsgDontWait == 0)
}

func (s *kernelSocket) SendTo(p []byte, flags Flags, to Addr) (int, error) {
	if s.typ != Datagram {
		if _, err := s.RemoteAddr(); err != nil {
			return 0, err
		}
		return 0, syscall.EISCONN
	}
	sa, err := s.family.PeerAddress(to.CID, to.Port)
	if err != nil {
		return 0, err
	}
	return s.s.Send(p, sa, flags&MsgDontWait == 0)
}

func (s *kernelSocket) Shutdown(how How) error {
	if how&^ShutBoth != 0 || how == 0 {
		return syscall.EINVAL
	}
	return s.s.Shutdown(how&ShutRead != 0, how&ShutWrite != 0)
}

func (s *kernelSocket) Close() error { return s.s.Close() }

// LocalAddr is any CID and any port of a socket that is not bound, which Winsock will
// not name, and has the real CID in place of any of one that is.
func (s *kernelSocket) LocalAddr() (Addr, error) {
	sa, err := s.s.LocalName()
	if errors.Is(err, syscall.EINVAL) {
		return Addr{CID: CIDAny, Port: PortAny}, nil
	}
	if err != nil {
		return Addr{}, err
	}
	a, err := s.addr(sa)
	if err == nil && a.CID == CIDAny && a.Port != PortAny {
		if cid, err := s.family.LocalCID(); err == nil {
			a.CID = cid
		}
	}
	return a, err
}

func (s *kernelSocket) RemoteAddr() (Addr, error) {
	sa, err := s.s.PeerName()
	if err != nil {
		return Addr{}, err
	}
	return s.addr(sa)
}

func (s *kernelSocket) addr(sa []byte) (Addr, error) {
	cid, port, err := s.family.ParseAddress(sa)
	return Addr{CID: cid, Port: port}, err
}

func (s *kernelSocket) SetReadDeadline(t time.Time) error { return s.s.SetReadDeadline(t) }

func (s *kernelSocket) SetWriteDeadline(t time.Time) error { return s.s.SetWriteDeadline(t) }

func (s *kernelSocket) SetNonblock(on bool) error { return s.s.SetNonblock(on) }

func (s *kernelSocket) Ready() Events {
	st := s.s.Ready()
	if st.Closed {
		return PollNval
	}
	var e Events
	for _, has := range []struct {
		is bool
		e  Events
	}{{st.Read, PollIn}, {st.Write, PollOut}, {st.Ended, PollIn | PollRdHup}, {st.Over, PollHup}, {st.Failed, PollErr | PollIn | PollOut}} {
		if has.is {
			e |= has.e
		}
	}
	return e
}

func (s *kernelSocket) Watch(want Events, notify func()) (stop func()) {
	return s.s.Watch(want&(PollIn|PollRdHup) != 0, want&PollOut != 0, notify)
}
