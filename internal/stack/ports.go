package stack

import (
	"math/rand/v2"
	"syscall"

	"vsockets.dev/vsock"
)

// ports says who uses which port of a context. Its methods need Stack.mu.
type ports struct {
	used map[uint32]*port
	next uint32 // where the search for an ephemeral port begins
}

// port is a port in use. It is free when neither a socket is bound to it nor a
// connection is on it.
type port struct {
	bound    bool
	listener *listener
	datagram *datagram
	conns    int
}

// newPorts begins at a random ephemeral port, so that a program that starts
// anew does not take up the flows of the one before it.
func newPorts() ports {
	return ports{used: make(map[uint32]*port), next: randomPort()}
}

func randomPort() uint32 {
	return vsock.FirstUnprivilegedPort + rand.Uint32N(1<<31)
}

// bind takes a port for a socket: an ephemeral one for PortAny.
func (t *ports) bind(n uint32) (uint32, error) {
	if n == vsock.PortAny {
		var err error
		if n, err = t.ephemeral(); err != nil {
			return 0, err
		}
	}
	p := t.get(n)
	if p.bound {
		return 0, syscall.EADDRINUSE
	}
	p.bound = true
	return n, nil
}

// ephemeral finds a port that nothing is on, not even a connection that closes.
// At most len(used) ports are in use, so the search is as short.
func (t *ports) ephemeral() (uint32, error) {
	for range len(t.used) + 1 {
		n := t.next
		t.next++
		if t.next == vsock.PortAny {
			t.next = vsock.FirstUnprivilegedPort
		}
		if t.used[n] == nil {
			return n, nil
		}
	}
	return 0, syscall.EADDRNOTAVAIL
}

func (t *ports) get(n uint32) *port {
	p := t.used[n]
	if p == nil {
		p = new(port)
		t.used[n] = p
	}
	return p
}

// unbind ends what bind began.
func (t *ports) unbind(n uint32) {
	if p := t.used[n]; p != nil {
		p.bound, p.listener, p.datagram = false, nil, nil
		t.free(n, p)
	}
}

// hold counts a connection on a port, drop takes it off again.
func (t *ports) hold(n uint32) { t.get(n).conns++ }

func (t *ports) drop(n uint32) {
	if p := t.used[n]; p != nil {
		p.conns--
		t.free(n, p)
	}
}

func (t *ports) free(n uint32, p *port) {
	if !p.bound && p.conns == 0 {
		delete(t.used, n)
	}
}

func (t *ports) listener(n uint32) *listener {
	if p := t.used[n]; p != nil {
		return p.listener
	}
	return nil
}

func (t *ports) datagram(n uint32) *datagram {
	if p := t.used[n]; p != nil {
		return p.datagram
	}
	return nil
}
