package hybrid

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// split gives a text in two reads, cut at a place.
func split(text string, at int) io.Reader {
	return io.MultiReader(strings.NewReader(text[:at]), strings.NewReader(text[at:]))
}

func TestReadRequest(t *testing.T) {
	for _, tc := range []struct {
		text string
		port uint32
		rest string
		ok   bool
	}{
		{text: "CONNECT 52\n", port: 52, ok: true},
		{text: "CONNECT 0\n", port: 0, ok: true},
		{text: "CONNECT 4294967295\n", port: 4294967295, ok: true},
		{text: "CONNECT 4294967295\r\n", port: 4294967295, ok: true},
		{text: "CONNECT 52\r\n", port: 52, ok: true},
		{text: "connect 52\n", port: 52, ok: true},
		{text: "CONNECT 52\nGET / HTTP/1.1\r\n", port: 52, rest: "GET / HTTP/1.1\r\n", ok: true},
		{text: "CONNECT 1\nCONNECT 2\n", port: 1, rest: "CONNECT 2\n", ok: true},
		{text: "CONNECT 1\n\n", port: 1, rest: "\n", ok: true},
		{text: "CONNECT 4294967296\n"},
		{text: "CONNECT 18446744073709551668\n"},
		{text: "CONNECT -1\n"},
		{text: "CONNECT +1\n"},
		{text: "CONNECT 0x10\n"},
		{text: "CONNECT 1_0\n"},
		{text: "CONNECT  1\n"},
		{text: "CONNECT 1 \n"},
		{text: "CONNECT 1\r\r\n"},
		{text: "CONNECT\t1\n"},
		{text: "CONNECT1\n"},
		{text: "CONNECT \n"},
		{text: "CONNECT\n"},
		{text: "\n"},
		{text: " CONNECT 1\n"},
		{text: "GET / HTTP/1.1\r\n"},
		{text: "OK 1\n"},
		{text: "\x00\xff\xfe\n"},
		{text: ""},
		{text: "CONNECT 52"},
		{text: "CONNECT 00000000000000000052\n"},
		{text: strings.Repeat("x", 1<<16)},
	} {
		for at := range min(len(tc.text), 64) + 1 {
			r := split(tc.text, at)
			port, rest, err := readRequest(r)
			if (err == nil) != tc.ok {
				t.Fatalf("%.40q cut at %d: %v", tc.text, at, err)
			}
			if err != nil {
				continue
			}
			behind, _ := io.ReadAll(r) // what was not read is still there
			if rest := string(rest) + string(behind); port != tc.port || rest != tc.rest {
				t.Errorf("%q cut at %d: port %d and %q, want %d and %q", tc.text, at, port, rest, tc.port, tc.rest)
			}
		}
	}
}

// TestReadRequestOneByOne reads single bytes.
func TestReadRequestOneByOne(t *testing.T) {
	r := iotest.OneByteReader(strings.NewReader("CONNECT 1024\nrest"))
	port, rest, err := readRequest(r)
	if port != 1024 || len(rest) != 0 || err != nil {
		t.Errorf("%d, %q, %v", port, rest, err)
	}
}

func TestReadRequestErrors(t *testing.T) {
	broken := errors.New("broken")
	for _, tc := range []struct {
		r    io.Reader
		want error
	}{
		{strings.NewReader("CONNECT "), errNoLine},
		{strings.NewReader(strings.Repeat("9", 100)), errTooLong},
		{io.MultiReader(strings.NewReader("CONN"), iotest.ErrReader(broken)), broken},
	} {
		if _, _, err := readRequest(tc.r); !errors.Is(err, tc.want) {
			t.Errorf("%v, want %v", err, tc.want)
		}
	}
}

// FuzzLine holds a line against its parts: it is one if, and only if, it can be put
// together again.
func FuzzLine(f *testing.F) {
	for _, s := range []string{"CONNECT 52\n", "CONNECT 4294967295\r\n", "connect 1\nrest", "CONNECT 4294967296\n", "\n", "OK 1\n"} {
		f.Add([]byte(s), 3)
	}
	f.Fuzz(func(t *testing.T, in []byte, at int) {
		at = min(max(at, 0), len(in))
		r := split(string(in), at)
		port, rest, err := readRequest(r)
		if err != nil {
			return
		}
		behind, _ := io.ReadAll(r)
		end := bytes.IndexByte(in, '\n')
		if got := append(rest, behind...); !bytes.Equal(got, in[end+1:]) {
			t.Fatalf("rest %q of %q", got, in)
		}
		digits := strings.TrimLeft(strings.TrimSuffix(string(in[len(verbConnect):end]), "\r"), "0")
		if want := strings.TrimLeft(string(formatLine("", port)), "0"); digits+"\n" != want {
			t.Fatalf("port %d of %q", port, in)
		}
	})
}
