package vswitch

import (
	"cmp"
	"slices"

	"vsockets.dev/vsock"
)

// Connection is a stream or seqpacket connection through the switch.
type Connection struct {
	From     vsock.Addr `json:"from"` // who opened it
	To       vsock.Addr `json:"to"`
	HalfOpen bool       `json:"half_open,omitempty"` // it was not answered yet
}

// Connections tells of the connections of all contexts, by who opened them. Those
// within one context are not the switch's.
func (sw *Switch) Connections() []Connection {
	var all []Connection
	for cid, p := range *sw.routes.Load() {
		all = p.flows.appendTo(all, cid)
	}
	slices.SortFunc(all, func(a, b Connection) int {
		return cmp.Or(cmp.Compare(a.From.CID, b.From.CID), cmp.Compare(a.To.CID, b.To.CID),
			cmp.Compare(a.To.Port, b.To.Port), cmp.Compare(a.From.Port, b.From.Port))
	})
	return all
}

func (f *flows) appendTo(all []Connection, cid uint32) []Connection {
	f.mu.Lock()
	defer f.mu.Unlock()
	for k, t := range f.since {
		all = append(all, Connection{
			From: vsock.Addr{CID: cid, Port: k.port}, To: vsock.Addr{CID: k.remote, Port: k.to}, HalfOpen: !t.IsZero(),
		})
	}
	return all
}
