package stack

import (
	"slices"
	"sync"

	"vsockets.dev/internal/spin"
)

// watchers are those who wait for any change of a socket, see vsock.Socket.Watch.
// The socket's lock guards them.
type watchers struct {
	list []*watcher
}

type watcher struct{ notify func() }

// fire tells all of them, once. What has changed is for them to see: Watch may
// notify too early.
func (w *watchers) fire() {
	if len(w.list) > 0 {
		spin.Woke()
	}
	for _, x := range w.list {
		x.notify()
	}
	w.list = w.list[:0]
}

// add needs mu, which the function that it gives takes.
func (w *watchers) add(mu sync.Locker, notify func()) (stop func()) {
	x := &watcher{notify}
	w.list = append(w.list, x)
	return func() {
		mu.Lock()
		defer mu.Unlock()
		if i := slices.Index(w.list, x); i >= 0 {
			w.list = slices.Delete(w.list, i, i+1)
		}
	}
}
