// Package grow is how small writes are merged. Between two ends of ours, which negotiate
// it, a packet grows while it waits in a ring: what follows in the same stream is added to
// it until the other side takes it. So writes are merged as soon as the other side is slower
// than the writer, none of them is kept back, and neither side pays for a packet each time.
//
// The word that the two sides agree by is the header's length. The writer adds bytes
// behind the payload, and then exchanges the length for a larger one if it is as it was;
// the other side exchanges it for one that no payload has, and adding is over.
package grow

import (
	"vsockets.dev/internal/bulk"
	"vsockets.dev/internal/guestmem"
	"vsockets.dev/internal/packet"
)

// taken is the length of a packet that does not grow any more.
const taken = 1 << 31

// Tail is the writer's view of the last packet in a ring. The zero value is none, and so
// is one that does not grow. Its user locks it.
type Tail struct {
	header packet.Header // with the length that was written last
	length *guestmem.Word
	room   []byte // behind the payload
}

// Set makes it the packet that was put into b, with the header h, and which may fill b. It
// says whether that is one that grows.
func (t *Tail) Set(h *packet.Header, b []byte) bool {
	t.Clear()
	end := packet.HeaderSize + int(h.Len)
	if h.Type != packet.TypeStream || h.Op != packet.OpRW || end >= len(b) {
		return false
	}
	w, ok := guestmem.WordAt(b, packet.LengthAt)
	if ok {
		t.header, t.length, t.room = *h, w, b[end:]
	}
	return ok
}

// Clear makes it none. It must be done before the memory goes away.
func (t *Tail) Clear() { t.length, t.room = nil, nil }

// Accepts says whether the payload of p may be added to it: not if p is another stream's,
// or has more to say than its payload, or is too long.
func (t *Tail) Accepts(p *packet.Packet) bool {
	return t.length != nil && int(p.Len) <= len(t.room) && p.Continues(&t.header)
}

// Add adds the payload of p to it, and says whether it could: not if it does not accept
// that, or the other side was faster.
func (t *Tail) Add(p *packet.Packet) bool { return t.Accepts(p) && t.Append(p) }

// Append is Add for what it accepts.
func (t *Tail) Append(p *packet.Packet) bool {
	old := t.header.Len
	if t.length.Load() != old {
		t.Clear()
		return false
	}
	room := t.room
	for _, s := range p.Payload {
		room = room[bulk.Copy(room, s):]
	}
	if !t.length.CompareAndSwap(old, old+p.Len) {
		t.Clear()
		return false
	}
	t.header.Len, t.room = old+p.Len, room
	return true
}

// TakeLength takes the packet in b, and tells its length: from now on it does not grow. A packet
// that was taken before is longer than any. False: b is no place for one that grows.
func TakeLength(b []byte) (n uint32, ok bool) {
	w, ok := guestmem.WordAt(b, packet.LengthAt)
	if !ok {
		return 0, false
	}
	return w.Swap(taken), true
}

// ReturnLength undoes TakeLength, which gave n: the packet waits again.
func ReturnLength(b []byte, n uint32) {
	if w, ok := guestmem.WordAt(b, packet.LengthAt); ok {
		w.Store(n)
	}
}
