package packet

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// sample has a different value in every field, so that a swapped offset shows.
var sample = Header{
	SrcCID: 0x0807060504030201, DstCID: 0x100f0e0d0c0b0a09,
	SrcPort: 0x14131211, DstPort: 0x18171615, Len: 0x1c1b1a19,
	Type: 0x1e1d, Op: 0x201f, Flags: 0x24232221, BufAlloc: 0x28272625, FwdCnt: 0x2c2b2a29,
}

func TestWireLayout(t *testing.T) {
	var want []byte
	for i := byte(1); i <= HeaderSize; i++ {
		want = append(want, i)
	}
	if got := sample.Append(nil); string(got) != string(want) {
		t.Errorf("encoded:\n%s\nwant:\n%s", hex.Dump(got), hex.Dump(want))
	}
	got, err := Parse(want)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(sample, got); d != "" {
		t.Errorf("decoded (-want +got):\n%s", d)
	}
}

func TestParseTruncated(t *testing.T) {
	enc := sample.Append(nil)
	for n := range enc {
		if _, err := Parse(enc[:n]); err == nil {
			t.Errorf("Parse of %d bytes succeeded", n)
		}
	}
}

func TestKnown(t *testing.T) {
	for typ := range Type(1 << 4) {
		for op := range Op(1 << 4) {
			h := Header{Type: typ, Op: op}
			if want := typ >= 1 && typ <= 3 && op >= 1 && op <= 7; h.Known() != want {
				t.Errorf("%v %v: known %v", typ, op, !want)
			}
		}
	}
	if h := (Header{Type: 1<<16 - 1, Op: OpRW}); h.Known() {
		t.Error("the largest type is known")
	}
}

func TestReply(t *testing.T) {
	h := Header{SrcCID: 3, DstCID: 2, SrcPort: 9, DstPort: 80, Len: 5, Type: TypeStream, Op: OpRW, Flags: 1, BufAlloc: 7, FwdCnt: 8}
	want := Header{SrcCID: 2, DstCID: 3, SrcPort: 80, DstPort: 9, Type: TypeStream, Op: OpReset}
	if d := cmp.Diff(want, h.Reply(OpReset)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestPart(t *testing.T) {
	h := Header{Op: OpRW, Len: 10, Flags: EndOfMessage | EndOfRecord}
	for _, tc := range []struct {
		off, n int
		flags  uint32
	}{{0, 10, h.Flags}, {0, 9, 0}, {3, 6, 0}, {3, 7, h.Flags}} {
		want := h
		want.Len, want.Flags = uint32(tc.n), tc.flags
		if got := h.Part(tc.off, tc.n); got != want {
			t.Errorf("from %d, %d bytes: %v, want %v", tc.off, tc.n, &got, &want)
		}
	}
	shutdown := Header{Op: OpShutdown, Flags: ShutdownBoth}
	if got := shutdown.Part(0, 0); got != shutdown {
		t.Errorf("%v, want %v", &got, &shutdown)
	}
}

func TestString(t *testing.T) {
	h := Header{SrcCID: 3, DstCID: 2, SrcPort: 9, DstPort: 80, Len: 5, Type: TypeSeqpacket, Op: OpRW, Flags: 3}
	if got, want := h.String(), "3:9 > 2:80 seqpacket RW len=5 flags=0x3 buf_alloc=0 fwd_cnt=0"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	for _, s := range []string{Op(99).String(), Type(99).String()} {
		if !strings.Contains(s, "99") {
			t.Errorf("unknown value prints as %q", s)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(sample.Append(nil))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := Parse(b)
		if err != nil {
			if len(b) >= HeaderSize {
				t.Fatalf("%d bytes refused: %v", len(b), err)
			}
			return
		}
		if got := h.Append(nil); string(got) != string(b[:HeaderSize]) {
			t.Fatalf("round trip: %x, want %x", got, b[:HeaderSize])
		}
		_ = h.String()
	})
}
