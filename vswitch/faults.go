package vswitch

import "sync/atomic"

// Whoever breaks rules over and over is heard less (internal/device/patience.go). That must not
// happen to a context for what another one does. So a fault is only what nobody else can
// have had it do: not that a destination refuses, is not there or takes nothing, and not
// what it had sent when a connection was reset from the other end. Too many requests are
// half a fault: the others may be those that do not answer, but nobody makes it ask more.

// inFlight is how many packets of a connection may still come when it has been reset:
// four times what the largest queue holds (virtqueue.MaxSize), since a guest goes on to
// fill it until it has looked at what came. maxGrace is how many are forgiven in all,
// those of 64 connections that are reset at once.
const (
	inFlight = 4096
	maxGrace = 64 * inFlight
)

// requestsPerFault is how many requests beyond the limits are a fault. A program that
// tries again when it is refused, and waits between, does not come near what it takes to be heard less.
const requestsPerFault = 10

// tooMany counts a request beyond the limits, or for which its destination has no room.
func (p *port) tooMany(rule *atomic.Uint64) {
	if n := rule.Add(1); n%requestsPerFault == 0 && p.fault != nil {
		p.fault()
	}
}

// broke counts that the context broke a rule.
func (p *port) broke(rule *atomic.Uint64) {
	rule.Add(1)
	if p.fault != nil {
		p.fault()
	}
}

// late counts a packet of no connection. It may be one of a connection that has just been
// reset, or from before the context was told of its new CID.
func (p *port) late(rule *atomic.Uint64) {
	for n := p.grace.Load(); n > 0; n = p.grace.Load() {
		if p.grace.CompareAndSwap(n, n-1) {
			rule.Add(1)
			return
		}
	}
	p.broke(rule)
}

// forgive is called when another ends a connection of the context.
func (p *port) forgive() { p.forgiveSome(inFlight) }

// forgiveSome has so many packets be no fault, inFlight at most.
func (p *port) forgiveSome(packets uint64) {
	more := int64(min(packets, inFlight))
	for n := p.grace.Load(); more > 0 && n < maxGrace; n = p.grace.Load() {
		if p.grace.CompareAndSwap(n, min(n+more, maxGrace)) {
			return
		}
	}
}
