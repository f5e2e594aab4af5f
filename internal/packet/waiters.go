package packet

// Waiters are the Wakers that a Sink has refused, first come first woken. Their
// owner locks them. They are not bounded by themselves: each is there for a sender
// that waits.
type Waiters struct {
	list []Waker
	head int // the first of list that is left
}

// Len is how many there are.
func (w *Waiters) Len() int { return len(w.list) - w.head }

// Add appends one.
func (w *Waiters) Add(k Waker) {
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
	w.list[w.head] = nil
	if w.head++; w.head == len(w.list) {
		w.list, w.head = w.list[:0], 0
	}
	return k
}
