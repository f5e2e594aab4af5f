package stack

import "vsockets.dev/internal/spin"

// look looks for a short time into the ring that a signal's packet comes by, and says
// whether the signal was sent.
func look(w *spin.Wait, sig signal, from spin.Ring) bool {
	return from != nil && w.For(sig.sent, from)
}

// await returns when a signal is sent.
func await(w *spin.Wait, sig signal, from spin.Ring) {
	if !look(w, sig, from) {
		<-sig
	}
}
