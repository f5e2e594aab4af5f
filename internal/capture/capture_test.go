package capture

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"vsockets.dev/internal/packet"
)

func header(op packet.Op, n uint32) packet.Header {
	return packet.Header{SrcCID: 3, SrcPort: 5000, DstCID: 2, DstPort: 1024, Len: n, Type: packet.TypeStream, Op: op, BufAlloc: 65536, FwdCnt: 7}
}

var stamp = time.Unix(1_700_000_000, 123_456_789)

func TestFile(t *testing.T) {
	want := []Packet{
		{Time: stamp, Header: header(packet.OpRequest, 0)},
		{Time: stamp.Add(1), Header: header(packet.OpRW, 5), Payload: []byte("hello")},
		{Time: stamp.Add(2), Header: header(packet.OpRW, 60000), Payload: []byte("cut")},
		{Time: stamp.Add(3), Header: header(packet.OpReset, 0)},
	}
	var file bytes.Buffer
	w, err := NewWriter(&file, 5)
	if err != nil {
		t.Fatal(err)
	}
	for i := range want {
		if err := w.Write(&want[i]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Dropped(stamp, 9); err != nil {
		t.Fatal(err)
	}
	whole := file.Bytes()
	r := NewReader(bytes.NewReader(whole))
	for i := range want {
		got, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		if !got.Time.Equal(want[i].Time) || got.Header != want[i].Header || !bytes.Equal(got.Payload, want[i].Payload) {
			t.Errorf("%s", cmp.Diff(want[i], got))
		}
	}
	if _, err := r.Next(); !errors.Is(err, io.EOF) || r.Dropped != 9 {
		t.Errorf("%v, %d dropped", err, r.Dropped)
	}

	// Cut anywhere, it is an end or an error, and never a packet that was not there.
	for n := range whole {
		r := NewReader(bytes.NewReader(whole[:n]))
		for i := 0; ; i++ {
			p, err := r.Next()
			if err != nil {
				break
			}
			if p.Header != want[i].Header {
				t.Fatalf("cut at %d: %v", n, &p.Header)
			}
		}
	}
}

func TestFilter(t *testing.T) {
	rw, rst := header(packet.OpRW, 100), header(packet.OpReset, 0)
	for s, want := range map[string][2]bool{ // of rw and rst
		"":                            {true, true},
		"cid 3":                       {true, true},
		"cid host":                    {true, true},
		"src cid 2":                   {false, false},
		"dst cid 2":                   {true, true},
		"port 1024":                   {true, true},
		"src port 1024":               {false, false},
		"dst port 1024":               {true, true},
		"op rw":                       {true, false},
		"op RST":                      {false, true},
		"not op rst":                  {true, false},
		"type stream":                 {true, true},
		"type seqpacket":              {false, false},
		"len 100":                     {true, false},
		"len 101":                     {false, false},
		"op rw or op rst":             {true, true},
		"op rw and op rst":            {false, false},
		"cid 9 and cid 3 or op rst":   {false, true},
		"cid 9 and (cid 3 or op rst)": {false, false},
		"not (op rw or cid 9)":        {false, true},
		"not not op rw":               {true, false},
	} {
		f, err := ParseFilter(s)
		if err != nil {
			t.Errorf("%q: %v", s, err)
			continue
		}
		if got := [2]bool{f(&rw), f(&rst)}; got != want {
			t.Errorf("%q: %v, want %v", s, got, want)
		}
	}
	for s, want := range map[string]string{
		"cid":                         "missing at the end",
		"cid x":                       "no CID",
		"port 70000000000":            "no number",
		"op open":                     "no operation",
		"type raw":                    "no type",
		"src op rw":                   "src and dst",
		"host 3":                      "not understood",
		"cid 3 cid 4":                 "join",
		"(cid 3":                      ") is missing",
		"cid 3)":                      "not understood",
		"cid 3 and":                   "missing at the end",
		strings.Repeat("not ", 100):   "nested",
		strings.Repeat("(", 1000):     "nested",
		strings.Repeat("cid 3 ", 1e3): "at most",
	} {
		if _, err := ParseFilter(s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v, want %q", s, err, want)
		}
	}
}

func TestLine(t *testing.T) {
	shut := header(packet.OpShutdown, 0)
	shut.Flags = packet.ShutdownBoth
	p := Packet{Time: stamp, Header: shut}
	if got := p.Line(); !strings.HasSuffix(got, "3:5000 > 2:1024 stream SHUTDOWN [receive,send] buf=65536 fwd=7") {
		t.Error(got)
	}
	p.Header = header(packet.OpRW, 12)
	if got := p.Line(); !strings.HasSuffix(got, " RW len=12 buf=65536 fwd=7") {
		t.Error(got)
	}
}

func FuzzFilter(f *testing.F) {
	f.Add("src cid 3 and (port 7 or not op rw)")
	f.Fuzz(func(_ *testing.T, s string) {
		if want, err := ParseFilter(s); err == nil {
			h := header(packet.OpRW, 3)
			want(&h)
		}
	})
}

func FuzzReader(f *testing.F) {
	var file bytes.Buffer
	w, _ := NewWriter(&file, 5)
	_ = w.Write(&Packet{Time: stamp, Header: header(packet.OpRW, 5), Payload: []byte("hello")})
	_ = w.Dropped(stamp, 1)
	f.Add(file.Bytes())
	f.Fuzz(func(_ *testing.T, b []byte) {
		r := NewReader(bytes.NewReader(b))
		for {
			p, err := r.Next()
			if err != nil {
				return
			}
			_ = p.Line()
		}
	})
}
