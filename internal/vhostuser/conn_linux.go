package vhostuser

import (
	"errors"
	"fmt"
	"io"
	"net"

	"golang.org/x/sys/unix"
)

// message is a message as it came, and the descriptors with it.
type message struct {
	Header
	payload []byte
	fds     []int // those that nobody took out will be closed
}

// closeFDs closes what descriptors are left.
func (m *message) closeFDs() {
	for _, fd := range m.fds {
		_ = unix.Close(fd)
	}
	m.fds = nil
}

// receiver reads messages from a connection, into one buffer.
type receiver struct {
	conn *net.UnixConn
	buf  [MaxPayload]byte
	oob  []byte
}

func newReceiver(conn *net.UnixConn) receiver {
	// With room for no more descriptors, no more get through: the kernel closes
	// the others, and says that it cut the message.
	return receiver{conn: conn, oob: make([]byte, unix.CmsgSpace(MaxRegions*4))}
}

// next reads the next message, whose payload is valid until the next call. The
// error is io.EOF if the peer went away between messages. Descriptors come with
// an error too, and are the caller's.
func (r *receiver) next(m *message) error {
	*m = message{}
	var header [HeaderSize]byte
	for n := 0; n < HeaderSize; {
		got, err := r.read(header[n:], m)
		n += got
		if err != nil {
			if n > 0 && errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
	}
	var err error
	if m.Header, err = ParseHeader(header[:]); err != nil {
		return err
	}
	m.payload = r.buf[:m.Size]
	// Descriptors come with the first byte of a message. A plain read lets the
	// kernel drop those that a peer sends with later ones.
	if _, err := io.ReadFull(r.conn, m.payload); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return fmt.Errorf("vhostuser: %v: payload: %w", m.Request, err)
	}
	return nil
}

// read reads a part of a header, and the descriptors that come with it.
func (r *receiver) read(b []byte, m *message) (int, error) {
	n, oobn, flags, _, err := r.conn.ReadMsgUnix(b, r.oob)
	if err != nil {
		return n, err
	}
	controls, err := unix.ParseSocketControlMessage(r.oob[:oobn])
	if err != nil {
		return n, fmt.Errorf("vhostuser: control message: %w", err)
	}
	for i := range controls {
		if fds, err := unix.ParseUnixRights(&controls[i]); err == nil {
			m.fds = append(m.fds, fds...)
		}
	}
	if flags&unix.MSG_CTRUNC != 0 || len(m.fds) > MaxRegions {
		return n, fmt.Errorf("vhostuser: more than %d descriptors with one message, or too many open files", MaxRegions)
	}
	return n, nil
}
