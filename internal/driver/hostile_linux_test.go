package driver

import (
	"encoding/binary"
	"math"
	"strings"
	"testing"

	"vsockets.dev/internal/guestmem"
	"vsockets.dev/internal/packet"
	"vsockets.dev/internal/vhostuser"
)

// A device that does not keep to the rules: the driver ends, tells why, and wakes
// those who wait.
func TestHostileReceive(t *testing.T) {
	lie := func(n uint32) packet.Header { h := inHeader(0); h.Len = n; return h }
	for name, c := range map[string]struct {
		device func(b *bed)
		want   string
	}{
		"no such chain":           {func(b *bed) { b.giveRaw(rxQueue, 1, queueSize, 44) }, "does not have"},
		"largest id":              {func(b *bed) { b.giveRaw(rxQueue, 1, math.MaxUint32, 44) }, "does not have"},
		"a chain out of 16 bits":  {func(b *bed) { b.giveRaw(rxQueue, 1, 1<<16, 44) }, "does not have"},
		"index jumps":             {func(b *bed) { b.giveRaw(rxQueue, queueSize+1, 0, 44) }, "jumps"},
		"index goes back":         {func(b *bed) { b.giveRaw(rxQueue, math.MaxUint16, 0, 44) }, "jumps"},
		"nothing written":         {func(b *bed) { b.sendIn(inHeader(0), nil, 0) }, "less than a header"},
		"less than a header":      {func(b *bed) { b.sendIn(inHeader(0), nil, packet.HeaderSize-1) }, "less than a header"},
		"a byte not written":      {func(b *bed) { b.sendIn(lie(101), pattern(100), packet.HeaderSize+100) }, "claims"},
		"length out of all":       {func(b *bed) { b.sendIn(lie(math.MaxUint32), nil, packet.HeaderSize) }, "claims"},
		"length with sign":        {func(b *bed) { b.sendIn(lie(1<<31), nil, packet.HeaderSize) }, "claims"},
		"length wraps":            {func(b *bed) { b.sendIn(lie(math.MaxUint32-43), nil, packet.HeaderSize) }, "claims"},
		"more than the buffer is": {func(b *bed) { b.sendIn(lie(bufferSize), nil, packet.HeaderSize+bufferSize) }, "claims"},
		"all it could say":        {func(b *bed) { b.sendIn(lie(packet.MaxPayload+1), nil, math.MaxUint32) }, "claims"},
	} {
		for mode, features := range eventModes {
			t.Run(name+"/"+mode, func(t *testing.T) {
				b := newBed(t, features)
				w := b.fill(0)
				c.device(b)
				err := b.failed()
				if !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "CID 3") {
					t.Errorf("%q does not tell of %q, and for whom", err, c.want)
				}
				receive(t, w, "the end")
				if len(b.in.got) != 0 {
					t.Error("something arrives")
				}
			})
		}
	}
}

// A device may say that it wrote more than there is room for, as long as the
// packet itself has room: what counts is the packet.
func TestReceiveWrittenTooMuch(t *testing.T) {
	b := newBed(t, wantedFeatures)
	for _, written := range []uint32{bufferSize, bufferSize + 1, math.MaxUint32} {
		n := bufferSize - packet.HeaderSize
		b.sendIn(inHeader(n), pattern(n), written)
		if got := receive(t, b.in.got, "a packet"); got.Payload != string(pattern(n)) {
			t.Errorf("written %d: %d bytes arrive", written, len(got.Payload))
		}
	}
}

// The same chain twice.
func TestHostileReceiveTwice(t *testing.T) {
	b := newBed(t, wantedFeatures)
	b.backend.use(func() {
		c := b.popNow(rxQueue)
		h := inHeader(0)
		copy(c.Writable[0], h.Append(nil))
		b.rx.Push(c.Head, packet.HeaderSize)
		b.giveNow(rxQueue, c.Head, packet.HeaderSize)
	})
	// The first time it is taken, and given out again before or after the second
	// is seen: then it is what a device may do. Nothing else happens.
	receive(t, b.in.got, "a packet")
	select {
	case <-b.in.got:
	case <-b.driver.Done():
	}
}

func TestHostileSend(t *testing.T) {
	for name, c := range map[string]struct {
		device func(b *bed)
		want   string
	}{
		"no such chain":   {func(b *bed) { b.giveRaw(txQueue, 1, queueSize, 0) }, "does not have"},
		"largest id":      {func(b *bed) { b.giveRaw(txQueue, 1, math.MaxUint32, 0) }, "does not have"},
		"index jumps":     {func(b *bed) { b.giveRaw(txQueue, queueSize+1, 0, 0) }, "jumps"},
		"index goes back": {func(b *bed) { b.giveRaw(txQueue, math.MaxUint16, 0, 0) }, "jumps"},
	} {
		for mode, features := range eventModes {
			t.Run(name+"/"+mode, func(t *testing.T) {
				b := newBed(t, features)
				w := b.fill(0)
				c.device(b)
				receive(t, w, "room") // so it seems
				other := newWaker()
				if n, ok := b.driver.Take(out(100), other); !ok || n != 100 {
					t.Errorf("Take: %d, %v; want it dropped", n, ok)
				}
				if err := b.failed(); !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "CID 3") {
					t.Errorf("%q does not tell of %q, and for whom", err, c.want)
				}
			})
		}
	}
}

