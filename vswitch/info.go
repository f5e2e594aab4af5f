package vswitch

import (
	"cmp"
	"slices"
	"time"
)

// Kinds of contexts.
const (
	KindHost     = "host"
	KindContext  = "context"  // in this program
	KindGuest    = "guest"    // a virtual machine
	KindAttached = "attached" // a process, see AddAttach
)

// Info tells of a context.
type Info struct {
	CID    uint32   `json:"cid"`
	Kind   string   `json:"kind"`
	Groups []string `json:"groups,omitempty"`
	Limits Limits   `json:"limits"`

	// Of guests and attached processes: the vhost-user socket, since when one is
	// connected to it, and which process that is. Zero: none is.
	Socket string    `json:"socket,omitempty"`
	Hybrid string    `json:"hybrid,omitempty"` // see GuestConfig
	Since  time.Time `json:"since,omitzero"`
	PID    int32     `json:"pid,omitempty"`
	UID    *uint32   `json:"uid,omitempty"`

	// NextCID is what the guest will have when it boots again, see Guest.SetCID.
	NextCID uint32 `json:"next_cid,omitempty"`

	Connections int `json:"connections"` // that it opened
	HalfOpen    int `json:"half_open"`   // of these, not answered yet
	Buffered    int `json:"buffered"`    // bytes that it sent and that wait for other guests

	// Of guests and attached processes: what they sent, and what they were sent.
	Sent     Traffic `json:"sent"`
	Received Traffic `json:"received"`

	Counters Counters `json:"counters"`
}

// Traffic is how much went one way.
type Traffic struct {
	Packets uint64 `json:"packets"`
	Bytes   uint64 `json:"bytes"` // of payload
}

// Contexts tells of all contexts, by CID.
func (sw *Switch) Contexts() []Info {
	var all []Info
	for _, p := range *sw.routes.Load() {
		all = append(all, p.info())
	}
	slices.SortFunc(all, func(a, b Info) int { return cmp.Compare(a.CID, b.CID) })
	return all
}

func (p *port) info() Info {
	i := Info{
		CID:      p.cid.Load(),
		Groups:   slices.Clone(*p.groups.Load()),
		Limits:   *p.limits.Load(),
		Buffered: int(p.buffered.Load()),
		Counters: p.counters.read(),
	}
	i.Connections, i.HalfOpen = p.flows.count()
	p.owner.info(&i)
	return i
}
