package vswitch

import (
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"vsockets.dev/vsock"
)

func TestParseRule(t *testing.T) {
	for _, tc := range []struct {
		text string
		want Rule
		back string // its text form, where that is another
	}{
		{"allow * *", Rule{true, anyParty, anyParty, 0, 0}, ""},
		{"deny host guests", Rule{false, hostParty, guestParty, 0, 0}, ""},
		{"  allow\t3   4:*  ", Rule{true, Party{First: 3, Last: 3}, Party{First: 4, Last: 4}, 0, 0}, "allow 3 4"},
		{"deny 1000-1999 @web:80", Rule{false, Party{First: 1000, Last: 1999}, Party{Group: "web"}, 80, 80}, ""},
		{"allow @a-b host:1024-2047", Rule{true, Party{Group: "a-b"}, hostParty, 1024, 2047}, ""},
		{"allow 2 0-4294967295", Rule{true, hostParty, anyParty, 0, 0}, "allow host *"},
		{"deny 3-3 *:0-1", Rule{false, Party{First: 3, Last: 3}, anyParty, 0, 1}, "deny 3 *:0-1"},
	} {
		r, err := ParseRule(tc.text)
		if err != nil {
			t.Error(err)
			continue
		}
		if d := cmp.Diff(tc.want, r); d != "" {
			t.Errorf("%q: -want +got:\n%s", tc.text, d)
		}
		if back := tc.back; back != "" && r.String() != back || back == "" && r.String() != tc.text {
			t.Errorf("%q: text form %q", tc.text, r)
		}
	}
}

func TestParseRuleErrors(t *testing.T) {
	for text, want := range map[string]string{
		"":                     "want",
		"allow *":              "want",
		"allow * * *":          "want",
		"permit * *":           "neither allow nor deny",
		"Allow * *":            "neither allow nor deny",
		"allow x *":            "no number of 32 bits",
		"allow * x":            "no number of 32 bits",
		"allow -1 *":           "no number of 32 bits",
		"allow 4294967296 *":   "no number of 32 bits",
		"allow 5-4 *":          "5 is more than 4",
		"allow 3-4-5 *":        "no number of 32 bits",
		"allow @ *":            "no name for a group",
		"allow @a+b *":         "no name for a group",
		"allow 3:80 *":         "no number of 32 bits",
		"allow * *:":           "no ports",
		"allow * *:0":          "port 0",
		"allow * *:80:":        "no ports",
		"allow * *:80:81":      "no number of 32 bits",
		"allow * *:9-8":        "9 is more than 8",
		"allow * :80":          "no number of 32 bits",
		"allow * host:-":       "no number of 32 bits",
		"allow * host:+1":      "no number of 32 bits",
		"allow * guests:65k":   "no number of 32 bits",
		"deny * @x:4294967296": "no number of 32 bits",
	} {
		if r, err := ParseRule(text); err == nil {
			t.Errorf("%q is %v", text, r)
		} else if !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), text) {
			t.Errorf("%q: %v; want the rule, and %q", text, err, want)
		}
	}
}

// FuzzParseRule has what is parsed survive its text form.
func FuzzParseRule(f *testing.F) {
	for _, s := range []string{"allow * *", "deny host @g:80", "allow 3-9 guests:1-2", "deny @a 0:*", "allow 0 1:", "x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParseRule(s)
		if err != nil {
			return
		}
		b, _ := r.MarshalText()
		var back Rule
		if err := back.UnmarshalText(b); err != nil || back != r {
			t.Errorf("%q is %+v, its text form %q is %+v, %v", s, r, b, back, err)
		}
		if r.PortFirst > r.PortLast || r.From.First > r.From.Last || r.To.First > r.To.Last {
			t.Errorf("%q has a range that ends before it begins: %+v", s, r)
		}
	})
}

