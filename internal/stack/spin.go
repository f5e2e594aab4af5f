package stack

import (
	"vsockets.dev/internal/spin"
)

// look is spin.Wait.For for a signal that a packet brings, which is taken up from
// where it comes in. It says whether the signal was sent.
func look(w *spin.Wait, sig signal, from spin.Ring) bool {
	if from == nil {
		return false
	}
	from.Hold()
	defer from.Release()
	return w.For(sig.sent, from.Poll)
}

// await returns when a signal is sent.
func await(w *spin.Wait, sig signal, from spin.Ring) {
	if !look(w, sig, from) {
		<-sig
	}
}
