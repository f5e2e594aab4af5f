package vsock_test

import (
	"encoding"
	"encoding/json"
	"flag"
	"net"
	"strings"
	"testing"

	"vsockets.dev/vsock"
)

var (
	_ net.Addr                 = vsock.Addr{}
	_ encoding.TextMarshaler   = vsock.Addr{}
	_ encoding.TextUnmarshaler = (*vsock.Addr)(nil)
	_ flag.Value               = (*vsock.Addr)(nil)
)

func TestAddrText(t *testing.T) {
	want := vsock.Addr{CID: vsock.CIDAny, Port: 1024}
	b, err := json.Marshal(want)
	if string(b) != `"any:1024"` || err != nil {
		t.Errorf("marshalled: %s, %v", b, err)
	}
	var got vsock.Addr
	if err := json.Unmarshal([]byte(`"vsock:any:1024"`), &got); got != want || err != nil {
		t.Errorf("unmarshalled: %v, %v", got, err)
	}
	if err := json.Unmarshal([]byte(`"nobody:1024"`), &got); got != want || err == nil {
		t.Errorf("a bad address: %v, %v; want it left alone, and an error", got, err)
	}
	flags := flag.NewFlagSet("", flag.ContinueOnError)
	flags.Var(&got, "to", "")
	if err := flags.Parse([]string{"-to", "host:7"}); got != (vsock.Addr{CID: 2, Port: 7}) || err != nil {
		t.Errorf("flag: %v, %v", got, err)
	}
}

func TestParseAddr(t *testing.T) {
	for _, tc := range []struct {
		in   string
		want vsock.Addr
	}{
		{"3:1024", vsock.Addr{CID: 3, Port: 1024}},
		{"vsock:3:1024", vsock.Addr{CID: 3, Port: 1024}},
		{"vsock://3:1024", vsock.Addr{CID: 3, Port: 1024}},
		{"any:any", vsock.Addr{CID: vsock.CIDAny, Port: vsock.PortAny}},
		{"host:80", vsock.Addr{CID: 2, Port: 80}},
		{"local:80", vsock.Addr{CID: 1, Port: 80}},
		{"hypervisor:0", vsock.Addr{}},
		{"4294967295:4294967295", vsock.Addr{CID: vsock.CIDAny, Port: vsock.PortAny}},
	} {
		got, err := vsock.ParseAddr(tc.in)
		if got != tc.want || err != nil {
			t.Errorf("%q: %v, %v; want %v", tc.in, got, err, tc.want)
		}
	}
}

func TestParseAddrRefuses(t *testing.T) {
	for in, want := range map[string]string{
		"":             "no port",
		"3":            "no port",
		"vsock:":       "no port",
		"3:":           `"" is not a port`,
		":1024":        `"" is not a CID`,
		"4294967296:1": "not a CID",
		"3:4294967296": "not a port",
		"-1:1":         "not a CID",
		"+3:1":         "not a CID",
		"0x3:1":        "not a CID",
		"3:1024:5":     "not a port",
		"guest:1":      "use a number below 2^32 or any, local, host, hypervisor",
		"3: 1":         "not a port",
		"//3:1":        "not a CID",
	} {
		if a, err := vsock.ParseAddr(in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, %v; want an error with %q", in, a, err, want)
		}
	}
}

func FuzzParseAddr(f *testing.F) {
	for _, s := range []string{"3:1024", "vsock://any:any", "host:0", "vsock:local:7", "::"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := vsock.ParseAddr(s)
		if err != nil {
			return
		}
		if back, err := vsock.ParseAddr(a.String()); back != a || err != nil {
			t.Fatalf("%q is %v, which reads back as %v, %v", s, a, back, err)
		}
	})
}
