package switchd

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseFlags(t *testing.T) {
	g, err := ParseGuest("cid=3,socket=/run/vm3.sock,hybrid=/run/vm3.vsock,groups=a+b,connections=7,half-open=-1,buffered=64M,buf-alloc=1M,packet-rate=1K,byte-rate=1G")
	want := Guest{
		CID: 3, Socket: "/run/vm3.sock", Hybrid: "/run/vm3.vsock", Groups: []string{"a", "b"},
		Limits: Limits{Connections: 7, HalfOpen: -1, Buffered: 64 << 20, BufAlloc: 1 << 20, PacketRate: 1 << 10, ByteRate: 1 << 30},
	}
	if diff := cmp.Diff(want, g); err != nil || diff != "" {
		t.Errorf("guest: %v\n%s", err, diff)
	}
	a, err := ParseAttach("/run/a.sock,cids=5-9,users=0+1000,per-user=1K,groups=x,connections=1")
	wantA := Attach{
		Socket: "/run/a.sock", CIDs: CIDRange{5, 9}, Users: []uint32{0, 1000}, PerUser: 1 << 10, Groups: []string{"x"},
		Limits: Limits{Connections: 1},
	}
	if diff := cmp.Diff(wantA, a); err != nil || diff != "" {
		t.Errorf("attach: %v\n%s", err, diff)
	}
}

func TestParseFlagErrors(t *testing.T) {
	guest := func(s string) error { _, err := ParseGuest(s); return err }
	attach := func(s string) error { _, err := ParseAttach(s); return err }
	for _, tc := range []struct {
		parse func(string) error
		s     string
		want  string
	}{
		{guest, "", "no cid"},
		{guest, "cid=3", "no socket"},
		{guest, "socket=/x", "no cid"},
		{guest, "cid=3,socket=/x,cid=4", "twice"},
		{guest, "cid=x,socket=/x", "32 bits"},
		{guest, "cid=4294967296,socket=/x", "32 bits"},
		{guest, "cid=3,socket=", "no value"},
		{guest, "cid=3,socket", "KEY=VALUE"},
		{guest, "cid=3,socket=/x,conections=5", "half-open"},
		{guest, "cid=3,socket=/x,buffered=5T", "K, M or G"},
		{attach, "", "no path"},
		{attach, ",cids=5-6", "no path"},
		{attach, "/x,cids=6-5", "FIRST-LAST"},
		{attach, "/x,users=root", "32 bits"},
		{attach, "/x,hybrid=/y", "not known"},
	} {
		if err := tc.parse(tc.s); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%q: %v, want %q", tc.s, err, tc.want)
		}
	}
}

const exampleFile = `# A comment
control = "/run/vsock/control.sock"
rules = ["allow 3 @web:80", "deny 3 *"]
forwards = ["host:8080=tcp:127.0.0.1:80"]
verbose = true
log-format = "json"

[[guest]]
cid = 3
socket = "/run/vm3.sock"
groups = ["a", "b"]
buffered = "64M"
connections = 7

[[guest]]
cid = 4
socket = "/run/vm4.sock"

[[attach]]
socket = "/run/attach.sock"
cids = "1000-1009"
users = [0, 1000]
per-user = 50
`

func TestParseFile(t *testing.T) {
	c, err := ParseFile(exampleFile)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Check(); err != nil {
		t.Error(err)
	}
	guests := []Guest{
		{CID: 3, Socket: "/run/vm3.sock", Groups: []string{"a", "b"}, Limits: Limits{Buffered: 64 << 20, Connections: 7}},
		{CID: 4, Socket: "/run/vm4.sock"},
	}
	attach := []Attach{{Socket: "/run/attach.sock", CIDs: CIDRange{1000, 1009}, Users: []uint32{0, 1000}, PerUser: 50}}
	if diff := cmp.Diff(guests, c.Guests) + cmp.Diff(attach, c.Attach); diff != "" {
		t.Error(diff)
	}
	if len(c.Rules) != 2 || c.Rules[0].String() != "allow 3 @web:80" || len(c.Forwards) != 1 || !c.Verbose || c.LogFormat != LogJSON {
		t.Errorf("%+v", c)
	}

	more := c.And(Config{Guests: []Guest{{CID: 5, Socket: "/5"}}, Control: "/c"})
	if len(more.Guests) != 3 || more.Control != "/c" || !more.Verbose || len(c.Guests) != 2 {
		t.Errorf("with flags: %+v", more)
	}
}

