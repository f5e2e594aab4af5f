package virtqueue

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync/atomic"
	"testing"
	"time"
)

// One end publishes just as the other goes to sleep. Each writes, and then reads
// what the other writes: without a full barrier between, both may read what was
// there before. Then no notification is sent, nothing is seen, and the other end
// sleeps for ever. It takes two processors to happen, and many tries.
func TestPublishMeetsSleep(t *testing.T) {
	if runtime.GOMAXPROCS(0) < 2 {
		t.Skip("one processor cannot run two ends at once")
	}
	rounds := 200_000
	if testing.Short() {
		rounds /= 10
	}
	for _, eventIdx := range []bool{true, false} {
		t.Run(fmt.Sprintf("driver publishes, EVENT_IDX %v", eventIdx), func(t *testing.T) {
			m := newMeeting(t, eventIdx)
			m.run(rounds, func() {
				m.add()
				m.device.DisableNotify()
			}, m.driver.Publish, m.device.EnableNotify, func() {
				m.take()
				m.device.Publish()
				m.takeBack()
			})
		})
		t.Run(fmt.Sprintf("device publishes, EVENT_IDX %v", eventIdx), func(t *testing.T) {
			m := newMeeting(t, eventIdx)
			m.run(rounds, func() {
				m.add()
				m.driver.Publish()
				m.take()
				m.driver.DisableNotify()
			}, m.device.Publish, m.driver.EnableNotify, m.takeBack)
		})
	}
}

// meetingLimit ends a meeting on a machine that has no two processors to spare.
const meetingLimit = time.Second

// meeting lets two goroutines do one thing each at the same time, again and again.
type meeting struct {
	t       *testing.T
	driver  *Driver
	device  *Device
	chain   Chain
	arrived atomic.Uint32
}

func newMeeting(t *testing.T, eventIdx bool) *meeting {
	b := newBed(t, Config{Size: 4, EventIdx: eventIdx})
	return &meeting{t: t, driver: b.driver(t), device: b.device(t)}
}

// run calls prepare, then publish and sleep at once, then check, for each round.
func (m *meeting) run(rounds int, prepare func(), publish, sleep func() bool, check func()) {
	const sleepAfter = 64
	publishAfter := sleepAfter // changes so that either is first as often
	var seen bool              // by sleep
	var over bool
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for i := 0; ; i++ {
			if m.meet(2*i + 1); over {
				return
			}
			pause(sleepAfter)
			seen = sleep()
			m.meet(2*i + 2)
		}
	}()
	rnd := rand.New(rand.NewPCG(3, 4))
	var both, lost, i int
	for end := time.Now().Add(meetingLimit); ; i++ {
		if over = i == rounds || i%256 == 0 && time.Now().After(end); over {
			m.meet(2*i + 1)
			break
		}
		prepare()
		m.meet(2*i + 1)
		pause(publishAfter + rnd.IntN(8))
		told := publish()
		m.meet(2*i + 2)
		switch {
		case told && seen:
			both++
		case !told && !seen:
			lost++
		case told: // sleep was first
			publishAfter = max(publishAfter-1, 0)
		case publishAfter < 4*sleepAfter:
			publishAfter++
		}
		check()
	}
	<-ended
	if lost > 0 {
		m.t.Errorf("%d of %d notifications are lost", lost, i)
	}
	m.t.Logf("of %d rounds, %d met", i, both)
}

// meet waits until both goroutines have come here for the nth time. It yields only
// when the other cannot be running: those who yield often share one processor.
func (m *meeting) meet(n int) {
	m.arrived.Add(1)
	for spin := 1; m.arrived.Load() < uint32(2*n); spin++ {
		if spin%(1<<16) == 0 {
			runtime.Gosched()
		}
	}
}

// pause shifts the two against each other by some nanoseconds.
func pause(n int) {
	for range n {
	}
}

func (m *meeting) add() {
	if _, ok := m.driver.Add([]Buffer{{dataAddr, 8}}, nil); !ok {
		panic("the queue is full")
	}
}

func (m *meeting) take() {
	ok, err := m.device.Pop(&m.chain)
	if !ok || err != nil {
		panic(fmt.Sprint("Pop: ", ok, err))
	}
	m.device.Push(m.chain.Head, 0)
}

func (m *meeting) takeBack() {
	if _, _, ok, err := m.driver.Used(); !ok || err != nil {
		panic(fmt.Sprint("Used: ", ok, err))
	}
}
