package forward

import (
	"encoding"
	"encoding/json"
	"flag"
	"net"
	"slices"
	"strings"
	"testing"

	"vsockets.dev/vsock"
)

// All of these are text in both directions, for command lines and files alike.
type textual interface {
	encoding.TextUnmarshaler
	flag.Value
}

var (
	_ textual = (*Endpoint)(nil)
	_ textual = (*Spec)(nil)
	_ textual = (*Source)(nil)
)

func TestParseEndpoint(t *testing.T) {
	for in, want := range map[string]struct {
		e    Endpoint
		text string
	}{
		"tcp:127.0.0.1:80":    {Endpoint{Kind: TCP, Address: "127.0.0.1:80"}, "tcp:127.0.0.1:80"},
		"tcp:80":              {Endpoint{Kind: TCP, Address: "127.0.0.1:80"}, "tcp:127.0.0.1:80"},
		"tcp::80":             {Endpoint{Kind: TCP, Address: "127.0.0.1:80"}, "tcp:127.0.0.1:80"},
		"tcp:0.0.0.0:080":     {Endpoint{Kind: TCP, Address: "0.0.0.0:80"}, "tcp:0.0.0.0:80"},
		"tcp:[::1]:80":        {Endpoint{Kind: TCP, Address: "[::1]:80"}, "tcp:[::1]:80"},
		"tcp:web.example:80":  {Endpoint{Kind: TCP, Address: "web.example:80"}, "tcp:web.example:80"},
		"unix:/run/a:b=c.s":   {Endpoint{Kind: Unix, Address: "/run/a:b=c.s"}, "unix:/run/a:b=c.s"},
		"vsock:3:22":          {Endpoint{Kind: Vsock, Addr: vsock.Addr{CID: 3, Port: 22}}, "vsock:3:22"},
		"vsock://3:22":        {Endpoint{Kind: Vsock, Addr: vsock.Addr{CID: 3, Port: 22}}, "vsock:3:22"},
		"vsock:host:53":       {Endpoint{Kind: Vsock, Addr: vsock.Addr{CID: 2, Port: 53}}, "vsock:2:53"},
		"vsock:any:any":       {Endpoint{Kind: Vsock, Addr: vsock.Addr{CID: vsock.CIDAny, Port: vsock.PortAny}}, "vsock:any:any"},
		"kernel:2:1024":       {Endpoint{Kind: Kernel, Addr: vsock.Addr{CID: 2, Port: 1024}}, "kernel:2:1024"},
		"host:8080":           {Endpoint{Kind: Host, Addr: vsock.Addr{CID: 2, Port: 8080}}, "host:8080"},
		"host:4000000000":     {Endpoint{Kind: Host, Addr: vsock.Addr{CID: 2, Port: 4000000000}}, "host:4000000000"},
		"stdio":               {Endpoint{Kind: Stdio}, "stdio"},
		"exec:sh -c 'a; b:c'": {Endpoint{Kind: Exec, Address: "sh -c 'a; b:c'"}, "exec:sh -c 'a; b:c'"},
	} {
		got, err := ParseEndpoint(in)
		if got != want.e || err != nil || got.String() != want.text {
			t.Errorf("%q: %+v (%s), %v; want %+v (%s)", in, got, got, err, want.e, want.text)
		}
	}
}

