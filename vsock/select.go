package vsock

import "time"

// What makes a socket ready to be read and written.
const (
	readReady  = PollIn | alwaysPolled
	writeReady = PollOut | alwaysPolled
)

// Select waits until a socket of read can be received or accepted from, one of
// write sent to, or one of except has an exceptional condition, or the timeout
// passes: 0 does not wait, a negative one is infinite. It leaves the sockets in
// each set that are ready, and tells how many that are, in all sets; after the
// timeout, 0. Sets may be nil. A socket that has failed, or is closed, can be read
// and written, since the call will not wait. No stack has exceptional conditions.
func Select(read, write, except *[]Socket, timeout time.Duration) int {
	var fds []PollFD
	for _, s := range set(read) {
		fds = append(fds, PollFD{Socket: s, Events: readReady})
	}
	for _, s := range set(write) {
		fds = append(fds, PollFD{Socket: s, Events: writeReady})
	}
	n := Poll(fds, timeout)
	fds = keep(read, fds)
	keep(write, fds)
	keep(except, nil)
	return n
}

func set(s *[]Socket) []Socket {
	if s == nil {
		return nil
	}
	return *s
}

// keep leaves the sockets in a set that are ready by the first entries of fds,
// and gives the entries after those.
func keep(set *[]Socket, fds []PollFD) []PollFD {
	if set == nil {
		return fds
	}
	n := len(*set)
	ready := (*set)[:0]
	for _, f := range fds[:min(n, len(fds))] {
		if f.Revents != 0 {
			ready = append(ready, f.Socket)
		}
	}
	clear((*set)[len(ready):])
	*set = ready
	return fds[min(n, len(fds)):]
}
