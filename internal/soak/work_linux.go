package soak

import (
	"context"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"syscall"
	"time"

	"vsockets.dev/internal/guestpeer"
	"vsockets.dev/internal/transfer"
	"vsockets.dev/vsock"
)

const (
	// workers make connections at the same time.
	workers = 6

	// callLimit is when a call hangs. What takes longest is maxBytes from one emulated
	// guest to another, while others do the same.
	callLimit = time.Minute

	// maxBytes is the most of one transfer.
	maxBytes = 4 << 20
)

// task is a connection that is to be made.
type task struct {
	name string
	port uint32 // of portReceive and so on
	how  string

	// want says whether an outcome is what comes of it when nothing else happens.
	want func(guestpeer.Tried) bool
}

var tasks = []task{
	{"send", portReceive, guestpeer.HowSend, isFine},
	{"echo", portEcho, guestpeer.HowEcho, isFine},
	{"abort", portReceive, guestpeer.HowAbort, isFine},
	{"be aborted", portDrop, guestpeer.HowSend, func(t guestpeer.Tried) bool {
		// Linux: EPIPE where it sends, and ENOTCONN or the end of file where it receives.
		return t.Connected && matches(t.Error(), syscall.ECONNRESET, syscall.EPIPE, syscall.ENOTCONN, transfer.ErrCut)
	}},
	{"be refused", portDeaf, guestpeer.HowSend, func(t guestpeer.Tried) bool {
		return !t.Connected && matches(t.Error(), syscall.ECONNREFUSED, syscall.ECONNRESET)
	}},
}

func isFine(t guestpeer.Tried) bool { return t.Connected && t.Err == nil }

// weights of the tasks.
var weights = []int{8, 6, 2, 2, 1}

func pick(r *rand.Rand) task {
	sum := 0
	for _, w := range weights {
		sum += w
	}
	at := r.IntN(sum)
	for i, w := range weights {
		if at -= w; at < 0 {
			return tasks[i]
		}
	}
	panic("soak: weights do not add up")
}

func matches(err error, some ...error) bool {
	for _, e := range some {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// explained says whether an outcome may come of what befell the two ends. That bytes
// are others, nothing explains. Of one's own end, any error may come. A fault of the
// other end gives those that end or prevent a connection; of a guest that is taken out, its
// Unix socket is gone as well. One that was slow may be too slow to accept.
func explained(t guestpeer.Tried, from, to []faultKind) bool {
	err := t.Error()
	switch {
	case err == nil || errors.Is(err, transfer.ErrCorrupt):
		return false
	case ended(from):
		return true
	case ended(to):
		return matches(err, transfer.ErrCut, io.EOF, syscall.ECONNRESET, syscall.ECONNREFUSED, syscall.EPIPE,
			syscall.ETIMEDOUT, syscall.ENETUNREACH, syscall.ENODEV, syscall.ENOTCONN, syscall.ENOENT)
	}
	return len(from)+len(to) > 0 && !t.Connected && errors.Is(err, syscall.ETIMEDOUT)
}

// work makes connections, one after another.
func (s *soak) work(ctx context.Context, r *rand.Rand) {
	for ctx.Err() == nil {
		// All is drawn whatever happens, so that a seed says the same again.
		from, to := s.pair(r)
		t := pick(r)
		a := guestpeer.Try{Bytes: size(r), Seed: r.Uint64(), How: t.how}
		s.resting.RLock()
		if ctx.Err() == nil {
			s.try(ctx, t, a, from, to)
		}
		s.resting.RUnlock()
	}
}

// pair is a node and one that it can reach: a hybrid client and its guest reach each
// other, and all others do.
func (s *soak) pair(r *rand.Rand) (from, to *node) {
	for {
		from, to = s.nodes[r.IntN(len(s.nodes))], s.nodes[r.IntN(len(s.nodes))]
		switch {
		case from == to,
			from.kind == kindHybrid && from.guest != to,
			to.kind == kindHybrid && to.guest != from:
		default:
			return from, to
		}
	}
}

// size is of any order of magnitude.
func size(r *rand.Rand) int64 { return int64(math.Exp(r.Float64()*math.Log(maxBytes+1))) - 1 }

// awayTime is how long a worker waits when a node is away: else most connections would
// be to such.
const awayTime = 50 * time.Millisecond

func (s *soak) try(ctx context.Context, t task, a guestpeer.Try, from, to *node) {
	vf, vt := from.view(), to.view()
	if !vf.up {
		pause(ctx, awayTime)
		return
	}
	a.To = vsock.Addr{CID: vt.cid, Port: to.port + t.port}
	if to.kind == kindHybrid {
		a.To.CID = vsock.CIDHost
	}
	call, cancel := context.WithTimeout(s.ctx, callLimit)
	defer cancel()
	var got guestpeer.Tried
	start := time.Now()
	err := vf.caller.Call(call, guestpeer.CmdTry, a, &got)
	faultsFrom, faultsTo := vf.since(), vt.since()
	if !vt.up {
		pause(ctx, awayTime)
		faultsTo = append(slices.Clip(faultsTo), faultKind{name: "away", ends: true})
	}
	switch {
	case err != nil && call.Err() != nil && s.ctx.Err() == nil:
		s.hang(t, a, from, to, start)
	case err != nil && !ended(faultsFrom):
		s.problem("%s from %s to %s (%v): %v", t.name, from.name, to.name, a.To, err)
	case err != nil: // the node itself has ended
		s.count(func(r *Report) { r.Expected["the caller was ended or stopped"]++ })
	case t.want(got):
		s.count(func(r *Report) { r.done(t, from, to, a.Bytes, got.Error()) })
	case explained(got, faultsFrom, nil): // of whatever kind
		s.count(func(r *Report) { r.Expected["the caller was ended or stopped"]++ })
	case explained(got, nil, faultsTo):
		s.count(func(r *Report) { r.Expected[reason(got)]++ })
	default:
		s.problem("%s of %d bytes from %s to %s (%v): connected %v, %v, after %v; faults meanwhile: %v and %v",
			t.name, a.Bytes, from.name, to.name, a.To, got.Connected, text(got), time.Since(start), names(faultsFrom), names(faultsTo))
		if errors.Is(got.Error(), transfer.ErrCorrupt) {
			s.count(func(r *Report) { r.Corrupted++ })
		}
	}
}

// ended says whether one of the faults ended the node.
func ended(faults []faultKind) bool {
	for _, f := range faults {
		if f.ends {
			return true
		}
	}
	return false
}

func names(faults []faultKind) []string {
	var all []string
	for _, f := range faults {
		all = append(all, f.name)
	}
	return all
}

func text(t guestpeer.Tried) string {
	if t.Err == nil {
		return "no error"
	}
	return t.Err.Text
}

// reason names an error in the report.
func reason(t guestpeer.Tried) string {
	when := "connecting: "
	if t.Connected {
		when = "connected: "
	}
	return when + t.Error().Error()
}

// hang reports a call that did not return, with what the switch knows of connections.
func (s *soak) hang(t task, a guestpeer.Try, from, to *node, start time.Time) {
	s.count(func(r *Report) { r.Hangs++ })
	connections, err := s.sw.Connections(s.ctx)
	s.problem("%s of %d bytes from %s to %s (%v) has not returned for %v; connections: %+v, %v",
		t.name, a.Bytes, from.name, to.name, a.To, time.Since(start), connections, err)
}
