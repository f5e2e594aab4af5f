package vswitch

import (
	"net"
	"runtime"
)

// For tests from outside of the package.

// JoinSwitch is joinSwitch.
var JoinSwitch = joinSwitch

// EndSession takes a guest away, whose socket stays.
func EndSession(g *Guest) {
	g.end(net.ErrClosed)
	for g.session.Load() != nil {
		runtime.Gosched()
	}
}
