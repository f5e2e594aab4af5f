package compare

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"

	"golang.org/x/sys/unix"

	"vsockets.dev/internal/unixsocket"
	"vsockets.dev/internal/vhostuser"
)

// umlFront stands between User Mode Linux and a device that does not understand it,
// where they set up their rings; no data pass here. Linux 6.1's front-end
// (arch/um/drivers/virtio_uml.c) has two ways of its own that vhost-device-vsock
// cannot do with:
//
//   - its memory table always has room for two regions, and the message all of that
//     length, however many there are. The device takes no longer message than it
//     needs, so this cuts it.
//   - it has no interrupt for the rings unless there is a back-end's channel, which
//     the device does not offer. So this offers it, and keeps the channel.
type umlFront struct {
	listener *unixsocket.Listener
	socket   string // the device's

	mu    sync.Mutex
	conns []io.Closer // nil, once closed
	done  sync.WaitGroup
	kept  []int // descriptors of the channel
}

// Flags of a vhost-user header: version 1, and bits 2 and 3.
const (
	vhostUserReply     = 1 | 1<<2
	vhostUserNeedReply = 1 << 3
)

// maxFDs is how many descriptors come with a message at most: one for each region.
const maxFDs = vhostuser.MaxRegions

// startUMLFront listens at path for one virtual machine, as the device at socket.
func startUMLFront(path, socket string) (*umlFront, error) {
	l, err := unixsocket.Listen(path)
	if err != nil {
		return nil, err
	}
	f := &umlFront{listener: l, socket: socket, conns: []io.Closer{l}}
	f.done.Go(f.serve)
	return f, nil
}

// Close ends it, with the session.
func (f *umlFront) Close() error {
	f.mu.Lock()
	for _, c := range f.conns {
		_ = c.Close()
	}
	f.conns = nil
	f.mu.Unlock()
	f.done.Wait()
	for _, fd := range f.kept {
		_ = unix.Close(fd)
	}
	return nil
}

// keep has Close close what was opened, or closes it at once where that has been.
func (f *umlFront) keep(c io.Closer) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.conns == nil {
		_ = c.Close()
		return false
	}
	f.conns = append(f.conns, c)
	return true
}

func (f *umlFront) serve() {
	front, err := f.listener.AcceptUnix()
	if err != nil || !f.keep(front) {
		return
	}
	defer func() { _ = front.Close() }() // so that the virtual machine sees the end
	back, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: f.socket, Net: "unix"})
	if err != nil || !f.keep(back) {
		return
	}
	f.done.Go(func() {
		defer func() { _ = front.Close() }()
		_ = relayMessages(back, front, f.answer)
	})
	defer func() { _ = back.Close() }()
	_ = relayMessages(front, back, func(m *vhostMessage) (bool, error) { return f.request(front, m) })
}

// answer changes a message of the device.
func (f *umlFront) answer(m *vhostMessage) (pass bool, err error) {
	if m.Request == vhostuser.GetProtocolFeatures {
		err = m.changeBits(func(v uint64) uint64 { return v | vhostuser.ProtocolBackendReq })
	}
	return true, err
}

// request changes a message of the virtual machine.
func (f *umlFront) request(front *net.UnixConn, m *vhostMessage) (pass bool, err error) {
	switch m.Request {
	case vhostuser.SetProtocolFeatures:
		return true, m.changeBits(func(v uint64) uint64 { return v &^ vhostuser.ProtocolBackendReq })
	case vhostuser.SetMemTable:
		return true, m.cutMemTable()
	case vhostuser.SetBackendReqFD:
		f.kept = append(f.kept, m.fds...)
		m.fds = nil
		if m.Flags&vhostUserNeedReply == 0 {
			return false, nil
		}
		reply := vhostMessage{Header: vhostuser.Header{Request: m.Request, Flags: vhostUserReply}, payload: vhostuser.AppendU64(nil, 0)}
		return false, reply.send(front)
	}
	return true, nil
}

// vhostMessage is a message of vhost-user.
type vhostMessage struct {
	vhostuser.Header
	payload []byte
	fds     []int
}

func (m *vhostMessage) changeBits(change func(uint64) uint64) error {
	v, err := vhostuser.ParseU64(m.payload)
	if err == nil {
		m.payload = vhostuser.AppendU64(nil, change(v))
	}
	return err
}

// cutMemTable leaves as much of the message as its regions need: a count of them and
// padding, 8 bytes, and 32 bytes each.
func (m *vhostMessage) cutMemTable() error {
	regions, err := vhostuser.ParseMemTable(m.payload)
	if err == nil {
		m.payload = vhostuser.AppendMemTable(nil, regions)
	}
	return err
}

func (m *vhostMessage) closeFDs() {
	for _, fd := range m.fds {
		_ = unix.Close(fd)
	}
	m.fds = nil
}

func (m *vhostMessage) send(to *net.UnixConn) error {
	m.Size = uint32(len(m.payload))
	var rights []byte
	if len(m.fds) > 0 {
		rights = unix.UnixRights(m.fds...)
	}
	_, _, err := to.WriteMsgUnix(append(m.Append(nil), m.payload...), rights, nil)
	return err
}

// receive reads the next message. Descriptors come with its header.
func (m *vhostMessage) receive(from *net.UnixConn) error {
	var header [vhostuser.HeaderSize]byte
	oob := make([]byte, unix.CmsgSpace(maxFDs*4))
	n, oobn, _, _, err := from.ReadMsgUnix(header[:], oob)
	if err != nil {
		return err
	}
	controls, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil {
		return err
	}
	for i := range controls {
		if fds, err := unix.ParseUnixRights(&controls[i]); err == nil {
			m.fds = append(m.fds, fds...)
		}
	}
	if _, err := io.ReadFull(from, header[n:]); err != nil {
		return err
	}
	if m.Header, err = vhostuser.ParseHeader(header[:]); err != nil {
		return err
	}
	m.payload = make([]byte, m.Size)
	_, err = io.ReadFull(from, m.payload)
	return err
}

// relayMessages passes messages on until one side goes away. change may change one,
// and says whether it goes on.
func relayMessages(from, to *net.UnixConn, change func(*vhostMessage) (bool, error)) error {
	for {
		var m vhostMessage
		err := m.receive(from)
		if err == nil {
			var pass bool
			if pass, err = change(&m); pass && err == nil {
				err = m.send(to)
			}
		}
		m.closeFDs()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("compare: between User Mode Linux and the device: %w", err)
		}
	}
}
