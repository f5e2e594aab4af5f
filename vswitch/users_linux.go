package vswitch

import (
	"sync"

	"vsockets.dev/internal/device"
)

// users are those whose processes are attached by a socket.
type users struct {
	mu  sync.Mutex
	all map[uint32]*user
}

// user is one of them.
type user struct {
	processes int

	// patience is what all of them have together. It outlives a process, as long as
	// there is another.
	patience *device.Patience
}

// enter counts a process, if its user may have one more.
func (u *users) enter(uid uint32, limit int) (*device.Patience, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	k := u.all[uid]
	if k == nil {
		k = &user{patience: device.NewPatience()}
	}
	if over(k.processes+1, limit) {
		return nil, false
	}
	k.processes++
	if u.all == nil {
		u.all = make(map[uint32]*user)
	}
	u.all[uid] = k
	return k.patience, true
}

// leave counts a process out.
func (u *users) leave(uid uint32) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if k := u.all[uid]; k != nil {
		if k.processes--; k.processes == 0 {
			delete(u.all, uid)
		}
	}
}
