package vhostuser

import (
	"errors"
	"fmt"

	"vsockets.dev/internal/eventfd"
)

// ring is what a session knows of one queue.
type ring struct {
	size    uint16
	addr    VringAddr
	hasAddr bool
	base    uint16
	enabled bool           // as the front-end wants it, started or not
	kick    *eventfd.Event // nil while the ring is stopped
	call    *eventfd.Bell  // nil if the driver polls
}

// started says whether the device has the ring. The specification starts a ring
// at its first kick; with SET_VRING_KICK all is known, and kicks that came
// earlier are not missed.
func (r *ring) started() bool { return r.kick != nil }

// setCall replaces, and closes, the call.
func (r *ring) setCall(call *eventfd.Bell) {
	if r.call != nil {
		_ = r.call.Close()
	}
	r.call = call
}

// ring gives the ring with an index from a message.
func (s *session) ring(index uint32) (*ring, error) {
	if uint64(index) >= uint64(len(s.rings)) {
		return nil, fmt.Errorf("ring %d: the device has %d", index, len(s.rings))
	}
	return &s.rings[index], nil
}

// start hands ring i over to the device.
func (s *session) start(i int, kick *eventfd.Event) error {
	r := &s.rings[i]
	err := s.backend.StartQueue(i, QueueConfig{
		Size: r.size,
		Desc: r.addr.Desc, Avail: r.addr.Avail, Used: r.addr.Used,
		Base: r.base,
		Kick: kick, Call: r.call,
	})
	if err != nil {
		_ = kick.Close()
		return err
	}
	r.kick = kick
	// Without the protocol's own features a ring is enabled from its start.
	if s.features&FeatureProtocolFeatures == 0 {
		r.enabled = true
	}
	if r.enabled {
		return s.backend.EnableQueue(i, true)
	}
	return nil
}

// stop takes ring i back from the device, if it has it.
func (s *session) stop(i int) error {
	r := &s.rings[i]
	if !r.started() {
		return nil
	}
	base, err := s.backend.StopQueue(i)
	r.base = base
	_ = r.kick.Close()
	r.kick = nil
	return err
}

// rest makes sure that ring i can be set up anew. A front-end stops a ring
// first, with GET_VRING_BASE; User Mode Linux only disables it.
func (s *session) rest(i int) error {
	if r := &s.rings[i]; r.started() && r.enabled {
		return fmt.Errorf("ring %d is running; disable or stop it first", i)
	}
	return s.stop(i)
}

// vringState handles the requests that bring one number for a ring.
func (s *session) vringState(m *message) ([]byte, error) {
	v, err := ParseVringState(m.payload)
	if err != nil {
		return nil, err
	}
	r, err := s.ring(v.Index)
	if err != nil {
		return nil, err
	}
	i := int(v.Index)
	switch m.Request {
	case SetVringNum:
		if v.Num == 0 || v.Num > MaxQueueSize || v.Num&(v.Num-1) != 0 {
			return nil, fmt.Errorf("ring %d: size %d, want a power of two up to %d", i, v.Num, MaxQueueSize)
		}
		if err := s.rest(i); err != nil {
			return nil, err
		}
		r.size = uint16(v.Num)
	case SetVringBase:
		if v.Num > 0xffff {
			return nil, fmt.Errorf("ring %d: base %d does not fit a split ring's index of 16 bits", i, v.Num)
		}
		if err := s.rest(i); err != nil {
			return nil, err
		}
		r.base = uint16(v.Num)
	case GetVringBase:
		if err := s.stop(i); err != nil {
			return nil, err
		}
		return VringState{Index: v.Index, Num: uint32(r.base)}.Append(nil), nil
	case SetVringEnable:
		return nil, s.enable(i, v.Num)
	}
	return nil, nil
}

func (s *session) enable(i int, num uint32) error {
	if num > 1 {
		return fmt.Errorf("ring %d: %d is neither 0 (disable) nor 1 (enable)", i, num)
	}
	r, on := &s.rings[i], num == 1
	if r.enabled == on {
		return nil
	}
	r.enabled = on
	if !r.started() {
		return nil
	}
	return s.backend.EnableQueue(i, on)
}

func (s *session) setVringAddr(m *message) error {
	a, err := ParseVringAddr(m.payload)
	if err != nil {
		return err
	}
	r, err := s.ring(a.Index)
	if err != nil {
		return err
	}
	if a.Flags != 0 {
		return fmt.Errorf("ring %d: flags %#x: logging was not offered", a.Index, a.Flags)
	}
	if err := s.rest(int(a.Index)); err != nil {
		return err
	}
	r.addr, r.hasAddr = a, true
	return nil
}

// setVringFD handles the requests that bring an eventfd for a ring.
func (s *session) setVringFD(m *message) error {
	v, err := ParseVringFD(m.payload)
	if err != nil {
		return err
	}
	if _, err := s.ring(uint32(v.Index)); err != nil {
		return err
	}
	if v.NoFD != (len(m.fds) == 0) {
		return fmt.Errorf("ring %d: %d descriptors, with the flag for none: %v", v.Index, len(m.fds), v.NoFD)
	}
	i := int(v.Index)
	switch m.Request {
	case SetVringKick:
		return s.setKick(i, m)
	case SetVringCall:
		return s.setCall(i, m)
	}
	// A ring that breaks ends the session, so nothing is ever told by the
	// error eventfd, and it need not be kept.
	return nil
}

func (s *session) setKick(i int, m *message) error {
	r := &s.rings[i]
	switch {
	case len(m.fds) == 0:
		return fmt.Errorf("ring %d: polling is not supported; pass an eventfd", i)
	case r.size == 0:
		return fmt.Errorf("ring %d has no size; send SET_VRING_NUM first", i)
	case !r.hasAddr:
		return fmt.Errorf("ring %d has no addresses; send SET_VRING_ADDR first", i)
	case s.mem == nil:
		return errors.New("no guest memory; send SET_MEM_TABLE first")
	}
	// A new kick for a ring that runs is a short stop.
	if err := s.stop(i); err != nil {
		return err
	}
	kick, err := m.takeKick()
	if err != nil {
		return fmt.Errorf("ring %d: %w", i, err)
	}
	return s.start(i, kick)
}

func (s *session) setCall(i int, m *message) error {
	r := &s.rings[i]
	var call *eventfd.Bell
	if len(m.fds) > 0 {
		var err error
		if call, err = m.takeCall(); err != nil {
			return fmt.Errorf("ring %d: %w", i, err)
		}
	}
	if r.started() {
		if err := s.backend.SetCall(i, call); err != nil {
			if call != nil {
				_ = call.Close()
			}
			return err
		}
	}
	r.setCall(call)
	return nil
}
