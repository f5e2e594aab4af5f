//go:build !race

package attack

import (
	"net"
	"slices"

	"golang.org/x/sys/unix"

	"vsockets.dev/internal/guestmem"
	"vsockets.dev/internal/packet"
	"vsockets.dev/internal/vhostuser"
	"vsockets.dev/vsock"
	"vsockets.dev/vswitch"
)

var sessionAttacks = []attack{
	{
		name:   "memory table replaced under load",
		broken: func(c vswitch.Counters) uint64 { return c.Stray },
		run:    replaceMemory,
	},
	{
		name:   "regions that overlap in their file",
		broken: func(c vswitch.Counters) uint64 { return c.Stray },
		run:    overlap,
	},
	{
		name:   "overlapping regions",
		broken: func(c vswitch.Counters) uint64 { return c.BadMessages },
		run: refused(func(f *front) []message {
			r := f.region()
			r.UserAddr += memSize
			return []message{f.memory(f.region(), r)}
		}),
	},
	{
		name:   "files in place of doorbells",
		broken: func(c vswitch.Counters) uint64 { return c.BadMessages },
		run: refused(func(f *front) []message {
			return append(f.handshake()[:9], message{r: vhostuser.SetVringCall, payload: vhostuser.VringFD{}.Append(nil), fds: []int{int(f.file.Fd())}})
		}),
	},
	{
		name:   "a message after another that is none",
		broken: func(c vswitch.Counters) uint64 { return c.BadMessages },
		run: refused(func(*front) []message {
			return []message{{r: vhostuser.SetOwner}, {r: vhostuser.SetVringNum, payload: vhostuser.VringState{Index: 1 << 31, Num: 1 << 31}.Append(nil)}}
		}),
	},
	{
		name:   "disconnect at every message",
		broken: func(c vswitch.Counters) uint64 { return c.BadMessages },
		run:    disconnect,
	},
	{
		name:   "answers that nobody reads",
		broken: func(c vswitch.Counters) uint64 { return c.BadMessages },
		run:    deaf,
	},
}

// message is one message to the back-end.
type message struct {
	r       vhostuser.Request
	payload []byte
	fds     []int
}

// encode gives the bytes of a message, and its control message.
func (m message) encode() (b, oob []byte) {
	h := vhostuser.Header{Request: m.r, Flags: 1, Size: uint32(len(m.payload))}
	if len(m.fds) > 0 {
		oob = unix.UnixRights(m.fds...)
	}
	return append(h.Append(nil), m.payload...), oob
}

// write sends a message, and says whether the switch takes it.
func (m message) write(c *net.UnixConn) bool {
	b, oob := m.encode()
	_, _, err := c.WriteMsgUnix(b, oob, nil)
	return err == nil
}

func (f *front) memory(regions ...guestmem.Region) message {
	return message{
		r: vhostuser.SetMemTable, payload: vhostuser.AppendMemTable(nil, regions),
		fds: slices.Repeat([]int{int(f.file.Fd())}, len(regions)),
	}
}

// handshake is all that sets up a device.
func (f *front) handshake() []message {
	u64 := func(v uint64) []byte { return vhostuser.AppendU64(nil, v) }
	ms := []message{
		{r: vhostuser.SetOwner},
		{r: vhostuser.GetFeatures},
		{r: vhostuser.GetProtocolFeatures},
		{r: vhostuser.SetProtocolFeatures, payload: u64(vhostuser.ProtocolConfig)},
		{r: vhostuser.GetQueueNum},
		{r: vhostuser.SetFeatures, payload: u64(features | vhostuser.FeatureProtocolFeatures)},
		{r: vhostuser.GetConfig, payload: vhostuser.Config{Data: make([]byte, 8)}.Append(nil)},
		f.memory(f.region()),
	}
	for i := range uint32(numQueues) {
		q := f.queue(int(i))
		fd := vhostuser.VringFD{Index: uint8(i)}.Append(nil)
		ms = append(ms,
			message{r: vhostuser.SetVringNum, payload: vhostuser.VringState{Index: i, Num: ringSize}.Append(nil)},
			message{r: vhostuser.SetVringBase, payload: vhostuser.VringState{Index: i}.Append(nil)},
			message{r: vhostuser.SetVringAddr, payload: vhostuser.VringAddr{Index: i, Desc: q.Desc, Avail: q.Avail, Used: q.Used}.Append(nil)},
			message{r: vhostuser.SetVringCall, payload: fd, fds: []int{int(q.Call.File().Fd())}},
			message{r: vhostuser.SetVringKick, payload: fd, fds: []int{int(q.Kick.File().Fd())}},
			message{r: vhostuser.SetVringEnable, payload: vhostuser.VringState{Index: i, Num: 1}.Append(nil)},
		)
	}
	for i := range uint32(numQueues) {
		ms = append(ms,
			message{r: vhostuser.SetVringEnable, payload: vhostuser.VringState{Index: i}.Append(nil)},
			message{r: vhostuser.GetVringBase, payload: vhostuser.VringState{Index: i}.Append(nil)},
		)
	}
	return ms
}

