package vhostuser

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"

	"golang.org/x/sys/unix"

	"vsockets.dev/internal/guestmem"
)

// offeredProtocol are the protocol features of a session. Logging, in-band
// notifications and device status are not offered.
const offeredProtocol = ProtocolMQ | ProtocolReplyAck | ProtocolBackendReq | ProtocolConfig

// session is the back-end's side of one connection.
type session struct {
	receiver
	backend Backend

	features uint64 // acknowledged, with FeatureProtocolFeatures
	protocol uint64 // acknowledged

	// requests is the connection for requests of our own. We make none, but User
	// Mode Linux 6.1 sets up the interrupts of its rings along with it, and wants
	// it to stay open. -1 until it comes.
	requests int

	mem   *guestmem.Memory // nil until the first table
	rings []ring
}

var (
	// errRefused marks what a session refuses without harm: the front-end may
	// go on if it waits for the acknowledgement and so learns of it.
	errRefused = errors.New("refused")

	// errGone is the usual end of a session.
	errGone = errors.New("the front-end went away")
)

// Serve runs one session to its end. It returns nil when the front-end goes
// away, the cause when ctx is done, and else the error that ended the session.
//
// Serve owns conn. When it returns, all queues of b are stopped, the guest's
// memory is unmapped, and conn and every descriptor that came over it are closed.
func Serve(ctx context.Context, conn *net.UnixConn, b Backend) (err error) {
	closed := make(chan struct{})
	unhook := context.AfterFunc(ctx, func() {
		_ = conn.Close()
		close(closed)
	})
	defer func() {
		if !unhook() {
			<-closed
		}
		_ = conn.Close()
	}()

	s := &session{
		receiver: newReceiver(conn),
		backend:  b,
		requests: -1,
		rings:    make([]ring, b.NumQueues()),
	}
	defer func() { err = errors.Join(err, s.end()) }()
	for {
		if err := s.step(); err != nil {
			switch {
			case ctx.Err() != nil:
				return fmt.Errorf("vhostuser: session ended: %w", context.Cause(ctx))
			case errors.Is(err, errGone):
				return nil
			}
			return err
		}
	}
}

// end stops what runs and releases what the session holds.
func (s *session) end() error {
	var errs []error
	for i := range s.rings {
		errs = append(errs, s.stop(i))
		s.rings[i].setCall(nil)
	}
	if s.mem != nil {
		errs = append(errs, s.mem.Unmap())
		s.mem = nil
	}
	s.keepRequests(-1)
	return errors.Join(errs...)
}

// step reads one request, does what it asks, and answers it. All answers are
// sent from here, and all descriptors that no handler took are closed here.
func (s *session) step() error {
	var m message
	defer m.closeFDs()
	if err := s.next(&m); err != nil {
		return orGone(err)
	}
	if err := checkRequest(m.Header, len(m.fds)); err != nil {
		return err
	}
	answer, err := s.handle(&m)
	if err != nil {
		err = fmt.Errorf("vhostuser: %v: %w", m.Request, err)
	}
	switch acked := s.protocol&ProtocolReplyAck != 0 && m.Flags&flagNeedReply != 0; {
	case shapes[m.Request].reply && err == nil:
		return s.reply(m.Request, answer)
	case shapes[m.Request].reply || !acked:
		return err
	case err == nil:
		return s.reply(m.Request, AppendU64(nil, 0))
	}
	if e := s.reply(m.Request, AppendU64(nil, 1)); e != nil || errors.Is(err, errRefused) {
		return e
	}
	return err
}

func (s *session) reply(r Request, payload []byte) error {
	b := Header{Request: r, Flags: version | flagReply, Size: uint32(len(payload))}.Append(nil)
	if _, err := s.conn.Write(append(b, payload...)); err != nil {
		return orGone(fmt.Errorf("vhostuser: reply to %v: %w", r, err))
	}
	return nil
}

