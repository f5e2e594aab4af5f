package vswitch

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"vsockets.dev/internal/device"
	"vsockets.dev/internal/vhostuser"
)

// machine is a port with a virtio-vsock device, and the vhost-user session that
// drives it while there is one.
type machine struct {
	port    *port
	device  *device.Device
	session atomic.Pointer[session]
	leaves  *pace

	badMessages atomic.Uint64
}

// session is a front-end that is connected.
type session struct {
	end   context.CancelCauseFunc
	since time.Time
	peer  *unix.Ucred
}

func (sw *Switch) newMachine(cid uint32, groups []string, l Limits, o owner) (*machine, error) {
	p, err := sw.newPort(cid, groups, l)
	if err != nil {
		return nil, err
	}
	m := &machine{port: p, leaves: newPace(guestLeaves)}
	m.device = device.New(device.Config{CID: cid, Out: p, Down: m.leave, Fail: m.end})
	p.owner, p.to, p.fault = o, m.device, m.device.Fault
	return m, nil
}

// leave ends the connections of a machine that stopped a queue. It is of the session's
// goroutine, which waits where that comes too often: who else is connected is looked for
// at all contexts, and stopping a queue costs the front-end nothing.
func (m *machine) leave() {
	m.leaves.enter(context.Background()) // for 1/guestLeaves s at most, as only one asks
	m.port.leave()
}

// serve runs the session of a front-end to its end.
func (m *machine) serve(ctx context.Context, conn *net.UnixConn) {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	s := &session{end: end, since: time.Now(), peer: credentials(conn)}
	m.session.Store(s)
	log := m.port.sw.log.With("cid", m.port.cid.Load())
	if s.peer != nil {
		log = log.With("pid", s.peer.Pid, "uid", s.peer.Uid)
	}
	log.Info("connected")
	err := vhostuser.Serve(ctx, conn, m.device)
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	} else if err != nil {
		m.badMessages.Add(1)
	}
	m.session.Store(nil)
	if err != nil && !errors.Is(err, context.Canceled) {
		log.Warn("disconnected", "reason", err)
	} else {
		log.Info("disconnected")
	}
}

// end ends the session that runs, if one does.
func (m *machine) end(err error) {
	if s := m.session.Load(); s != nil {
		s.end(err)
	}
}

func (m *machine) counters() Counters {
	c := m.port.counters.read()
	d := m.device.Counters()
	c.Malformed, c.BadChains, c.IdleKicks, c.Dropped = d.BadPackets, d.BadChains, d.IdleKicks, d.Dropped
	c.BadRings, c.Faults, c.Jams, c.BadMessages = d.BadRings, d.Faults, d.Jams, m.badMessages.Load()
	return c
}

func (m *machine) info(i *Info) {
	i.Counters = m.counters()
	from, to := m.device.Traffic()
	i.Sent, i.Received = Traffic(from), Traffic(to)
	if s := m.session.Load(); s != nil {
		i.Since = s.since
		if s.peer != nil {
			i.PID, i.UID = s.peer.Pid, &s.peer.Uid
		}
	}
}

// credentials tells whose process is at the other end, nil if that cannot be told.
func credentials(conn *net.UnixConn) *unix.Ucred {
	rc, err := conn.SyscallConn()
	if err != nil {
		return nil
	}
	var cred *unix.Ucred
	if rc.Control(func(fd uintptr) {
		cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}) != nil || err != nil {
		return nil
	}
	return cred
}