func TestGroupNames(t *testing.T) {
	for _, g := range []string{"", " ", "a b", "a\tb", "a\r", "a\u00a0b", "@a", "a:b", "a,b", "a+b", "a=b", "*"} {
		if _, err := sortedGroups([]string{"ok", g}); err == nil {
			t.Errorf("%q is a name", g)
		}
	}
	got, err := sortedGroups([]string{"b", "a", "b"})
	if d := cmp.Diff([]string{"a", "b"}, got); d != "" || err != nil {
		t.Errorf("%v, %s", err, d)
	}
	if _, err := sortedGroups(make([]string, maxGroups+1)); err == nil || !strings.Contains(err.Error(), "at most") {
		t.Errorf("too many: %v", err)
	}
}

// policyOf parses rules.
func policyOf(t testing.TB, rules ...string) Policy {
	t.Helper()
	var p Policy
	for _, s := range rules {
		r, err := ParseRule(s)
		if err != nil {
			t.Fatal(err)
		}
		p.Rules = append(p.Rules, r)
	}
	return p
}

func TestPolicyTable(t *testing.T) {
	host := member{cid: vsock.CIDHost}
	three, four := member{3, []string{"a", "b"}}, member{4, []string{"b", "c"}}
	five := member{5, []string{"c"}}
	for _, tc := range []struct {
		name     string
		rules    []string
		from, to member
		port     uint32
		allows   bool
		mayTalk  bool
	}{
		{"to the host", nil, three, host, 80, true, true},
		{"from the host", nil, host, three, 80, true, true},
		{"a group in common", nil, three, four, 80, true, true},
		{"none in common", nil, three, five, 80, false, false},
		{"no groups", nil, member{cid: 6}, member{cid: 7}, 80, false, false},
		{"allowed", []string{"allow 3 5"}, three, five, 80, true, true},
		{"the other direction is not", []string{"allow 3 5"}, five, three, 80, false, true},
		{"a port", []string{"allow 3 5:80"}, three, five, 80, true, true},
		{"another port", []string{"allow 3 5:80"}, three, five, 81, false, true},
		{"first of a range", []string{"allow 3 5:80-90"}, three, five, 80, true, true},
		{"last of a range", []string{"allow 3 5:80-90"}, three, five, 90, true, true},
		{"after a range", []string{"allow 3 5:80-90"}, three, five, 91, false, true},
		{"denied in a group", []string{"deny 3 @b"}, three, four, 80, false, true},
		{"denied both ways", []string{"deny 3 @b", "deny @b 3"}, three, four, 80, false, false},
		{"all of it denied", []string{"deny * *"}, three, host, 80, false, false},
		{"all from the host denied", []string{"deny host *"}, host, three, 80, false, true},
		{"a service of the host", []string{"deny guests host:22"}, three, host, 22, false, true},
		{"others of the host", []string{"deny guests host:22"}, three, host, 23, true, true},
		{"guests are not the host", []string{"deny guests guests", "allow 3 5"}, three, host, 1, true, true},
		{"the first rule counts", []string{"deny 3 5:80", "allow 3 5"}, three, five, 80, false, true},
		{"then the next", []string{"deny 3 5:80", "allow 3 5"}, three, five, 81, true, true},
		{"allow before deny", []string{"allow 3 host:1", "deny * *"}, three, host, 1, true, true},
		{"deny after allow", []string{"allow 3 host:1", "deny * *"}, three, host, 2, false, true},
		{"an empty group", []string{"deny @none *"}, three, host, 1, true, true},
		{"a range of CIDs", []string{"allow 3-4 4-5"}, four, five, 1, true, true},
		{"out of the range", []string{"allow 3 4-5"}, five, five, 1, true, true}, // a group in common with itself
		{"CID 0 is nobody", []string{"deny 0 *"}, three, host, 1, true, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := policyOf(t, tc.rules...)
			if got := p.allows(tc.from, tc.to, tc.port); got != tc.allows {
				t.Errorf("allows: %v", got)
			}
			if got := p.mayTalk(tc.from, tc.to); got != tc.mayTalk || p.mayTalk(tc.to, tc.from) != got {
				t.Errorf("mayTalk: %v", got)
			}
			if tc.allows && !tc.mayTalk {
				t.Error("what is allowed is closed")
			}
		})
	}
}