func TestParseEndpointRefuses(t *testing.T) {
	for in, want := range map[string]string{
		"":                   "write one of tcp:HOST:PORT",
		"80":                 "write one of tcp:HOST:PORT",
		"udp:1:2":            `"udp" is no kind`,
		"tcp":                "no known kind",
		"tcp:":               `"" is not a port`,
		"tcp:::80":           "brackets",
		"tcp:1:2:3":          "brackets",
		"tcp:127.0.0.1:http": "number up to 65535",
		"tcp:127.0.0.1:-1":   "number up to 65535",
		"tcp:65536":          "number up to 65535",
		"tcp:a b:1":          "not a host",
		"unix:":              "no path",
		"unix:/a\x00b":       "zero byte",
		"vsock:3":            "no port",
		"vsock:x:1":          "not a CID",
		"vsock:vsock:3:1":    "not a CID",
		"kernel:kernel:3:1":  "not a CID",
		"host:":              "not a port",
		"host:any":           "not a port",
		"host:4294967295":    "not a port",
		"host:2:80":          "not a port",
		"stdio:":             "stdio alone",
		"exec:":              "no command",
		"exec:  ":            "no command",
		"exec:'' a":          "no command",
		"exec:sh 'a":         "not closed",
	} {
		if e, err := ParseEndpoint(in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, %v; want an error with %q", in, e, err, want)
		}
	}
}

func TestParseSpec(t *testing.T) {
	for in, want := range map[string][2]string{
		"host:8080=tcp:127.0.0.1:80":            {"host:8080", "tcp:127.0.0.1:80"},
		"tcp:127.0.0.1:2222=vsock:3:22":         {"tcp:127.0.0.1:2222", "vsock:3:22"},
		"unix:/run/x=y.sock=vsock:3:1024":       {"unix:/run/x=y.sock", "vsock:3:1024"},
		"vsock:host:53=unix:/run/dns.sock":      {"vsock:2:53", "unix:/run/dns.sock"},
		"kernel:2:1024=host:1":                  {"kernel:2:1024", "host:1"},
		"stdio=unix:@abstract":                  {"stdio", "unix:@abstract"},
		"exec:env A=b cmd=stdio":                {"exec:env A=b cmd", "stdio"},
		"tcp:0=exec:env A=b cmd --to=tcp:1=2":   {"tcp:127.0.0.1:0", "exec:env A=b cmd --to=tcp:1=2"},
		"unix:/a=exec:sh -c 'x=unix:; cat $x'=": {"unix:/a", "exec:sh -c 'x=unix:; cat $x'="},
	} {
		got, err := ParseSpec(in)
		if err != nil || got.From.String() != want[0] || got.To.String() != want[1] {
			t.Errorf("%q: %s and %s, %v; want %s", in, got.From, got.To, err, want)
		}
	}
	for in, want := range map[string]string{
		"":                       "write FROM=TO",
		"host:8080":              "write FROM=TO",
		"host:8080=80":           "write FROM=TO",
		"=tcp:80":                "no known kind",
		"host:x=tcp:80":          "not a port",
		"host:1=tcp:x":           "not a port",
		"stdio=stdio":            "both ends are the same",
		"unix:@a=tcp:80":         "abstract",
		"tcp:80=vsock:any:80":    "write the CID and port",
		"tcp:80=kernel:3:any":    "write the CID and port",
		"host:80=tcp:0":          "port 0",
		"unix:/a=tcp:1=unix:/b":  "not a port",
		"tcp:80=exec:cat 'quote": "not closed",
	} {
		if s, err := ParseSpec(in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, %v; want an error with %q", in, s, err, want)
		}
	}
}

// TestText reads and writes the types as files and command lines do.
func TestText(t *testing.T) {
	type config struct {
		Forward []Spec
		Allow   []Source
		To      Endpoint
	}
	const text = `{"Forward":["host:1=tcp:127.0.0.1:80"],"Allow":["3","10.0.0.0/8"],"To":"stdio"}`
	var c config
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		t.Fatal(err)
	}
	if back, err := json.Marshal(c); string(back) != text || err != nil {
		t.Errorf("%s, %v; want %s", back, err, text)
	}
	flags := flag.NewFlagSet("", flag.ContinueOnError)
	flags.Var(&c.Forward[0], "forward", "")
	if err := flags.Parse([]string{"-forward", "tcp:1=host:2"}); err != nil || c.Forward[0].String() != "tcp:127.0.0.1:1=host:2" {
		t.Errorf("%v, %v", c.Forward[0], err)
	}
	if err := c.Forward[0].Set("nothing"); err == nil || c.Forward[0].From.Kind != TCP {
		t.Errorf("a bad text: %v, %v; want it left alone, and an error", c.Forward[0], err)
	}
}

