package stack

import "vsockets.dev/internal/spin"

// look looks for a short time into the ring that a packet comes by, and says whether that
// brought what is waited for. What trickles has time to come together first.
func look(w *spin.Wait, done func() bool, from spin.Ring, trickles bool) bool {
	return from != nil && w.For(done, from, trickles)
}
