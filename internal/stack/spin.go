package stack

import "vsockets.dev/internal/spin"

// look looks for a short time into the ring that a signal's packet comes by, and says
// whether the signal was sent. What trickles has time to come together first.
func look(w *spin.Wait, sig signal, from spin.Ring, trickles bool) bool {
	return from != nil && w.For(sig.sent, from, trickles)
}

// await returns when the signal of a deadline is sent.
func await(w *spin.Wait, d *deadline, from spin.Ring, trickles bool) {
	if !look(w, d.sig, from, trickles) {
		d.sleep()
	}
}
