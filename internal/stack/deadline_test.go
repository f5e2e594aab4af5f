package stack

import (
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func newDeadline() *deadline { return &deadline{mu: new(sync.Mutex), sig: newSignal()} }

func (d *deadline) locked(f func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f()
}

// TestDeadline asks a deadline so many times before it passes, and when it has: some do by
// the clock, and more by a timer.
func TestDeadline(t *testing.T) {
	for _, asked := range []int{0, 1, glances, glances + 1, 3 * glances} {
		synctest.Test(t, func(t *testing.T) {
			d := newDeadline()
			for range 2 { // the second is set when the first has passed
				d.locked(func() {
					d.set(time.Now().Add(time.Second))
					for range asked {
						if d.over() {
							t.Error("over at once")
						}
					}
					if (d.timer != nil) != (asked > glances) {
						t.Errorf("asked %d times: there is a timer: %v", asked, d.timer != nil)
					}
				})
				<-time.After(time.Second - 1)
				d.locked(func() {
					if d.over() {
						t.Errorf("asked %d times: over too early", asked)
					}
				})
				<-time.After(time.Nanosecond)
				synctest.Wait()
				d.locked(func() {
					for range 2 { // it stays so
						if !d.over() {
							t.Errorf("asked %d times: not over", asked)
						}
					}
				})
				<-d.sig
			}
		})
	}
}

// TestDeadlineOfSleeper has deadlines be set before and while someone sleeps.
func TestDeadlineOfSleeper(t *testing.T) {
	const never = time.Duration(0)
	for _, tc := range []struct {
		before, while time.Duration
		wakes         time.Duration // at once where that has passed
	}{
		{time.Second, never, never},
		{never, time.Second, time.Second},
		{time.Minute, time.Second, time.Second},
		{time.Second, time.Minute, time.Minute},
		{time.Minute, -time.Second, -time.Second},
		{never, -time.Second, -time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			d := newDeadline()
			set := func(after time.Duration) {
				d.locked(func() {
					if after == never {
						d.set(time.Time{})
					} else {
						d.set(time.Now().Add(after))
					}
				})
			}
			set(tc.before)
			woken := make(chan time.Time, 1)
			go func() {
				d.sleep()
				woken <- time.Now()
			}()
			synctest.Wait()
			begun := time.Now()
			set(tc.while)
			if tc.wakes == never {
				<-time.After(time.Hour)
				synctest.Wait()
				if len(woken) != 0 {
					t.Errorf("%+v: woken", tc)
				}
				d.sig.send()
				<-woken
				return
			}
			if got := (<-woken).Sub(begun); got != max(tc.wakes, 0) {
				t.Errorf("%+v: woken after %v", tc, got)
			}
			d.locked(func() {
				if !d.over() || d.sleepers != 0 {
					t.Errorf("%+v: over %v, %d sleep", tc, d.over(), d.sleepers)
				}
			})
		})
	}
}

// TestDeadlineWithoutClock has a deadline that the clock's setting does not move: it may
// have come from another process, as a time of the day.
func TestDeadlineWithoutClock(t *testing.T) {
	d := newDeadline()
	d.locked(func() {
		d.set(time.Now().Add(time.Hour).Round(0)) //nolint:forbidigo // it is what another process has of a time
		if !strings.Contains(d.at.String(), " m=") {
			t.Errorf("%v is a time of the day", d.at)
		}
	})
}

// TestDeadlineOfSleepers has several sleep, of whom one is woken by something else. The
// deadline is set after that, and is for the others.
func TestDeadlineOfSleepers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const sleepers = 3
		d := newDeadline()
		woken := make(chan bool, sleepers)
		for range sleepers {
			go func() {
				d.sleep()
				d.locked(func() {
					if d.over() {
						d.sig.send() // for the next
					}
					woken <- d.expired
				})
			}()
		}
		synctest.Wait()
		d.sig.send()
		if <-woken {
			t.Error("over before it was set")
		}
		begun := time.Now()
		d.locked(func() { d.set(begun.Add(time.Second)) })
		for range sleepers - 1 {
			if !<-woken || time.Since(begun) != time.Second {
				t.Errorf("woken after %v", time.Since(begun))
			}
		}
		if d.sleepers != 0 {
			t.Errorf("%d sleep", d.sleepers)
		}
	})
}
