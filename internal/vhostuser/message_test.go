package vhostuser

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"vsockets.dev/internal/guestmem"
)

var testRegions = []guestmem.Region{
	{GuestAddr: 0, Size: 0xa0000, UserAddr: 0x7f0000000000, MmapOffset: 0},
	{GuestAddr: 0xc0000, Size: 0x1000000, UserAddr: 0x7f00000c0000, MmapOffset: 0xc0000},
}

// payloads are one of each kind, with the function that decodes and encodes it again.
var payloads = map[string]struct {
	encoded []byte
	again   func([]byte) ([]byte, error)
}{
	"u64": {AppendU64(nil, 0x0123456789abcdef), func(b []byte) ([]byte, error) {
		v, err := ParseU64(b)
		return AppendU64(nil, v), err
	}},
	"vring state": {VringState{Index: 2, Num: 256}.Append(nil), func(b []byte) ([]byte, error) {
		v, err := ParseVringState(b)
		return v.Append(nil), err
	}},
	"vring addr": {VringAddr{Index: 1, Flags: 1, Desc: 2, Used: 3, Avail: 4, Log: 5}.Append(nil), func(b []byte) ([]byte, error) {
		v, err := ParseVringAddr(b)
		return v.Append(nil), err
	}},
	"vring fd": {VringFD{Index: 255, NoFD: true}.Append(nil), func(b []byte) ([]byte, error) {
		v, err := ParseVringFD(b)
		return v.Append(nil), err
	}},
	"mem table": {AppendMemTable(nil, testRegions), func(b []byte) ([]byte, error) {
		v, err := ParseMemTable(b)
		return AppendMemTable(nil, v), err
	}},
	"config": {Config{Offset: 1, Flags: 2, Data: []byte("12345678")}.Append(nil), func(b []byte) ([]byte, error) {
		v, err := ParseConfig(b)
		return v.Append(nil), err
	}},
	"header": {Header{Request: GetConfig, Flags: version | flagNeedReply, Size: MaxPayload}.Append(nil), func(b []byte) ([]byte, error) {
		v, err := ParseHeader(b)
		return v.Append(nil), err
	}},
}

func TestPayloads(t *testing.T) {
	for name, p := range payloads {
		t.Run(name, func(t *testing.T) {
			got, err := p.again(p.encoded)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(p.encoded, got); diff != "" {
				t.Errorf("decoded and encoded again (-want +got):\n%s", diff)
			}
			for n := range p.encoded {
				if _, err := p.again(p.encoded[:n:n]); err == nil {
					t.Errorf("the first %d of %d bytes are accepted", n, len(p.encoded))
				}
			}
			if name == "header" {
				return // the payload follows
			}
			if _, err := p.again(append(bytes.Clone(p.encoded), 0)); err == nil {
				t.Error("a byte too many is accepted")
			}
		})
	}
}