func TestSplitWords(t *testing.T) {
	for in, want := range map[string][]string{
		`cat`:                    {"cat"},
		" a  b\tc\n":             {"a", "b", "c"},
		`sh -c 'a "b" \c; d'`:    {"sh", "-c", `a "b" \c; d`},
		`a "b \" c \\ 'd'" e\ f`: {"a", `b " c \ 'd'`, "e f"},
		`a '' ""`:                {"a", "", ""},
		`a'b'"c"\d # e`:          {"abcd", "#", "e"},
		`a $HOME | b > c`:        {"a", "$HOME", "|", "b", ">", "c"},
	} {
		if got, err := SplitWords(in); !slices.Equal(got, want) || err != nil {
			t.Errorf("%s: %q, %v; want %q", in, got, err, want)
		}
	}
	for in, want := range map[string]string{`a \`: "backslash", `a "`: "not closed", `a 'b"`: "not closed", "": "no command"} {
		if got, err := SplitWords(in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %q, %v; want an error with %q", in, got, err, want)
		}
	}
}

func TestSource(t *testing.T) {
	tcp := func(s string) net.Addr {
		a, err := net.ResolveTCPAddr("tcp", s)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	for _, tc := range []struct {
		source string
		from   net.Addr
		want   bool
	}{
		{"3", vsock.Addr{CID: 3, Port: 7}, true},
		{"3", vsock.Addr{CID: 4, Port: 3}, false},
		{"3", tcp("0.0.0.3:3"), false},
		{"10.0.0.0/8", tcp("10.1.2.3:4"), true},
		{"10.0.0.0/8", tcp("[::ffff:10.1.2.3]:4"), true},
		{"10.0.0.0/8", tcp("11.1.2.3:4"), false},
		{"10.1.2.3", tcp("10.1.2.3:4"), true},
		{"10.1.2.3", tcp("10.1.2.4:4"), false},
		{"::1", tcp("[::1]:4"), true},
		{"fe80::/10", &net.TCPAddr{IP: net.ParseIP("fe80::1"), Zone: "eth0"}, true},
		{"0.0.0.0/0", vsock.Addr{}, false},
		{"0.0.0.0/0", local(Stdio), false},
	} {
		s, err := ParseSource(tc.source)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.covers(tc.from); got != tc.want {
			t.Errorf("%s covers %v: %v", tc.source, tc.from, got)
		}
	}
	for _, in := range []string{"", "-1", "4294967296", "host", "10.0.0.0/33", "::ffff:10.0.0.0/104", "fe80::1%eth0"} {
		if s, err := ParseSource(in); err == nil {
			t.Errorf("%q: %v, want an error", in, s)
		}
	}
}

func FuzzParseSpec(f *testing.F) {
	for _, s := range []string{
		"host:8080=tcp:80", "unix:/a=b=vsock:any:1", "exec:a '='=stdio", "kernel://2:1=exec:x", "tcp:[::1]:0=host:1",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		v, err := ParseSpec(s)
		if err != nil {
			return
		}
		if back, err := ParseSpec(v.String()); back != v || err != nil {
			t.Fatalf("%q is %v, which reads back as %v, %v", s, v, back, err)
		}
	})
}

func FuzzParseSource(f *testing.F) {
	for _, s := range []string{"3", "10.0.0.0/8", "::1", "fe80::/10"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		v, err := ParseSource(s)
		if err != nil {
			return
		}
		if back, err := ParseSource(v.String()); back != v || err != nil {
			t.Fatalf("%q is %v, which reads back as %v, %v", s, v, back, err)
		}
	})
}
