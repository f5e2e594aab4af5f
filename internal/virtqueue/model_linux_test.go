package virtqueue

import (
	"encoding/binary"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// model is what must hold of a driver and a device that follow the rules, at
// whatever index they begin, however their steps interleave.
type model struct {
	t      testing.TB
	driver *Driver
	device *Device
	bed    *bed

	indirect bool
	free     int
	stamp    uint32

	added, available, taken, pushed, used []sent // where chains are, oldest first
	chain                                 Chain

	deviceSleeps, driverSleeps bool // asked for a notification, found nothing, got none yet
}

// sent is a chain as it was added.
type sent struct {
	head               uint16
	descriptors        int
	readable, writable []int
	stamp              uint32 // first bytes of the first segment
	written, want      uint32 // by the device; as the driver is told
}

const (
	bufferSpace = 16 // for each descriptor of a chain, direct or indirect
	maxSegments = 6
)

func TestModel(t *testing.T) {
	beds := map[uint16]*bed{}
	for _, size := range []uint16{1, 2, 4, 16} {
		beds[size] = newBed(t, Config{Size: size})
	}
	rapid.Check(t, func(rt *rapid.T) {
		size := rapid.SampledFrom([]uint16{1, 2, 4, 16}).Draw(rt, "size")
		m := &model{t: t, bed: beds[size], free: int(size)}
		m.bed.config.EventIdx = rapid.Bool().Draw(rt, "EVENT_IDX")
		m.indirect = rapid.Bool().Draw(rt, "INDIRECT_DESC")
		m.bed.config.Indirect = m.indirect
		m.bed.config.Base = rapid.SampledFrom([]uint16{0, 1, 32760, 65530, 65535}).Draw(rt, "base")
		clear(m.bed.bytes(t, memBase, dataAddr-memBase))
		m.driver, m.device = m.bed.driver(t), m.bed.device(t)
		rt.Repeat(map[string]func(*rapid.T){
			"":                     m.invariants,
			"driver adds":          m.add,
			"driver publishes":     m.driverPublish,
			"driver takes back":    m.takeBack,
			"driver sleeps":        m.driverSleep,
			"driver is busy":       func(*rapid.T) { m.driver.DisableNotify(); m.driverSleeps = false },
			"device takes":         m.pop,
			"device returns":       m.push,
			"device publishes":     m.devicePublish,
			"device sleeps":        m.deviceSleep,
			"device is busy":       func(*rapid.T) { m.device.DisableNotify(); m.deviceSleeps = false },
			"device is translated": m.translate,
		})
	})
}

func (m *model) invariants(t *rapid.T) {
	if got := m.driver.Free(); got != m.free {
		t.Fatalf("%d free, want %d", got, m.free)
	}
	if got := m.device.HasAvail(); got != (len(m.available) > 0) {
		t.Fatalf("HasAvail %v with %d available", got, len(m.available))
	}
	if n := m.device.BadChains(); n != 0 {
		t.Fatalf("%d bad chains", n)
	}
}

// add puts each segment in space of its own, so that segments of different chains
// cannot be mistaken for each other.
func (m *model) add(t *rapid.T) {
	s := sent{
		readable: rapid.SliceOfN(rapid.IntRange(4, bufferSpace), 0, maxSegments/2).Draw(t, "readable"),
		writable: rapid.SliceOfN(rapid.IntRange(4, bufferSpace), 0, maxSegments/2).Draw(t, "writable"),
		stamp:    m.stamp,
	}
	m.stamp++
	n := len(s.readable) + len(s.writable)
	direct := !m.indirect || rapid.Bool().Draw(t, "direct")
	if s.descriptors = n; !direct {
		s.descriptors = 1
	}
	at := dataAddr + uint64(s.stamp%256)*1024
	var readable, writable []Buffer
	for i, l := range append(append([]int(nil), s.readable...), s.writable...) {
		b := Buffer{Addr: at + uint64(i)*bufferSpace, Len: uint32(l)}
		if i == 0 {
			binary.LittleEndian.PutUint32(m.bed.bytes(m.t, b.Addr, 4), s.stamp)
		}
		if i < len(s.readable) {
			readable = append(readable, b)
		} else {
			writable = append(writable, b)
			s.want += b.Len
		}
	}

	var ok bool
	switch {
	case n == 0 || n > int(m.bed.config.Size) && !direct:
		return // the rules forbid it
	case direct:
		s.head, ok = m.driver.Add(readable, writable)
	default:
		// Driver makes no indirect chains: this turns the buffer of a direct one into a table.
		table := at + 512
		for i, b := range append(readable, writable...) {
			d := descriptor{addr: b.Addr, len: b.Len, flags: flagNext, next: uint16(i + 1)}
			if i >= len(readable) {
				d.flags |= flagWrite
			}
			if i == n-1 {
				d.flags &^= flagNext
			}
			d.write(m.bed.bytes(m.t, table, uint64(n*descSize)), i)
		}
		if s.head, ok = m.driver.Add([]Buffer{{table, uint32(n * descSize)}}, nil); ok {
			d := readDescriptor(m.driver.desc, int(s.head))
			d.flags |= flagIndirect
			d.write(m.driver.desc, int(s.head))
		}
		s.want = 0 // Driver knows nothing of what is writable there
	}
	if want := s.descriptors <= m.free; ok != want {
		t.Fatalf("added %v with %d of %d descriptors free", ok, m.free, s.descriptors)
	}
	if ok {
		m.free -= s.descriptors
		m.added = append(m.added, s)
	}
}

func (m *model) driverPublish(t *rapid.T) {
	news := len(m.added) > 0
	m.available, m.added = append(m.available, m.added...), nil
	kick := m.driver.Publish()
	if m.deviceSleeps && news && !kick {
		t.Fatal("no kick: the device sleeps for ever")
	}
	if kick && !news {
		t.Fatal("a kick for nothing")
	}
	if kick {
		m.deviceSleeps = false
	}
}

func (m *model) pop(t *rapid.T) {
	ok, err := m.device.Pop(&m.chain)
	if err != nil || ok != (len(m.available) > 0) {
		t.Fatalf("Pop: %v, %v with %d available", ok, err, len(m.available))
	}
	if !ok {
		return
	}
	s := m.available[0]
	m.available = m.available[1:]
	c := &m.chain
	if c.Head != s.head {
		t.Fatalf("chain %d, want %d", c.Head, s.head)
	}
	if d := cmp.Diff([][]int{s.readable, s.writable}, [][]int{lengths(c.Readable), lengths(c.Writable)}, cmp.Transformer("nil", func(a []int) []int { return append([]int{}, a...) })); d != "" {
		t.Fatalf("segments (-want +got):\n%s", d)
	}
	checkChain(m.t, c, int(m.bed.config.Size))
	first := append(append([][]byte(nil), c.Readable...), c.Writable...)[0]
	if got := binary.LittleEndian.Uint32(first); got != s.stamp {
		t.Fatalf("these are the bytes of chain number %d, want %d", got, s.stamp)
	}
	m.taken = append(m.taken, s)
}

// push returns any of the chains, not only the oldest.
func (m *model) push(t *rapid.T) {
	if len(m.taken) == 0 {
		return
	}
	i := rapid.IntRange(0, len(m.taken)-1).Draw(t, "which")
	s := m.taken[i]
	m.taken = append(m.taken[:i:i], m.taken[i+1:]...)
	s.written = rapid.Uint32().Draw(t, "written")
	s.want = min(s.want, s.written)
	m.device.Push(s.head, s.written)
	m.pushed = append(m.pushed, s)
}

func (m *model) devicePublish(t *rapid.T) {
	news := len(m.pushed) > 0
	m.used, m.pushed = append(m.used, m.pushed...), nil
	signal := m.device.Publish()
	if m.driverSleeps && news && !signal {
		t.Fatal("no signal: the driver sleeps for ever")
	}
	if signal && !news {
		t.Fatal("a signal for nothing")
	}
	if signal {
		m.driverSleeps = false
	}
}

func (m *model) takeBack(t *rapid.T) {
	head, written, ok, err := m.driver.Used()
	if err != nil || ok != (len(m.used) > 0) {
		t.Fatalf("Used: %v, %v with %d there", ok, err, len(m.used))
	}
	if !ok {
		return
	}
	s := m.used[0]
	m.used = m.used[1:]
	if head != s.head || written != s.want {
		t.Fatalf("chain %d with %d bytes, want %d with %d", head, written, s.head, s.want)
	}
	m.free += s.descriptors
}

func (m *model) driverSleep(t *rapid.T) {
	there := m.driver.EnableNotify()
	if there != (len(m.used) > 0) {
		t.Fatalf("EnableNotify: %v with %d used", there, len(m.used))
	}
	m.driverSleeps = !there
}

func (m *model) deviceSleep(t *rapid.T) {
	there := m.device.EnableNotify()
	if there != (len(m.available) > 0) {
		t.Fatalf("EnableNotify: %v with %d available", there, len(m.available))
	}
	m.deviceSleeps = !there
}

// translate puts a new Device where the old one stands, as for a new memory table.
func (m *model) translate(*rapid.T) {
	if len(m.taken)+len(m.pushed) > 0 {
		return
	}
	c := m.bed.config
	c.Base = m.device.Base()
	q, err := NewDevice(m.bed.mem, c)
	if err != nil {
		m.t.Fatal(err)
	}
	m.device = q
}
