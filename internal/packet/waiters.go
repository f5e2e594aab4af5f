package packet

import (
	"runtime"
	"sync"
)

// Waiters are the Wakers that a Sink has refused, first come first woken. Their
// owner locks them. Each is in it once, however often its sender tries: there are
// no more than senders that wait, though a peer may make them try at any time.
type Waiters struct {
	list []Waker
	head int                // the first of list that is left
	in   map[Waker]struct{} // those that are left
}

// Len is how many there are.
func (w *Waiters) Len() int { return len(w.list) - w.head }

// Add appends one, unless it is there already.
func (w *Waiters) Add(k Waker) {
	if _, ok := w.in[k]; ok {
		return
	}
	if w.in == nil {
		w.in = make(map[Waker]struct{})
	}
	w.in[k] = struct{}{}
	if w.head > 0 && len(w.list) == cap(w.list) {
		n := copy(w.list, w.list[w.head:])
		clear(w.list[n:])
		w.list, w.head = w.list[:n], 0
	}
	w.list = append(w.list, k)
}

// Pop takes the first, nil if there is none.
func (w *Waiters) Pop() Waker {
	if w.Len() == 0 {
		return nil
	}
	k := w.list[w.head]
	delete(w.in, k)
	w.list[w.head] = nil
	if w.head++; w.head == len(w.list) {
		w.list, w.head = w.list[:0], 0
	}
	return k
}

// WakeAll wakes those who are there now. It is called without mu, their owner's
// lock, which it takes for each: one that is woken may come to wait again.
func (w *Waiters) WakeAll(mu sync.Locker) {
	mu.Lock()
	n := w.Len()
	mu.Unlock()
	w.wake(mu, n)
}

// few is how many WakeFew wakes.
const few = 2

// WakeFew wakes the first few as WakeAll does, and gives them their turn if there are more,
// so that its caller sees whether there is room for those too. Who finds none has been woken
// in vain, and that takes as long as to send a packet: of a thousand, nearly all did.
func (w *Waiters) WakeFew(mu sync.Locker) {
	if w.wake(mu, few) > 0 {
		runtime.Gosched()
	}
}

// wake wakes the first n, and says how many are left.
func (w *Waiters) wake(mu sync.Locker, n int) (left int) {
	for ; n > 0; n-- {
		mu.Lock()
		k := w.Pop()
		left = w.Len()
		mu.Unlock()
		if k == nil {
			break
		}
		k.Wake()
	}
	return left
}
