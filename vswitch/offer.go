package vswitch

import "vsockets.dev/internal/stack"

// offer is asked about connections to ports of the host's context where nobody
// listens.
func (sw *Switch) offer(*stack.Offer) bool { return false }
