package vswitch

import (
	"context"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"vsockets.dev/internal/attach"
)

// TestAttachPerUser has one user attach as often as may be.
func TestAttachPerUser(t *testing.T) {
	own := []uint32{uint32(os.Getuid())}
	for name, tc := range map[string]struct {
		config AttachConfig
		most   int
	}{
		"as told":           {AttachConfig{PerUser: 2}, 2},
		"as told, of users": {AttachConfig{PerUser: 3, Users: own}, 3},
		"all, of users":     {AttachConfig{PerUser: -1, Users: own, First: 10, Last: 13}, 4},
		"all of one's own":  {AttachConfig{First: 10, Last: 13}, 4},
	} {
		t.Run(name, func(t *testing.T) {
			sw, a, log := addAttach(t, tc.config)
			var stacks []*attach.Stack
			defer func() {
				for _, s := range stacks {
					_ = s.Close()
				}
			}()
			for range tc.most {
				stacks = append(stacks, mustDial(t, a))
			}
			if s, err := attach.Dial(t.Context(), a.config.Socket); err == nil {
				_ = s.Close()
				t.Fatal("one more than may")
			}
			if want := "which is the limit"; tc.most < 4 && !strings.Contains(log.String(), want) {
				t.Errorf("logged: %s", log)
			}
			_ = stacks[0].Close() // leaves room for another
			eventually(t, "it has left", func() bool { return len(sw.Contexts()) == tc.most })
			eventually(t, "it counts no more", func() bool {
				a.users.mu.Lock()
				defer a.users.mu.Unlock()
				return a.users.all[own[0]].processes == tc.most-1
			})
			stacks[0] = mustDial(t, a)
		})
	}
}

// TestPerUserDefault: who is no attacker has no limit that nobody asked for.
func TestPerUserDefault(t *testing.T) {
	self := uint32(os.Getuid())
	other := self + 1
	for name, tc := range map[string]struct {
		told int
		uid  uint32
		want int
	}{
		"root":            {0, 0, -1},
		"this user":       {0, self, -1},
		"another":         {0, other, DefaultPerUser},
		"root, as told":   {5, 0, 5},
		"self, as told":   {5, self, 5},
		"another, all":    {-1, other, -1},
		"another as told": {5, other, 5},
	} {
		c := AttachConfig{PerUser: tc.told, Users: []uint32{0, self, other}}
		if got := c.perUser(tc.uid); got != tc.want {
			t.Errorf("%s: %d, want %d", name, got, tc.want)
		}
	}
}

// TestTurnedAwayLog has one process be turned away over and over: the log does not grow by
// a line for each time.
func TestTurnedAwayLog(t *testing.T) {
	_, a, log := addAttach(t, AttachConfig{PerUser: 1})
	s := mustDial(t, a)
	defer s.Close()
	const times = 200
	start := time.Now()
	for range times {
		if s, err := attach.Dial(t.Context(), a.config.Socket); err == nil {
			_ = s.Close()
			t.Fatal("one more than may")
		}
	}
	most := 1 + int(time.Since(start)/refusalPause)
	if n := strings.Count(log.String(), "may not attach"); n < 1 || n > most {
		t.Errorf("%d lines, want 1 to %d: %s", n, most, log)
	}
}

// TestUsersForgotten has users come and leave, whose pace is their own and
// outlives them for a time.
func TestUsersForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var u users
		var in []*user
		enter := func(uid uint32) *user {
			t.Helper()
			k, ok := u.enter(uid, 3)
			if !ok {
				t.Fatalf("user %d may not enter", uid)
			}
			in = append(in, k)
			return k
		}
		first := enter(1)
		if enter(1) != first || enter(2) == first {
			t.Error("what a user has is not the user's own")
		}
		enter(1)
		if _, ok := u.enter(1, 3); ok {
			t.Error("a fourth process enters")
		}
		for _, k := range in {
			u.leave(k)
		}
		if enter(1) != first {
			t.Error("forgotten at once")
		}
		u.leave(first)
		<-time.After(userMemory + time.Second)
		if enter(3); len(u.all) != 1 {
			t.Errorf("%d users are remembered", len(u.all))
		}
	})
}

// TestPaceInTurn has many wait at once: each has its own time, and none is overtaken by one
// that came later, or has a place kept that gave up.
func TestPaceInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPace(10)
		start := time.Now()
		for range 10 {
			p.enter(t.Context())
		}
		ctx, cancel := context.WithCancel(t.Context())
		began := make([]time.Duration, 30)
		for i := range began {
			go func() {
				p.enter(t.Context())
				began[i] = time.Since(start)
			}()
			synctest.Wait() // in this order
		}
		for range 10 {
			go p.enter(ctx)
		}
		synctest.Wait()
		cancel()
		synctest.Wait()
		p.enter(t.Context())
		synctest.Wait()
		for i, at := range began {
			if want := time.Duration(i+1) * 100 * time.Millisecond; (at - want).Abs() > time.Millisecond {
				t.Errorf("number %d begins after %v, want %v", i, at, want)
			}
		}
		if took, want := time.Since(start), 3100*time.Millisecond; (took - want).Abs() > time.Millisecond {
			t.Errorf("one who comes after those that gave up begins after %v, want %v", took, want)
		}
	})
}

// TestLeavesPaced has a front-end stop its queues over and over.
func TestLeavesPaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sw := New(Config{})
		defer sw.Close()
		m, err := sw.newMachine(3, nil, Limits{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		for range 2 * guestLeaves {
			m.leave()
		}
		if took := time.Since(start); took < 990*time.Millisecond || took > 1010*time.Millisecond {
			t.Errorf("as many again as may come at once take %v, want 1 s", took)
		}
	})
}

// TestPace has more sessions begin than may.
func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPace(10)
		start := time.Now()
		for range 10 + 30 {
			if !p.enter(t.Context()) {
				t.Fatal("may not begin")
			}
		}
		if took := time.Since(start); took < 2900*time.Millisecond || took > 3100*time.Millisecond {
			t.Errorf("30 sessions more than at once take %v, want 3 s", took)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if p.enter(ctx) {
			t.Error("one begins though all is over")
		}
	})
}
