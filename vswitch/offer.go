package vswitch

import "vsockets.dev/internal/stack"

// offer is asked about a connection to a port of the host's context where nobody
// listens: whether whose it is has another use for it.
func (sw *Switch) offer(o *stack.Offer) bool {
	p := (*sw.routes.Load())[o.Remote.CID]
	if p == nil {
		return false
	}
	taker, ok := p.owner.(interface{ offered(*stack.Offer) bool })
	return ok && taker.offered(o)
}
