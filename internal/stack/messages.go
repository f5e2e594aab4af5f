package stack

import "vsockets.dev/vsock"

// messages are the bounds of the messages whose bytes are in a buffer.
type messages struct {
	list []message
	head int // the first of list that is left
}

type message struct {
	n    int
	done bool       // all of it is there
	eor  bool       // it ends a record
	from vsock.Addr // of a datagram
}

func (m *messages) len() int { return len(m.list) - m.head }

// first gives the first message, if all of it is there.
func (m *messages) first() (message, bool) {
	if m.len() == 0 || !m.list[m.head].done {
		return message{}, false
	}
	return m.list[m.head], true
}

// extend adds n bytes to the message that is not done, or begins one.
func (m *messages) extend(n int, done, eor bool) {
	if m.len() == 0 || m.list[len(m.list)-1].done {
		m.add(message{})
	}
	last := &m.list[len(m.list)-1]
	last.n += n
	last.done, last.eor = done, eor
}

func (m *messages) add(x message) {
	if m.head > 0 && len(m.list) == cap(m.list) {
		m.list = m.list[:copy(m.list, m.list[m.head:])]
		m.head = 0
	}
	m.list = append(m.list, x)
}

// drop takes the first message off. Without any left, it holds no memory.
func (m *messages) drop() {
	if m.head++; m.head == len(m.list) {
		*m = messages{}
	}
}

// take copies the first message to p, as far as it fits, and takes it off unless
// it is a peek. It gives the flags of vsock.Socket.Recv.
func (m *messages) take(rx *buffer, p []byte, flags vsock.Flags) (n int, got vsock.Flags, from vsock.Addr) {
	x := m.list[m.head]
	n = rx.peek(p[:min(len(p), x.n)])
	if n < x.n {
		got |= vsock.MsgTrunc
		if flags&vsock.MsgTrunc != 0 {
			n = x.n
		}
	}
	if x.eor {
		got |= vsock.MsgEOR
	}
	if flags&vsock.MsgPeek == 0 {
		rx.skip(x.n)
		m.drop()
	}
	return n, got, x.from
}