// A device that gives nothing back, and goes.
func TestDeviceGoes(t *testing.T) {
	for name, busy := range map[string]func(b *bed) waker{
		"while a sender waits": func(b *bed) waker { return b.fill(0) },
		"while nobody does":    func(*bed) waker { w := newWaker(); w.Wake(); return w },
	} {
		for mode, features := range eventModes {
			t.Run(name+"/"+mode, func(t *testing.T) {
				b := newBed(t, features)
				w := busy(b)
				b.end()
				if err := b.failed(); err == nil {
					t.Error("ended for no reason")
				}
				receive(t, w, "the end")
				if n, ok := b.driver.Take(out(100), w); !ok || n != 100 {
					t.Errorf("after the end: %d, %v; want it dropped", n, ok)
				}
			})
		}
	}
}

// A device that writes all over the memory that it shares confuses nobody but itself.
func TestDeviceScribbles(t *testing.T) {
	b := newBed(t, plainFeatures)
	desc, ok := b.backend.mem.UserSlice(b.backend.queues[txQueue].Desc, 16*queueSize)
	if !ok {
		t.Fatal("the table is nowhere")
	}
	w := b.fill(0)
	var heads []uint16
	for range queueSize {
		heads = append(heads, b.popNow(txQueue).Head)
	}
	for i := range desc {
		desc[i] = 0xff
	}
	for _, h := range heads {
		b.giveBack(h, math.MaxUint32)
	}
	receive(t, w, "room")
	for range queueSize {
		p := out(100)
		if _, ok := b.driver.Take(p, w); !ok {
			t.Fatal("a buffer is lost")
		}
		if _, _, got := b.sent(); string(got) != string(pattern(100)) {
			t.Fatal("the payload is not what was sent")
		}
	}
}

// inBounds is a Sink that checks what every Sink relies on.
type inBounds struct{ t *testing.T }

func (s inBounds) Take(p *packet.Packet, _ packet.Waker) (int, bool) {
	n := 0
	for _, b := range p.Payload {
		n += len(b)
	}
	if n != int(p.Len) || n > packet.MaxPayload || p.DstCID != ownCID {
		s.t.Fatalf("%v with %d bytes", &p.Header, n)
	}
	return n, true
}

// FuzzReceive has a device return buffers, with whatever in them.
func FuzzReceive(f *testing.F) {
	element := func(id, written uint32, h packet.Header) []byte {
		b := binary.LittleEndian.AppendUint32(nil, id)
		return h.Append(binary.LittleEndian.AppendUint32(b, written))
	}
	f.Add(uint16(1), element(0, packet.HeaderSize, inHeader(0)))
	f.Add(uint16(2), append(element(0, packet.HeaderSize+5, inHeader(5)), element(1, bufferSize, inHeader(bufferSize))...))
	f.Add(uint16(3), element(7, math.MaxUint32, packet.Header{DstCID: ownCID, Len: math.MaxUint32}))
	f.Add(uint16(queueSize+1), []byte{})
	f.Fuzz(func(t *testing.T, idx uint16, elements []byte) {
		receiveAll(t, false, idx, elements)
		receiveAll(t, true, idx, elements)
	})
}

// receiveAll has a driver take what is in so many used elements, each with a header.
func receiveAll(t *testing.T, grows bool, idx uint16, elements []byte) {
	d := &Driver{frontend: new(vhostuser.Frontend), layout: newLayout(), cid: ownCID, grows: grows, in: inBounds{t}}
	var err error
	d.mem, d.file, err = guestmem.Alloc(memoryBase, d.layout.size)
	must(t, err)
	defer d.release()
	must(t, d.rx.init(d))
	d.rx.fill()

	used, _ := d.mem.Slice(d.layout.rings[rxQueue].used, 4+8*queueSize)
	const size = 8 + packet.HeaderSize
	for i := 0; len(elements) >= size && i < queueSize; i++ {
		copy(used[4+8*i:], elements[:8])
		if id := binary.LittleEndian.Uint32(elements); id < queueSize {
			b, _ := d.mem.Slice(d.layout.rxBuffer(int(id)), packet.HeaderSize)
			copy(b, elements[8:size])
		}
		elements = elements[size:]
	}
	w, _ := guestmem.WordAt(used, 0)
	w.Store(uint32(idx) << 16)
	for more := true; more && err == nil; {
		more, err = d.rx.batch()
	}
}
