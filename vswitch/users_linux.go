package vswitch

import (
	"sync"
	"time"
)

// users are those whose processes are attached by a socket.
type users struct {
	mu  sync.Mutex
	all map[uint32]*user
}

// user is one of them. What all of its processes have together outlives them for a time,
// so that it is no use to leave and come again.
type user struct {
	processes int       // under users.mu
	left      time.Time // when the last of them did; under users.mu

	pace *pace
}

// userMemory is how long a user is remembered who has left: after that, the pace
// is as that of a new one.
const userMemory = 5 * time.Second

// enter counts a process, if its user may have one more.
func (u *users) enter(uid uint32, limit int) (*user, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.forget(time.Now())
	k := u.all[uid]
	if k == nil {
		k = &user{pace: newPace(userSessions)}
	}
	if over(k.processes+1, limit) {
		return nil, false
	}
	k.processes++
	if u.all == nil {
		u.all = make(map[uint32]*user)
	}
	u.all[uid] = k
	return k, true
}

// leave counts a process out.
func (u *users) leave(k *user) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if k.processes--; k.processes == 0 {
		k.left = time.Now()
	}
}

// forget needs mu.
func (u *users) forget(now time.Time) {
	for uid, k := range u.all {
		if k.processes == 0 && now.Sub(k.left) > userMemory {
			delete(u.all, uid)
		}
	}
}
