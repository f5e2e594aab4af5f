package packet

// Packet is a header and the payload behind it.
//
// The payload is borrowed: its slices may lie in a guest's memory, and are
// valid only during the call that passes them. Whoever wants the bytes copies
// them. Their lengths add up to Header.Len.
type Packet struct {
	Header
	Payload [][]byte
}

// A Sink is a place that packets go to: a stack, a guest's device, a switch's port.
type Sink interface {
	// Take consumes p and returns true, or it cannot take all of p now and
	// returns false. Then the first n bytes of the payload have gone, as a
	// packet of their own, the rest has not, and w.Wake is called once, when
	// another try may succeed. Of a packet without payload nothing has gone.
	//
	// Take never blocks. A nil w says that there will be no other try: Take
	// then queues the packet within its limits, or drops it.
	Take(p *Packet, w Waker) (n int, ok bool)
}

// A Waker waits for room in a Sink that refused its packet. Wake is called
// without any of the Sink's locks held, from any goroutine, and must not block.
type Waker interface {
	Wake()
}
