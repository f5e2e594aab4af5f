package packet

import "testing"

func TestReplies(t *testing.T) {
	r := NewReplies(2)
	add := func(want bool, p Packet) {
		t.Helper()
		if got := r.Add(&p); got != want {
			t.Errorf("Add of %v: %v, want %v", &p.Header, got, want)
		}
	}
	reset := func(port uint32) Packet {
		return Packet{Header: Header{Type: TypeStream, Op: OpReset, SrcPort: port}}
	}
	first := func(port uint32) {
		t.Helper()
		if got := r.First().SrcPort; got != port {
			t.Errorf("the one of port %d comes first, want that of %d", got, port)
		}
		r.RemoveFirst()
	}

	add(false, Packet{Header: Header{Type: TypeStream, Op: OpRW, Len: 1}, Payload: [][]byte{{0}}})
	add(false, Packet{Header: Header{Type: TypeDatagram, Op: OpRW}})
	add(true, reset(1))
	add(true, reset(2))
	if r.Room() {
		t.Error("room for one more than are kept")
	}
	add(false, reset(3))
	first(1)
	add(true, reset(4))
	first(2)
	first(4)
	if n := r.Len(); n != 0 || !r.Room() {
		t.Errorf("%d are left of none, room %v", n, r.Room())
	}
	add(true, reset(5))
	add(true, reset(6))
	r.Clear()
	if n := r.Len(); n != 0 || !r.Room() {
		t.Errorf("%d are left when all were dropped, room %v", n, r.Room())
	}
}
