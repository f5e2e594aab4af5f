package vsocktest

import (
	"slices"
	"testing"
)

// call is a call of the guide, or a group of what is said of one, and its tests.
type call struct {
	name  string
	tests []test
}

// test is a row of the table: what is tried, and how.
type test struct {
	name string
	run  func(*rig)
	on   func(*Pair) bool // on which pairs; nil: on all
}

// What a test may need of a pair.
func silent(p *Pair) bool   { return p.Silent != nil }
func vanishes(p *Pair) bool { return p.Vanish != nil }

// calls is the whole suite.
func calls() []call {
	return []call{
		{"socket", socketTests},
		{"setsockopt", optionTests},
		{"bind", bindTests},
		{"listen", listenTests},
		{"accept", acceptTests},
		{"connect", connectTests},
		{"send", sendTests},
		{"recv", recvTests},
		{"read", readWriteTests},
		{"shutdown", shutdownTests},
		{"close", closeTests},
		{"reset", resetTests},
		{"getsockname", nameTests},
		{"select", selectTests},
		{"poll", pollTests},
		{"ioctl", countTests},
		{"seqpacket", seqpacketTests},
		{"datagram", datagramTests},
	}
}

// TestStack holds both ends of a pair against the suite. Each test is a subtest,
// named by the guide's call and the case, as "setsockopt/32768 reads back", and
// calls makePair once: what that opens, it closes with t.Cleanup.
func TestStack(t *testing.T, makePair func(t *testing.T) Pair) {
	var p Pair
	t.Run("VMCISock_GetLocalCID", func(t *testing.T) {
		p = makePair(t)
		for _, e := range []End{p.A, p.B} {
			if cid, err := e.Stack.LocalCID(); cid != e.CID || err != nil {
				t.Errorf("LocalCID: %d, %v; want %d", cid, err, e.CID)
			}
		}
	})
	for _, c := range calls() {
		c.tests = slices.DeleteFunc(slices.Clone(c.tests), func(tc test) bool { return tc.on != nil && !tc.on(&p) })
		if len(c.tests) == 0 {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			for _, tc := range c.tests {
				t.Run(tc.name, func(t *testing.T) { tc.run(&rig{T: t, Pair: makePair(t)}) })
			}
		})
	}
}
