package stack

import (
	"strings"
	"testing"

	"vsockets.dev/internal/packet"
)

// TestTrickles has a connection tell what trickles in from what is an answer, or comes in
// large pieces.
func TestTrickles(t *testing.T) {
	s, p, w := accepted(t)
	defer s.Close()
	c := s.(*Socket).conn.Load()
	buf := make([]byte, 2*little)
	for i, step := range []struct {
		write bool // before it is waited
		want  bool
		gets  int
	}{
		{false, false, 100},
		{false, true, 100},
		{true, false, 100}, // it may be the answer
		{false, true, little},
		{false, false, little - 1},
		{false, true, 1},
	} {
		if step.write {
			if _, err := s.Write([]byte("a question")); err != nil {
				t.Fatal(err)
			}
			w.next(t, packet.OpRW)
		}
		if _, _, wait, err := c.tryRecv(buf, 0); !wait || err != nil {
			t.Fatalf("step %d: there is something: %v", i, err)
		}
		if c.trickles != step.want {
			t.Errorf("step %d: it trickles: %v", i, c.trickles)
		}
		p.write(strings.Repeat("x", step.gets))
		if n := c.unpark(); n != step.gets {
			t.Fatalf("step %d: %d bytes came, want %d", i, n, step.gets)
		}
		<-c.readSig
	}
}