// TestLayout holds encoders against bytes written down from the specification,
// for a little-endian machine.
func TestLayout(t *testing.T) {
	if wire.Uint16([]byte{1, 0}) != 1 {
		t.Skip("a big-endian machine")
	}
	for name, tt := range map[string]struct{ got, want []byte }{
		"header":    {Header{Request: SetVringKick, Flags: version | flagNeedReply, Size: 8}.Append(nil), []byte{12, 0, 0, 0, 9, 0, 0, 0, 8, 0, 0, 0}},
		"vring fd":  {VringFD{Index: 3, NoFD: true}.Append(nil), []byte{3, 1, 0, 0, 0, 0, 0, 0}},
		"mem table": {AppendMemTable(nil, []guestmem.Region{{GuestAddr: 1, Size: 2, UserAddr: 3, MmapOffset: 4}}), []byte{1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0}},
		"config":    {Config{Offset: 1, Flags: 2, Data: []byte{7}}.Append(nil), []byte{1, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 7}},
		"vring addr": {VringAddr{Index: 1, Flags: 2, Desc: 3, Used: 4, Avail: 5, Log: 6}.Append(nil), []byte{
			1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0}},
	} {
		if diff := cmp.Diff(tt.want, tt.got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestParseHeaderRefuses(t *testing.T) {
	for name, h := range map[string]Header{
		"version 0":       {Request: GetFeatures, Flags: 0},
		"version 2":       {Request: GetFeatures, Flags: 2},
		"unknown flag":    {Request: GetFeatures, Flags: version | 1<<4},
		"payload too big": {Request: GetFeatures, Flags: version, Size: MaxPayload + 1},
		"payload huge":    {Request: GetFeatures, Flags: version, Size: 0xffffffff},
	} {
		if got, err := ParseHeader(h.Append(nil)); err == nil {
			t.Errorf("%s: accepted as %+v", name, got)
		}
	}
}

func TestParseMemTable(t *testing.T) {
	table := func(n uint32, room int) []byte {
		return append(wire.AppendUint32(nil, n), make([]byte, 4+room)...)
	}
	for name, tt := range map[string]struct {
		b  []byte
		ok bool
	}{
		"none":              {table(0, regionSize), false},
		"one":               {table(1, regionSize), true},
		"one, room for two": {table(1, 2*regionSize), true}, // as User Mode Linux sends it
		"one and a half":    {table(1, regionSize*3/2), false},
		"two, room for one": {table(2, regionSize), false},
		"eight":             {table(8, 8*regionSize), true},
		"eight, room for 9": {table(8, 9*regionSize), false},
		"nine":              {table(9, 9*regionSize), false},
		"2^32-1":            {table(0xffffffff, regionSize), false},
		"2^27: overflows":   {table(1<<27, 0), false},
		"no room":           {table(1, 0), false},
		"no padding":        {wire.AppendUint32(nil, 1), false},
	} {
		if _, err := ParseMemTable(tt.b); (err == nil) != tt.ok {
			t.Errorf("%s: error %v, want success %v", name, err, tt.ok)
		}
	}
}

func TestParseConfigRefuses(t *testing.T) {
	for name, b := range map[string][]byte{
		"fewer than told":  append(wire.AppendUint32(wire.AppendUint32(nil, 0), 9), make([]byte, 4+8)...),
		"more than told":   append(wire.AppendUint32(wire.AppendUint32(nil, 0), 7), make([]byte, 4+8)...),
		"huge":             append(wire.AppendUint32(wire.AppendUint32(nil, 0), 0xffffffff), make([]byte, 4)...),
		"over the maximum": Config{Data: make([]byte, MaxConfig+1)}.Append(nil),
	} {
		if c, err := ParseConfig(b); err == nil {
			t.Errorf("%s: accepted as %+v", name, c)
		}
	}
}

func TestParseVringFDRefuses(t *testing.T) {
	for _, v := range []uint64{1 << 9, 1 << 32, 1 << 63} {
		if got, err := ParseVringFD(AppendU64(nil, v)); err == nil {
			t.Errorf("%#x: accepted as %+v", v, got)
		}
	}
}

func TestCheckRequest(t *testing.T) {
	for r, s := range shapes {
		for size := range uint32(MaxPayload + 1) {
			want := int(size) >= s.minSize && int(size) <= s.maxSize
			if err := checkRequest(Header{Request: r, Flags: version, Size: size}, 0); (err == nil) != want {
				t.Errorf("%v with %d bytes: error %v, want success %v", r, size, err, want)
			}
		}
		for fds := range MaxRegions + 1 {
			want := fds <= s.maxFDs
			if err := checkRequest(Header{Request: r, Flags: version, Size: uint32(s.minSize)}, fds); (err == nil) != want {
				t.Errorf("%v with %d descriptors: error %v, want success %v", r, fds, err, want)
			}
		}
		if err := checkRequest(Header{Request: r, Flags: version | flagReply, Size: uint32(s.minSize)}, 0); err == nil {
			t.Errorf("%v as a reply is accepted", r)
		}
	}
}

// FuzzMessage has every parser read the same bytes. What one accepts, it must
// encode again to the same meaning.
func FuzzMessage(f *testing.F) {
	for _, p := range payloads {
		f.Add(p.encoded)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for name, p := range payloads {
			once, err := p.again(b)
			if err != nil {
				continue
			}
			twice, err := p.again(once)
			if err != nil || !bytes.Equal(once, twice) {
				t.Errorf("%s: %x becomes %x, then %x, %v", name, b, once, twice, err)
			}
		}
	})
}

func ExampleRequest_String() {
	fmt.Println(SetMemTable, Request(99))
	// Output: SET_MEM_TABLE request(99)
}
