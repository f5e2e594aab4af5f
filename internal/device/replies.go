package device

import (
	"sync/atomic"

	"vsockets.dev/internal/packet"
)

// maxReplies is how many packets that nobody sends again, all of them RST, a
// device keeps for a guest that has no room for them. While it keeps as many, it
// takes nothing more from the guest, whose packets they answer, virtio 1.3
// section 5.10.6.1.2.
const maxReplies = 256

// replies is a bounded queue of packets without payload. Its owner locks it, but
// for room.
type replies struct {
	headers []packet.Header
	n       atomic.Int32
}

// room says whether a further one can be kept.
func (r *replies) room() bool { return r.n.Load() < maxReplies }

func (r *replies) empty() bool { return len(r.headers) == 0 }

func (r *replies) add(h *packet.Header) bool {
	if !r.room() {
		return false
	}
	r.headers = append(r.headers, *h)
	r.n.Add(1)
	return true
}

func (r *replies) first() packet.Header { return r.headers[0] }

func (r *replies) removeFirst() {
	r.headers = r.headers[:copy(r.headers, r.headers[1:])]
	r.n.Add(-1)
}

func (r *replies) clear() {
	r.headers = r.headers[:0]
	r.n.Swap(0)
}
