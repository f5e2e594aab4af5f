package stack

import (
	"math"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"vsockets.dev/internal/packet"
)

// taker takes all data at once, and counts it.
type taker struct {
	*wire
	bytes atomic.Uint64
}

func (k *taker) Take(p *packet.Packet, w packet.Waker) (int, bool) {
	if p.Op != packet.OpRW {
		return k.wire.Take(p, w)
	}
	k.bytes.Add(uint64(p.Len))
	return int(p.Len), true
}

// TestManySendersTakeTurns has connections send that never have to wait, on one
// processor. Whoever else has something to do has its turn after each has had one.
//
// Go may take the processor from a goroutine anywhere, and so from the one that looks
// between what it has seen and its turn for others. Where that is turned off, which is
// for a whole process, it can do so in calls only, and there is none between the two.
func TestManySendersTakeTurns(t *testing.T) {
	const exact = "asyncpreemptoff=1"
	if os.Getenv("GODEBUG") == exact {
		manySendersTakeTurns(t)
		return
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestManySendersTakeTurns$", "-test.timeout=1m", "-test.v")
	cmd.Env = append(os.Environ(), "GODEBUG="+exact)
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS") {
		t.Errorf("%v\n%s", err, out)
	}
}

func manySendersTakeTurns(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	const conns, looks = 4, 20
	k := &taker{wire: newWire()}
	st := New(Config{CID: 2, Out: k})
	defer st.Close()
	l := listen(t, st, conns)
	var stop atomic.Bool
	var senders sync.WaitGroup
	for port := range uint32(conns) {
		s, p := opened(t, k.wire, l, 5000+port, math.MaxUint32)
		p.send(packet.OpCreditUpdate, nil)
		senders.Go(func() {
			block := make([]byte, turn/4)
			for !stop.Load() {
				if _, err := s.Write(block); err != nil {
					if !stop.Load() {
						t.Error(err)
					}
					return
				}
			}
		})
	}
	for range looks {
		before := k.bytes.Load()
		runtime.Gosched()
		if n := k.bytes.Load() - before; n > 2*conns*turn {
			t.Errorf("%d bytes were sent before the turn of another, want %d at most", n, 2*conns*turn)
		}
	}
	stop.Store(true)
	_ = st.Close() // they may have used up their credit
	senders.Wait()
}
