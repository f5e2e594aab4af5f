package packet

import "sync/atomic"

// Replies are packets without payload, RST as a rule, that a ring had no room for and that
// nobody sends again. They go in their order, and before what comes later. Their owner locks
// them, but for Room.
type Replies struct {
	most    int
	headers []Header
	n       atomic.Int32
}

// NewReplies gives none, and keeps most.
func NewReplies(most int) Replies { return Replies{most: most} }

// Room says whether a further one can be kept.
func (r *Replies) Room() bool { return int(r.n.Load()) < r.most }

// Len is how many there are.
func (r *Replies) Len() int { return len(r.headers) }

// Add keeps the packet, if it is one without payload and there is room. No datagram is kept:
// those may be lost.
func (r *Replies) Add(p *Packet) bool {
	if p.Len > 0 || p.Type == TypeDatagram || !r.Room() {
		return false
	}
	r.headers = append(r.headers, p.Header)
	r.n.Add(1)
	return true
}

// First gives the one that goes next. There must be one.
func (r *Replies) First() *Packet { return &Packet{Header: r.headers[0]} }

// RemoveFirst is called when that has gone.
func (r *Replies) RemoveFirst() {
	r.headers = r.headers[:copy(r.headers, r.headers[1:])]
	r.n.Add(-1)
}

// Clear drops all.
func (r *Replies) Clear() {
	r.headers = r.headers[:0]
	r.n.Swap(0)
}
