package switchd

import (
	"errors"
	"os"
	"strings"
	"testing"

	"vsockets.dev/internal/forward"
	"vsockets.dev/vswitch"
)

func TestControl(t *testing.T) {
	b := newBed(t, "control='$/control'\n"+two)
	info, err := os.Lstat(b.path("control"))
	if err != nil || info.Mode() != os.ModeSocket|0o600 {
		t.Fatalf("%v, %v", info, err)
	}
	ctx, c := t.Context(), NewClient(b.path("control"))

	all, err := c.Contexts(ctx)
	if err != nil || len(all) != 3 || all[0].Kind != vswitch.KindHost || all[0].State != StateLocal ||
		all[1].CID != 3 || all[1].State != StateWaiting || !all[1].Configured {
		t.Fatalf("%+v, %v", all, err)
	}
	if p, err := c.Process(ctx); p.Goroutines == 0 || err != nil {
		t.Errorf("%+v, %v", p, err)
	}
	if v, err := c.Version(ctx); v.Version == "" || !strings.HasPrefix(v.Go, "go") || err != nil {
		t.Errorf("%+v, %v", v, err)
	}

	// Guests come, change and go.
	added, err := c.AddGuest(ctx, GuestSpec{CID: 5, Socket: b.path("5"), Groups: []string{"x"}, Limits: vswitch.Limits{Connections: 8}})
	if err != nil || added.CID != 5 || added.Limits.Connections != 8 || added.Configured {
		t.Fatalf("%+v, %v", added, err)
	}
	p := GuestPatch{CID: new(uint32(6)), Groups: &[]string{"y", "z"}}
	if err := p.SetLimits([]string{"half-open=7", "buffered=1M"}); err != nil {
		t.Fatal(err)
	}
	changed, err := c.ChangeGuest(ctx, 5, p)
	if err != nil || changed.CID != 6 || strings.Join(changed.Groups, "+") != "y+z" ||
		changed.Limits.Connections != 8 || changed.Limits.HalfOpen != 7 || changed.Limits.Buffered != 1<<20 {
		t.Errorf("%+v, %v", changed, err)
	}
	if one, err := c.Context(ctx, 6); err != nil || one.Socket != b.path("5") {
		t.Errorf("%+v, %v", one, err)
	}
	if err := c.RemoveGuest(ctx, 4); err != nil {
		t.Error(err)
	}

	// The policy.
	rule, err := vswitch.ParseRule("deny 3 host:22")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.SetPolicy(ctx, Policy{Rules: []vswitch.Rule{rule}}); err != nil {
		t.Error(err)
	}
	if p, err := c.Policy(ctx); err != nil || len(p.Rules) != 1 || p.Rules[0] != rule {
		t.Errorf("%+v, %v", p, err)
	}

	// Forwards.
	spec, err := forward.ParseSpec("unix:" + b.path("f") + "=host:1024")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.AddForward(ctx, spec); err != nil {
		t.Error(err)
	}
	if all, err := c.Forwards(ctx); err != nil || len(all) != 1 || all[0].Forward != spec || all[0].Configured {
		t.Errorf("%+v, %v", all, err)
	}

	// A reload keeps what was added, and brings back what the configuration says.
	b.reload("control='$/control'\n" + two)
	for _, cid := range []uint32{3, 4, 6} {
		if _, err := c.Context(ctx, cid); err != nil {
			t.Errorf("after the reload: %v", err)
		}
	}
	if p, err := c.Policy(ctx); err != nil || p.Rules == nil || len(p.Rules) != 0 {
		t.Errorf("after the reload: %+v, %v", p, err)
	}
	if err := c.RemoveForward(ctx, spec.From); err != nil {
		t.Error(err)
	}
	if err := c.RemoveGuest(ctx, 6); err != nil {
		t.Error(err)
	}
}