// TestPolicyAtRunTime connects contexts as rules and groups change.
func TestPolicyAtRunTime(t *testing.T) {
	sw := New(Config{Policy: policyOf(t, "deny guests host:1025", "allow 3 4:2000-2001")})
	defer sw.Close()
	contexts := map[uint32]*Context{vsock.CIDHost: sw.Host()}
	for _, cid := range []uint32{3, 4} {
		c, err := sw.AddContext(ContextConfig{CID: cid})
		if err != nil {
			t.Fatal(err)
		}
		contexts[cid] = c
	}
	for cid, c := range contexts {
		for _, port := range []uint32{1024, 1025, 2000, 2001, 2002} {
			ln, err := vsock.Listen(t.Context(), c, vsock.Addr{CID: vsock.CIDAny, Port: port})
			if err != nil {
				t.Fatalf("%d: %v", cid, err)
			}
			defer ln.Close()
		}
	}
	denied := make(map[uint32]uint64)
	try := func(from, to, port uint32, allowed bool) {
		t.Helper()
		start := time.Now()
		c, err := vsock.Dial(t.Context(), contexts[from], vsock.Addr{CID: to, Port: port})
		if err == nil {
			_ = c.Close()
		}
		if !allowed {
			denied[from]++
		}
		if d := time.Since(start); !allowed && d > 50*time.Millisecond {
			t.Errorf("%d to %d:%d: denied after %v", from, to, port, d)
		}
		if allowed != (err == nil) || !allowed && !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("%d to %d:%d: %v", from, to, port, err)
		}
		if n := contexts[from].Counters().Denied; n != denied[from] {
			t.Errorf("%d to %d:%d: %d were counted, want %d", from, to, port, n, denied[from])
		}
	}
	try(3, 2, 1024, true)
	try(3, 2, 1025, false)
	try(2, 3, 1025, true)
	try(3, 4, 1999, false)
	try(3, 4, 2000, true)
	try(3, 4, 2001, true)
	try(3, 4, 2002, false)
	try(4, 3, 2000, false)

	for _, cid := range []uint32{3, 4} {
		if err := contexts[cid].port.changeGroups([]string{"x"}); err != nil {
			t.Fatal(err)
		}
	}
	try(4, 3, 2000, true)
	try(3, 4, 2002, true)
	if err := contexts[3].port.changeGroups([]string{"not a name"}); err == nil {
		t.Error("a bad group is taken")
	}
	try(3, 4, 2002, true)
	if err := contexts[4].port.changeGroups(nil); err != nil {
		t.Fatal(err)
	}
	try(3, 4, 2002, false)

	sw.SetPolicy(policyOf(t, "deny host 3"))
	try(2, 3, 1024, false)
	try(3, 2, 1025, true)
	try(3, 4, 2000, false)
	if d := cmp.Diff(policyOf(t, "deny host 3"), sw.Policy()); d != "" {
		t.Error(d)
	}
	sw.Policy().Rules[0].Allow = true // it is a copy
	try(2, 3, 1024, false)
}

// TestPolicyKeepsConnections changes the policy under a connection: it stays if some
// other may still be made between the two.
func TestPolicyKeepsConnections(t *testing.T) {
	sw := New(Config{})
	defer sw.Close()
	ctx, err := sw.AddContext(ContextConfig{CID: 3})
	if err != nil {
		t.Fatal(err)
	}
	c, s, err := connect(t, sw, from(t, ctx))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	defer s.Close()
	sw.SetPolicy(policyOf(t, "allow 3 host:9", "deny 3 host"))
	echo := func() error {
		if _, err := c.Write([]byte("x")); err != nil {
			return err
		}
		_, err := s.Read(make([]byte, 1))
		return err
	}
	if err := echo(); err != nil {
		t.Errorf("where another port is open: %v", err)
	}
	sw.SetPolicy(policyOf(t, "deny * *"))
	if _, err := c.Write([]byte("x")); err != nil && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("where all is closed: %v", err)
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("where all is closed: %v", err)
	}
}
