package driver

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"

	"vsockets.dev/internal/eventfd"
	"vsockets.dev/internal/guestmem"
	"vsockets.dev/internal/packet"
	"vsockets.dev/internal/spin"
	"vsockets.dev/internal/vhostuser"
)

// Feature bits, virtio 1.3 sections 5.10.3 and 6. Bits 3 and 4 are not in the
// specification: they say that both ends are ours and know datagrams, see
// packet.TypeDatagram, and packets that grow, see grow.Tail.
const (
	featureStream    = 1 << 0
	featureSeqpacket = 1 << 1
	featureDatagram  = 1 << 3
	featureGrow      = 1 << 4
	featureEventIdx  = 1 << 29
	featureVersion1  = 1 << 32

	wantedFeatures = featureStream | featureSeqpacket | featureDatagram | featureGrow | featureEventIdx | featureVersion1
)

// CIDs that a device may give. Those below, the largest 32-bit number and all
// beyond are reserved, virtio 1.3 section 5.10.4: with the host's, for one, this
// process would take what it sends to the host for its own.
const (
	minCID = 3
	maxCID = 1<<32 - 2
)

// Driver is a context of its own in a local process. It is the Sink of the
// packets that the process sends.
type Driver struct {
	frontend *vhostuser.Frontend
	cid      uint32
	grows    bool // packets do, while they wait in a ring
	layout   layout
	mem      *guestmem.Memory
	file     *os.File // of mem

	rx    rx
	tx    tx
	lease spin.Lease  // of rx
	in    packet.Sink // of what arrives

	loops sync.WaitGroup
	end   sync.Once
	done  chan struct{} // closed when all has ended
	err   error         // why; set before done is closed
}

// Connect plugs into the vhost-user socket at path, and learns the CID. Start
// begins the traffic.
func Connect(ctx context.Context, path string) (*Driver, error) {
	var nd net.Dialer
	conn, err := nd.DialContext(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("driver: attach to %s: %w (does a switch serve that socket?)", path, err)
	}
	f, err := vhostuser.Connect(ctx, conn.(*net.UnixConn), wantedFeatures) //nolint:forcetypeassert // network unix
	if err != nil {
		return nil, fmt.Errorf("driver: attach to %s: %w", path, err)
	}
	d := &Driver{frontend: f, layout: newLayout(), done: make(chan struct{})}
	if err := d.setUp(); err != nil {
		_ = f.Close()
		d.release()
		return nil, fmt.Errorf("driver: attach to %s: %w", path, err)
	}
	return d, nil
}

// setUp learns what the device is, and makes memory and queues for it.
func (d *Driver) setUp() error {
	if d.frontend.Features()&featureVersion1 == 0 {
		return errors.New("the device does not offer VIRTIO_F_VERSION_1")
	}
	config, err := d.frontend.Config(8) // guest_cid, virtio 1.3 section 5.10.4
	if err != nil {
		return err
	}
	cid := binary.LittleEndian.Uint64(config)
	if cid < minCID || cid > maxCID {
		return fmt.Errorf("the device gives CID %d, which is none for a guest (%d to %d)", cid, minCID, uint32(maxCID))
	}
	d.cid = uint32(cid)
	d.grows = d.frontend.Features()&featureGrow != 0
	if d.mem, d.file, err = guestmem.Alloc(memoryBase, d.layout.size); err != nil {
		return err
	}
	return errors.Join(d.rx.init(d), d.tx.init(d))
}

// CID is the context's CID, which the device gives.
func (d *Driver) CID() uint32 { return d.cid }

// Start begins the traffic: packets that arrive go to in.
func (d *Driver) Start(in packet.Sink) error {
	d.in = in
	d.rx.fill()
	queues := make([]vhostuser.FrontendQueue, numQueues)
	for i, r := range d.layout.rings {
		queues[i] = vhostuser.FrontendQueue{Size: queueSize, Desc: r.desc, Avail: r.avail, Used: r.used}
	}
	queues[rxQueue].Kick, queues[rxQueue].Call = d.rx.kick, d.rx.call
	queues[txQueue].Kick, queues[txQueue].Call = d.tx.kick, d.tx.call
	region := guestmem.Region{GuestAddr: memoryBase, UserAddr: memoryBase, Size: d.layout.size}
	// The event queue is left out: its one event is for a guest that migrates.
	err := d.frontend.Start([]guestmem.Region{region}, []int{int(d.file.Fd())}, queues[:eventQueue])
	if err != nil {
		return fmt.Errorf("driver: CID %d: %w", d.cid, err)
	}
	d.loops.Go(func() {
		d.loops.Go(d.tx.loop) // before this one can end the session, which waits for both
		d.rx.loop()
	})
	go func() { d.fail(d.frontend.Wait()) }()
	return nil
}

// Done is closed when the context has ended: by Close, or because its device did.
func (d *Driver) Done() <-chan struct{} { return d.done }

// Err tells why it ended, once Done is closed.
func (d *Driver) Err() error { return d.err }

// Close ends the session. Packets that are sent after are dropped.
func (d *Driver) Close() error {
	d.fail(net.ErrClosed)
	<-d.done
	return nil
}

// fail ends the session for a reason. It may be called from within the loops.
func (d *Driver) fail(err error) {
	d.end.Do(func() {
		d.err = err
		go func() {
			_ = d.frontend.Close()
			d.rx.stop()
			d.tx.stop()
			d.loops.Wait()
			d.release()
			close(d.done)
		}()
	})
}

// release gives up memory and doorbells, when nobody uses them any more.
func (d *Driver) release() {
	for _, e := range []*eventfd.Event{d.rx.kick, d.rx.call, d.tx.kick, d.tx.call} {
		if e != nil {
			_ = e.Close()
		}
	}
	if d.mem != nil {
		_ = d.mem.Unmap()
		_ = d.file.Close()
	}
}