func TestControlErrors(t *testing.T) {
	b := newBed(t, "control='$/control'\nforwards=['unix:$/f=host:1']\n[[attach]]\nsocket='$/attach'\n"+two)
	ctx, c := t.Context(), NewClient(b.path("control"))
	add := func(s GuestSpec) error { _, err := c.AddGuest(ctx, s); return err }
	set := func(cid uint32, p GuestPatch) error { _, err := c.ChangeGuest(ctx, cid, p); return err }
	fwd := func(s string) error {
		v, err := forward.ParseSpec(s)
		if err != nil {
			t.Fatal(err)
		}
		return c.AddForward(ctx, v)
	}
	for _, tc := range []struct {
		name   string
		err    error
		is     error
		status int
		text   string
	}{
		{"CID in use", add(GuestSpec{CID: 3, Socket: b.path("x")}), ErrInUse, 409, "CID 3"},
		{"path in use", add(GuestSpec{CID: 9, Socket: b.path("3")}), ErrInUse, 409, "guest 3"},
		{"path of the control socket", add(GuestSpec{CID: 9, Socket: b.path("control")}), ErrInUse, 409, "control socket"},
		{"path of an attach socket", add(GuestSpec{CID: 9, Socket: b.path("attach")}), ErrInUse, 409, "attach"},
		{"path of a forward", add(GuestSpec{CID: 9, Socket: b.path("f")}), ErrInUse, 409, "forward"},
		{"reserved CID", add(GuestSpec{CID: 2, Socket: b.path("x")}), ErrInvalid, 400, "reserved"},
		{"no socket", add(GuestSpec{CID: 9}), ErrInvalid, 400, "no socket"},
		{"two sockets, one path", add(GuestSpec{CID: 9, Socket: b.path("x"), Hybrid: b.path("x")}), ErrInvalid, 400, "its own"},
		{"no folder", add(GuestSpec{CID: 9, Socket: b.path("none/x")}), nil, 500, "does not exist"},
		{"no such guest", set(9, GuestPatch{}), ErrNotFound, 404, "no guest with CID 9"},
		{"host", set(2, GuestPatch{}), ErrNotFound, 404, "no guest with CID 2"},
		{"CID of another", set(3, GuestPatch{CID: new(uint32(4)), Groups: &[]string{"n"}}), ErrInUse, 409, "CID 4"},
		{"bad group", set(3, GuestPatch{Groups: &[]string{"a b"}}), ErrInvalid, 400, "no name for a group"},
		{"bad limit", set(3, GuestPatch{Limits: []byte(`{"conections":5}`)}), ErrInvalid, 400, "conections"},
		{"nobody to remove", c.RemoveGuest(ctx, 9), ErrNotFound, 404, "no guest"},
		{"no such forward", c.RemoveForward(ctx, forward.Endpoint{Kind: forward.Unix, Address: "/x"}), ErrNotFound, 404, "no forward"},
		{"forward in use", fwd("unix:" + b.path("f") + "=host:2"), ErrInUse, 409, "remove that first"},
		{"forward at a guest's path", fwd("unix:" + b.path("3") + "=host:2"), ErrInUse, 409, "guest 3"},
		{"command", fwd("host:5=exec:cat"), ErrInvalid, 400, "configuration"},
	} {
		var status *StatusError
		if !errors.As(tc.err, &status) || status.Status != tc.status || !strings.Contains(status.Text, tc.text) {
			t.Errorf("%s: %#v", tc.name, tc.err)
		} else if tc.is != nil && !errors.Is(tc.err, tc.is) {
			t.Errorf("%s: %v is not %v", tc.name, tc.err, tc.is)
		}
	}
	if one, err := c.Context(ctx, 3); err != nil || strings.Join(one.Groups, "+") != "a" {
		t.Errorf("a change that failed has changed something: %+v, %v", one, err)
	}
	_, err := NewClient(b.path("none")).Contexts(ctx)
	if err == nil || !strings.Contains(err.Error(), "no switch answers") || !strings.Contains(err.Error(), "--control") {
		t.Errorf("no switch: %v", err)
	}
}

// TestControlMoves opens the control socket elsewhere.
func TestControlMoves(t *testing.T) {
	b := newBed(t, "control='$/1'")
	if err := os.Mkdir(b.path("folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := b.d.Reload(b.parse("control='$/folder'")); err == nil {
		t.Error("a folder is a control socket")
	}
	if _, err := NewClient(b.path("1")).Contexts(t.Context()); err != nil {
		t.Errorf("where the new one cannot be opened: %v", err)
	}
	b.reload("control='$/2'")
	if _, err := NewClient(b.path("2")).Contexts(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := NewClient(b.path("1")).Contexts(t.Context()); err == nil {
		t.Error("the old one is served")
	}
	if s := b.d.Summary(); s != "0 guests, 0 attach sockets, 0 forwards, control at "+b.path("2") {
		t.Error(s)
	}
}