func TestParseFileErrors(t *testing.T) {
	for _, tc := range []struct {
		text string
		want []string
	}{
		{"control = 1\n", []string{"line 1", "control"}},
		{"\n\ncontol = \"/x\"\n", []string{"line 3", "contol", "no such key"}},
		{"[[guest]]\ncid = 3\nsokcet = \"/x\"\n[[guest]]\ncid = 4\n", []string{"line 3", "guest.sokcet"}},
		{"[[guest]]\ncid = 3\n\nconnections = \"5T\"\n[[guest]]\nconnections = 5\n", []string{"line 4", "guest.connections", "5T"}},
		{"[[guest]]\nsocket = 5\n[[guest]]\nsocket = \"/x\"\n", []string{"line 2: guest.socket: ", "type"}},
		{"guest = 5\n", []string{"guest"}},
		{"[[guest]]\ncid = -1\n", []string{"line 2", "guest.cid"}},
		{"[[guest]]\ncid = 3\n[guest.limits]\nconnections = 5\n", []string{"line 3", "guest.limits"}},
		{"rules = [\"alow 3 4\"]\n", []string{"line 1", "rules", "neither allow nor deny"}},
		{"forwards = [\"host:x\"]\n", []string{"line 1", "forwards"}},
		{"a = [\n", []string{"line"}},
	} {
		_, err := ParseFile(tc.text)
		if err == nil {
			t.Errorf("%q: no error", tc.text)
			continue
		}
		for _, want := range tc.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%q: %q lacks %q", tc.text, err, want)
			}
		}
	}
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, []byte("x = 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadFile(path); err == nil || !strings.Contains(err.Error(), path+": line 1: x: ") {
		t.Errorf("file: %v", err)
	}
	if _, err := LoadFile(path + "x"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

func TestCheck(t *testing.T) {
	for _, tc := range []struct{ text, want string }{
		{"[[guest]]\ncid=2\nsocket=\"/x\"", "reserved"},
		{"[[guest]]\nsocket=\"/x\"", "reserved"},
		{"[[guest]]\ncid=3", "no socket"},
		{"[[guest]]\ncid=3\nsocket=\"/x\"\ngroups=[\"a b\"]", "no name for a group"},
		{"[[guest]]\ncid=3\nsocket=\"/x\"\nbuf-alloc=5", "BufAlloc"},
		{"[[guest]]\ncid=3\nsocket=\"/x\"\n[[guest]]\ncid=3\nsocket=\"/y\"", "twice"},
		{"[[guest]]\ncid=3\nsocket=\"/x\"\n[[guest]]\ncid=4\nsocket=\"//x\"", "same path"},
		{"[[guest]]\ncid=3\nsocket=\"/x\"\nhybrid=\"/x\"", "give each its own"},
		{"control=\"/x\"\n[[attach]]\nsocket=\"/x\"", "same path"},
		{"[[attach]]\ncids=\"5-6\"", "no socket"},
		{"[[attach]]\nsocket=\"/x\"\ncids=\"2-6\"", "reserved"},
		{"[[attach]]\nsocket=\"/x\"\n[[guest]]\ncid=1005\nsocket=\"/y\"", "guest 1005 has one of them"},
		{"log-format=\"xml\"", "text or json"},
		{"forwards=[\"stdio=host:1\"]", "a switch listens"},
		{"forwards=[\"exec:cat=host:1\"]", "a switch listens"},
		{"forwards=[\"host:1=stdio\"]", "standard input"},
		{"forwards=[\"host:1=unix:/x\",\"host:1=unix:/y\"]", "two forwards"},
		{"control=\"/x\"\nforwards=[\"unix:/x=host:1\"]", "same path"},
	} {
		c, err := ParseFile(tc.text)
		if err != nil {
			t.Errorf("%q: %v", tc.text, err)
			continue
		}
		if err := c.Check(); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%q: %v, want %q", tc.text, err, tc.want)
		}
	}
	if err := (Config{}).Check(); err != nil {
		t.Errorf("nothing: %v", err)
	}
}

// TestDocumentation reads the example of the documentation.
func TestDocumentation(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "SWITCH.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, example, ok := strings.Cut(string(text), "```toml\n")
	example, _, end := strings.Cut(example, "```")
	if !ok || !end {
		t.Fatal("there is no example")
	}
	c, err := ParseFile(example)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Check(); err != nil || len(c.Guests) != 2 || len(c.Attach) != 1 || len(c.Rules) != 2 || len(c.Forwards) != 2 {
		t.Errorf("%v: %+v", err, c)
	}
}

// FuzzParseFile has any text be a configuration or an error, and a configuration be
// checked without harm.
func FuzzParseFile(f *testing.F) {
	f.Add(exampleFile)
	f.Add("[[guest]]\ncid=3\nsocket=\"/x\"\n")
	f.Add("a.b.c = 1")
	f.Add("[guest]\n")
	f.Add("guest = [1]\n'x.y' = 1")
	f.Fuzz(func(_ *testing.T, text string) {
		if c, err := ParseFile(text); err == nil {
			_ = c.Check()
		}
	})
}

func FuzzParseFlags(f *testing.F) {
	f.Add("cid=3,socket=/run/vm3.sock,groups=a+b,connections=5")
	f.Add("/run/a.sock,cids=5-9,users=0+1000")
	f.Fuzz(func(t *testing.T, s string) {
		if g, err := ParseGuest(s); err == nil && (g.CID == 0 || g.Socket == "") {
			t.Errorf("guest %+v", g)
		}
		if a, err := ParseAttach(s); err == nil && (a.Socket == "" || a.CIDs.First > a.CIDs.Last) {
			t.Errorf("attach %+v", a)
		}
	})
}