// orGone makes errGone of the errors that a connection gives when its peer has
// closed it, other than in the middle of a message.
func orGone(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET) {
		return errGone
	}
	return err
}

// handle does what a request asks, and gives the payload of its answer if it has
// one. The handlers of requests that are about a ring are in rings_linux.go.
func (s *session) handle(m *message) ([]byte, error) {
	switch m.Request {
	case SetOwner, ResetOwner:
		// The connection itself says who owns the session, and the
		// specification recommends to ignore RESET_OWNER.
		return nil, nil
	case GetFeatures:
		return AppendU64(nil, s.backend.Features()|FeatureProtocolFeatures), nil
	case GetProtocolFeatures:
		return AppendU64(nil, offeredProtocol), nil
	case GetQueueNum:
		return AppendU64(nil, uint64(len(s.rings))), nil
	case SetFeatures:
		return nil, s.setFeatures(m)
	case SetProtocolFeatures:
		return nil, s.setProtocolFeatures(m)
	case SetMemTable:
		return nil, s.setMemTable(m)
	case SetBackendReqFD:
		return nil, s.setBackendReqFD(m)
	case GetConfig:
		return s.getConfig(m)
	case SetConfig:
		return nil, fmt.Errorf("the configuration space is read-only: %w", errRefused)
	case SetVringNum, SetVringBase, GetVringBase, SetVringEnable:
		return s.vringState(m)
	case SetVringAddr:
		return nil, s.setVringAddr(m)
	case SetVringKick, SetVringCall, SetVringErr:
		return nil, s.setVringFD(m)
	}
	return nil, fmt.Errorf("not a request that was offered: %w", errRefused)
}

func (s *session) setBackendReqFD(m *message) error {
	if len(m.fds) != 1 || !isStreamSocket(m.fds[0]) {
		return errors.New("no Unix stream socket came with it")
	}
	s.keepRequests(m.fds[0])
	m.fds = nil
	return nil
}

func (s *session) keepRequests(fd int) {
	if s.requests >= 0 {
		_ = unix.Close(s.requests)
	}
	s.requests = fd
}

func (s *session) setFeatures(m *message) error {
	acked, err := ParseU64(m.payload)
	if err != nil {
		return err
	}
	if extra := acked &^ (s.backend.Features() | FeatureProtocolFeatures); extra != 0 {
		return fmt.Errorf("bits %#x were not offered", extra)
	}
	for i := range s.rings {
		if err := s.rest(i); err != nil {
			return err
		}
	}
	if err := s.backend.SetFeatures(acked &^ FeatureProtocolFeatures); err != nil {
		return err
	}
	s.features = acked
	return nil
}

func (s *session) setProtocolFeatures(m *message) error {
	acked, err := ParseU64(m.payload)
	if err != nil {
		return err
	}
	if extra := acked &^ offeredProtocol; extra != 0 {
		return fmt.Errorf("bits %#x were not offered", extra)
	}
	s.protocol = acked
	return nil
}

func (s *session) setMemTable(m *message) error {
	regions, err := ParseMemTable(m.payload)
	if err != nil {
		return err
	}
	mem, err := guestmem.Map(regions, m.fds)
	if err != nil {
		return err
	}
	old := s.mem
	if err := s.backend.SetMemory(mem); err != nil {
		// Queues may still run in the old one.
		return errors.Join(err, s.end(), mem.Unmap())
	}
	s.mem = mem
	if old != nil {
		return old.Unmap()
	}
	return nil
}

// getConfig answers with no payload what it cannot answer.
func (s *session) getConfig(m *message) ([]byte, error) {
	c, err := ParseConfig(m.payload)
	if err != nil {
		return nil, err
	}
	space := s.backend.Config()
	if uint64(c.Offset)+uint64(len(c.Data)) > uint64(len(space)) {
		return nil, nil
	}
	c.Data = space[c.Offset:][:len(c.Data)]
	return c.Append(nil), nil
}
