package bench

import (
	"bytes"
	"testing"
	"time"
)

func TestRequest(t *testing.T) {
	for name, tc := range map[string]struct {
		r  request
		ok bool
	}{
		"receive":        {request{OpReceive, 64, time.Second}, true},
		"largest":        {request{OpSend, MaxBlock, MaxTime}, true},
		"answer":         {request{OpAnswer, 1, 0}, true},
		"no op":          {request{0, 64, time.Second}, false},
		"unknown op":     {request{OpAnswer + 1, 64, time.Second}, false},
		"empty block":    {request{OpEcho, 0, time.Second}, false},
		"block too big":  {request{OpEcho, MaxBlock + 1, time.Second}, false},
		"too long":       {request{OpEcho, 64, MaxTime + 1}, false},
		"negative time":  {request{OpEcho, 64, -1}, false},
		"a timed answer": {request{OpAnswer, 1, 1}, false},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parseRequest((*[messageSize]byte)(tc.r.append(nil)))
			if (err == nil) != tc.ok {
				t.Fatalf("error %v, want it valid: %v", err, tc.ok)
			}
			if tc.ok && got != tc.r {
				t.Errorf("got %+v, want %+v", got, tc.r)
			}
		})
	}
}

// FuzzMessages takes only what append gives, byte for byte.
func FuzzMessages(f *testing.F) {
	f.Add(request{OpEcho, 64, time.Second}.append(nil))
	f.Add(report{1 << 40, 7, time.Hour}.append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) != messageSize {
			return
		}
		msg := (*[messageSize]byte)(b)
		if r, err := parseRequest(msg); err == nil && !bytes.Equal(r.append(nil), b) {
			t.Errorf("request %x is taken for %+v", b, r)
		}
		if r, err := parseReport(msg); err == nil && !bytes.Equal(r.append(nil), b) {
			t.Errorf("report %x is taken for %+v", b, r)
		}
	})
}

// FuzzScan finds the end of the last block, however the bytes are cut.
func FuzzScan(f *testing.F) {
	f.Add(uint16(64), uint16(3), uint16(10), true)
	f.Add(uint16(1), uint16(200), uint16(64), true)
	f.Add(uint16(4096), uint16(1), uint16(4095), false)
	f.Fuzz(func(t *testing.T, block, blocks, cut uint16, reported bool) {
		if block == 0 || blocks == 0 || cut == 0 || int(block)*int(blocks) > 1<<18 || int(block)*int(blocks)/int(cut) > 1<<12 {
			return
		}
		n := int(block) * int(blocks)
		all := bytes.Repeat([]byte{0}, n)
		all[n-int(block)] = 1
		var tail []byte
		if reported {
			tail = report{bytes: uint64(n)}.append(nil)
			all = append(all, tail...)
		}
		last := false
		for off := 0; off < len(all); off += int(cut) {
			b := all[off:min(off+int(cut), len(all))]
			rest, done := scan(b, uint64(off), uint64(block), &last)
			if end := off + len(b); done != (end >= n) {
				t.Fatalf("bytes %d to %d of %d: done is %v", off, end, n, done)
			} else if done {
				if !bytes.Equal(rest, all[n:end]) {
					t.Fatalf("rest is %d bytes, want %d", len(rest), end-n)
				}
				return
			}
		}
	})
}