// raw begins a connection of the guest on which nothing has been said.
func (a *arena) raw() *front {
	f := a.newFront()
	f.conn = a.dial(guestSocket)
	return f
}

// refused makes an attack of messages the last of which the switch must not take.
func refused(messages func(*front) []message) func(*arena, func() bool) {
	return func(a *arena, on func() bool) {
		for first := true; first || on(); first = false {
			f := a.raw()
			for _, m := range messages(f) {
				if !m.write(f.conn) {
					a.t.Errorf("%v: the switch has gone", m.r)
				}
			}
			f.gone()
			f.close()
		}
	}
}

// gone waits for the switch to close the connection.
func (f *front) gone() {
	b := make([]byte, 4096)
	for {
		if n, err := f.conn.Read(b); n == 0 || err != nil {
			return
		}
	}
}

// disconnect leaves after each message of a session, and in the middle of each.
func disconnect(a *arena, on func() bool) {
	for first := true; first || on(); first = false {
		n := len(a.handshakeOf())
		for i := 0; i < n && (first || on()); i++ {
			for _, part := range []bool{false, true} {
				f := a.raw()
				ms := f.handshake()
				for _, m := range ms[:i] {
					m.write(f.conn)
				}
				if part {
					b, oob := ms[i].encode()
					_, _, _ = f.conn.WriteMsgUnix(b[:len(b)-1], oob, nil)
				} else {
					ms[i].write(f.conn)
				}
				_ = f.conn.CloseWrite()
				f.gone()
				f.close()
			}
		}
	}
}

func (a *arena) handshakeOf() []message {
	f := a.raw()
	defer f.close()
	return f.handshake()
}

// deaf asks and asks, and reads no answer; and ends in the middle of a question.
func deaf(a *arena, on func() bool) {
	for first := true; first || on(); first = false {
		f := a.raw()
		for range 100_000 {
			if rc, err := f.conn.SyscallConn(); err == nil {
				b, _ := message{r: vhostuser.GetFeatures}.encode()
				full := false
				_ = rc.Write(func(fd uintptr) bool {
					_, err := unix.Write(int(fd), b)
					full = err == unix.EAGAIN
					return true
				})
				if full {
					break
				}
			}
		}
		f.close()
		f = a.raw()
		b, _ := message{r: vhostuser.SetFeatures, payload: make([]byte, 8)}.encode()
		_, _ = f.conn.Write(b[:len(b)-1])
		_ = f.conn.CloseWrite()
		f.gone()
		f.close()
	}
}

// replaceMemory replaces the memory table over and over, at other addresses of the same
// file too, while the rings are in use.
func replaceMemory(a *arena, on func() bool) {
	f := a.connect(guestSocket)
	defer f.close()
	for n := uint32(0); on(); n++ {
		for range 16 {
			h := f.to(vsock.CIDHost, packet.OpRW, n, mutePort)
			h.Len = 4096
			f.send(h, on)
		}
		if !f.memory(f.region()).write(f.conn) {
			a.t.Error("the switch has gone")
			return
		}
	}
}

// overlap has two regions that are one in the file, so that what the device writes is what
// it reads at another address: rings, and buffers.
func overlap(a *arena, on func() bool) {
	f := a.connect(guestSocket)
	defer f.close()
	r := f.region()
	r.GuestAddr += memSize
	r.UserAddr += memSize
	if !f.memory(f.region(), r).write(f.conn) {
		a.t.Error("the switch has gone")
	}
	// Its receive buffers are now its descriptors, its used rings and what it sends.
	for i := range ringSize {
		at := []uint64{f.queue(rxQueue).Desc, f.queue(rxQueue).Used, f.queue(txQueue).Desc, txArea}[i%4]
		f.rawDescriptor(rxQueue, i, at+memSize+64*uint64(i/4), rxSize, write, 0)
	}
	for n := uint32(0); on(); n++ {
		h := f.to(vsock.CIDHost, packet.OpRW, n, mutePort)
		h.Len = 100
		copy(f.bytes(txArea, packet.HeaderSize), h.Append(nil))
		i := int(n % ringSize)
		f.rawDescriptor(txQueue, i, txArea+memSize, packet.HeaderSize+100, 0, 0)
		avail := f.bytes(f.queue(txQueue).Avail, 4+2*ringSize)
		avail[4+2*i], avail[5+2*i] = byte(i), byte(i>>8)
		used := f.bytes(f.queue(txQueue).Used, 4)
		if lag := uint16(n) - (uint16(used[2]) | uint16(used[3])<<8); lag >= ringSize-1 {
			f.rest()
		}
		f.setAvail(txQueue, uint16(n)+1)
		f.must(f.kick[txQueue].Signal())
	}
}
