package vswitch

import (
	"os"
	"strings"
	"testing"

	"vsockets.dev/internal/attach"
)

// TestAttachPerUser has one user attach as often as may be.
func TestAttachPerUser(t *testing.T) {
	own := []uint32{uint32(os.Getuid())}
	for name, tc := range map[string]struct {
		config AttachConfig
		most   int
	}{
		"as told":              {AttachConfig{PerUser: 2}, 2},
		"as told, of users":    {AttachConfig{PerUser: 3, Users: own}, 3},
		"all, of users":        {AttachConfig{PerUser: -1, Users: own, First: 10, Last: 13}, 4},
		"all of one's own":     {AttachConfig{First: 10, Last: 13}, 4},
		"the default of users": {AttachConfig{Users: own}, DefaultPerUser},
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

// TestUsersForgotten looks at what is left of users that have left.
func TestUsersForgotten(t *testing.T) {
	var u users
	for range 3 {
		for uid := range uint32(10) {
			if _, ok := u.enter(uid, 3); !ok {
				t.Fatal("too many")
			}
		}
	}
	if _, ok := u.enter(1, 3); ok {
		t.Error("a fourth enters")
	}
	p, _ := u.enter(1, 4)
	q, _ := u.enter(2, 4)
	if again, _ := u.enter(1, -1); p != again || p == q {
		t.Error("patience is each user's own")
	}
	for uid := range uint32(10) {
		for range 5 {
			u.leave(uid)
		}
	}
	if len(u.all) != 0 {
		t.Errorf("left: %v", u.all)
	}
}
