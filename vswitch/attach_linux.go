package vswitch

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"vsockets.dev/internal/unixsocket"
)

// Attach is a socket at which processes join the switch: each front-end that
// connects is a context of its own, for as long as it stays. vsockets.Open connects
// to it.
type Attach struct {
	sw     *Switch
	config AttachConfig
	socket net.Listener
	next   uint32 // where the search for a free CID begins; of the accepting goroutine

	users users

	toldAt time.Time // when the log last told of one that may not attach; of the accepting goroutine
	untold int       // those since, of whom it did not; likewise

	closed   atomic.Bool
	stop     context.CancelFunc
	sessions sync.WaitGroup
}

// attachTimeout is how long a process may take from its connection to its first
// packet. It holds a CID, and there are only so many.
const attachTimeout = 10 * time.Second

// errSilent says that it took longer.
var errSilent = fmt.Errorf("the process has not set up its device within %v", attachTimeout)

// errFull says that the CIDs of an Attach are all in use.
var errFull = errors.New("all CIDs are in use")

// AddAttach opens a socket for processes. Close takes it away, and all that joined by it.
func (sw *Switch) AddAttach(c AttachConfig) (*Attach, error) {
	if c.First == 0 && c.Last == 0 {
		c.First, c.Last = DefaultAttachFirst, DefaultAttachLast
	}
	err := errors.Join(checkCID(c.First), checkCID(c.Last), c.Limits.check())
	if err == nil {
		_, err = sortedGroups(c.Groups)
	}
	if err != nil {
		return nil, err
	}
	if c.First > c.Last {
		return nil, fmt.Errorf("vswitch: attach socket %s: CIDs from %d to %d are none", c.Socket, c.First, c.Last)
	}
	a := &Attach{sw: sw, config: c, next: c.First}
	open := unixsocket.Listen
	if c.Users != nil {
		open = unixsocket.ListenForAll
	}
	if a.socket, err = listen(c.Socket, c.Listener, open, sw.log); err != nil {
		return nil, fmt.Errorf("vswitch: attach socket: %w", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	a.stop = stop
	a.sessions.Add(1)
	if err := sw.addPool(a); err != nil {
		stop()
		return nil, errors.Join(err, a.socket.Close())
	}
	go func() {
		defer a.sessions.Done()
		serveAll(a.socket, func(conn *net.UnixConn) { a.admit(ctx, conn) })
	}()
	return a, nil
}

func (sw *Switch) addPool(a *Attach) error {
	sw.mu.Lock()
	defer sw.mu.Unlock()
	if sw.closed {
		return ErrClosed
	}
	sw.pools = append(slices.Clone(sw.pools), a)
	return nil
}

func (sw *Switch) removePool(a *Attach) {
	sw.mu.Lock()
	defer sw.mu.Unlock()
	if i := slices.Index(sw.pools, a); i >= 0 {
		sw.pools = slices.Delete(slices.Clone(sw.pools), i, i+1)
	}
}

// Close ends all sessions and removes the socket.
func (a *Attach) Close() error {
	if !a.closed.CompareAndSwap(false, true) {
		return fmt.Errorf("vswitch: %s is closed already", a)
	}
	a.sw.removePool(a)
	a.stop()
	err := a.socket.Close()
	a.sessions.Wait()
	return err
}

// admit makes a context of a process that connects, if it may.
func (a *Attach) admit(ctx context.Context, conn *net.UnixConn) {
	p, err := a.join(conn)
	if err != nil {
		a.turnedAway(err)
		_ = conn.Close()
		return
	}
	a.sessions.Go(func() {
		defer close(p.done)
		if p.user.pace.enter(ctx) {
			silent := time.AfterFunc(attachTimeout, p.endSilent)
			defer silent.Stop()
			p.serve(ctx, conn)
		} else {
			_ = conn.Close()
		}
		a.sw.unplug(p.port)
		a.users.leave(p.user)
	})
}

// refusalPause is how often the log tells of processes that may not attach: one can come again as
// fast as it is turned away.
const refusalPause = time.Second

// turnedAway needs no lock: it is of the accepting goroutine.
func (a *Attach) turnedAway(reason error) {
	now := time.Now()
	if !a.toldAt.IsZero() && now.Sub(a.toldAt) < refusalPause {
		a.untold++
		return
	}
	a.sw.log.Warn("a process may not attach", "socket", a.config.Socket, "reason", reason, "and_before", a.untold)
	a.toldAt, a.untold = now, 0
}

// attached is the context of a process.
type attached struct {
	*machine
	pool *Attach
	user *user
	done chan struct{} // closed when it has left
}

func (a *Attach) join(conn *net.UnixConn) (*attached, error) {
	peer := credentials(conn)
	switch {
	case peer == nil:
		return nil, errors.New("whose process it is cannot be told")
	case a.config.Users != nil && !slices.Contains(a.config.Users, peer.Uid):
		return nil, fmt.Errorf("process %d is of user %d, who is not among those that may", peer.Pid, peer.Uid)
	}
	limit := a.config.perUser(peer.Uid)
	u, ok := a.users.enter(peer.Uid, limit)
	if !ok {
		return nil, fmt.Errorf("process %d is of user %d, who has %d attached, which is the limit (PerUser)", peer.Pid, peer.Uid, limit)
	}
	p, err := a.plug(u)
	if err != nil {
		a.users.leave(u)
	}
	return p, err
}

// perUser is how many processes a user may have attached.
func (c *AttachConfig) perUser(uid uint32) int {
	switch {
	case c.PerUser != 0:
		return c.PerUser
	case uid == 0, uid == uint32(os.Getuid()):
		return -1
	default:
		return DefaultPerUser
	}
}

// plug makes the context of a process.
func (a *Attach) plug(u *user) (*attached, error) {
	cid, err := a.freeCID()
	if err != nil {
		return nil, err
	}
	p := &attached{pool: a, user: u, done: make(chan struct{})}
	if p.machine, err = a.sw.newMachine(cid, a.config.Groups, a.config.Limits, p); err != nil {
		return nil, err
	}
	return p, a.sw.plug(p.port)
}

// freeCID gives the next free CID. Those that became free last are given again last.
func (a *Attach) freeCID() (uint32, error) {
	routes := *a.sw.routes.Load()
	for n := uint64(a.config.Last) - uint64(a.config.First) + 1; n > 0; n-- {
		cid := a.next
		if a.next++; a.next > a.config.Last {
			a.next = a.config.First
		}
		if routes[cid] == nil {
			return cid, nil
		}
	}
	return 0, fmt.Errorf("%w, from %d to %d", errFull, a.config.First, a.config.Last)
}

// endSilent ends the session of a process that has not begun.
func (p *attached) endSilent() {
	if !p.device.Started() {
		p.end(errSilent)
	}
}

func (p *attached) String() string {
	return describe(KindAttached, p.port.cid.Load(), p.pool.config.Socket)
}

func (p *attached) info(i *Info) {
	p.machine.info(i)
	i.Kind, i.Socket = KindAttached, p.pool.config.Socket
}

// Close ends the session of the process, and waits for that.
func (p *attached) Close() error {
	p.end(net.ErrClosed)
	<-p.done
	return nil
}
