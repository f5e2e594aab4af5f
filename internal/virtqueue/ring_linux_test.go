package virtqueue

import (
	"fmt"
	"math"
	"strings"
	"testing"
)

func TestConfigRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		change func(c *Config)
		want   string
	}{
		"size 0":                 {func(c *Config) { c.Size = 0 }, "size 0"},
		"size 3":                 {func(c *Config) { c.Size = 3 }, "size 3"},
		"size over the limit":    {func(c *Config) { c.Size = 2 * MaxSize }, "size 2048"},
		"largest size":           {func(c *Config) { c.Size = math.MaxUint16 }, "size 65535"},
		"table not aligned":      {func(c *Config) { c.Desc += 8 }, "descriptor table at 0x100008 is not aligned to the 16"},
		"available not aligned":  {func(c *Config) { c.Avail += 2 }, "is not aligned to the 4"},
		"used not aligned":       {func(c *Config) { c.Used += 2 }, "is not aligned to the 4"},
		"table nowhere":          {func(c *Config) { c.Desc = 0 }, "descriptor table of 128 bytes at 0x0 lies outside"},
		"available nowhere":      {func(c *Config) { c.Avail = math.MaxUint64 - 3 }, "available ring"},
		"used nowhere":           {func(c *Config) { c.Used = memEnd }, "used ring"},
		"table ends outside":     {func(c *Config) { c.Desc = memEnd - 8*16 + 16 }, "descriptor table"},
		"used_event outside":     {func(c *Config) { c.Avail = memEnd - 4 - 2*8 }, "available ring"},
		"avail_event outside":    {func(c *Config) { c.Used = memEnd - 4 - 8*8 }, "used ring"},
		"guest address for user": {func(c *Config) { c.Desc, c.Avail, c.Used = 0, 1024, 2048 }, "outside"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBed(t, Config{Size: 8})
			c.change(&b.config)
			_, err := NewDevice(b.mem, b.config)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("device: error %v does not tell of %q", err, c.want)
			}
			if _, err := NewDriver(b.mem, b.config); err == nil {
				t.Error("driver: no error")
			}
		})
	}
}

// A queue of each size works where Layout puts it, and up to the end of the memory.
func TestLayout(t *testing.T) {
	for size := uint16(1); size <= MaxSize; size *= 2 {
		desc, avail, used, total := Layout(size)
		n := uint64(size)
		if desc%16 != 0 || avail%64 != 0 || used%64 != 0 {
			t.Errorf("size %d: parts at %d, %d, %d", size, desc, avail, used)
		}
		if avail < desc+16*n || used < avail+6+2*n || total < used+6+8*n {
			t.Errorf("size %d: parts at %d, %d, %d up to %d overlap", size, desc, avail, used, total)
		}
		b := newBed(t, Config{Size: size})
		at := memEnd - total
		b.config.Desc, b.config.Avail, b.config.Used = at+desc, at+avail, at+used
		b.device(t)
	}
}

func TestAvailableIndex(t *testing.T) {
	for _, base := range []uint16{0, 1, 65530, 65535} {
		for _, c := range []struct {
			by uint16 // how far the index is ahead of what was taken
			ok bool
		}{{0, true}, {1, true}, {8, true}, {9, false}, {0x8000, false}, {math.MaxUint16, false}} {
			t.Run(fmt.Sprintf("base %d by %d", base, c.by), func(t *testing.T) {
				b := newBed(t, Config{Size: 8, Base: base})
				p, q := b.peer(t), b.device(t)
				for i, d := range row(1) {
					d.write(p.desc, i)
				}
				p.availHead.Store(uint32(base+c.by) << 16)
				var ch Chain
				for i := range c.by {
					ok, err := q.Pop(&ch)
					if (err == nil) != c.ok {
						t.Fatalf("Pop %d: error %v", i, err)
					}
					if err != nil {
						if !strings.Contains(err.Error(), "jumps") {
							t.Errorf("error %q", err)
						}
						return
					}
					if !ok {
						t.Fatalf("Pop %d: nothing", i)
					}
				}
				if ok, err := q.Pop(&ch); ok || err != nil {
					t.Errorf("behind the last: %v, %v", ok, err)
				}
				if q.HasAvail() || q.Base() != base+c.by {
					t.Errorf("available %v, base %d", q.HasAvail(), q.Base())
				}
			})
		}
	}
}

// needEvent, against counting: going from old to now, index by index, is the one
// that was waited for passed?
func TestNeedEvent(t *testing.T) {
	for _, old := range []uint16{0, 1, 100, 32767, 32768, 65533, 65534, 65535} {
		for by := range uint16(6) {
			for event := old - 4; event != old+10; event++ {
				want := false
				for i := range by {
					want = want || old+i == event
				}
				if got := needEvent(event, old+by, old); got != want {
					t.Errorf("event %d from %d to %d: %v", event, old, old+by, got)
				}
			}
		}
	}
}

// An event shares its word with bytes that are none of ours.
func TestEventKeepsTheRest(t *testing.T) {
	b := newBed(t, Config{Size: 8})
	for _, off := range []int{0, 2, 4, 6} {
		mem := b.bytes(t, dataAddr, 8)
		for i := range mem {
			mem[i] = 0xaa
		}
		e, ok := newEvent(mem, off)
		if !ok {
			t.Fatalf("offset %d: not there", off)
		}
		e.store(0x1234)
		if got := e.load(); got != 0x1234 {
			t.Errorf("offset %d: loads %#x", off, got)
		}
		for i, v := range mem {
			want := byte(0xaa)
			switch i {
			case off:
				want = 0x34
			case off + 1:
				want = 0x12
			}
			if v != want {
				t.Errorf("offset %d: byte %d is %#x, want %#x", off, i, v, want)
			}
		}
	}
	if _, ok := newEvent(b.bytes(t, dataAddr, 8)[:6], 4); ok {
		t.Error("an event whose word is cut")
	}
}
