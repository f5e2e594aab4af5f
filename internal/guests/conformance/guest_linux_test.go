package conformance

import (
	"maps"
	"path/filepath"
	"slices"
	"testing"

	"vsockets.dev/internal/attach"
	"vsockets.dev/internal/guestpeer"
	"vsockets.dev/internal/guests"
	"vsockets.dev/internal/testguest"
	"vsockets.dev/vsock"
	"vsockets.dev/vsock/vsocktest"
	"vsockets.dev/vswitch"
)

const (
	// group is the one that contexts are in which talk to one another.
	group = "test"

	attachedCID = 1000
)

// conformers are the pairs that TestConformance tries, by name, of which one end at least
// is a guest's kernel.
var conformers = map[string]func(*testing.T, *vswitch.Switch) vsocktest.Pair{
	"guest": func(t *testing.T, sw *vswitch.Switch) vsocktest.Pair {
		return vsocktest.Pair{A: towardsKernel(host(sw)), B: inGuest(t, sw, guests.CID)}
	},
	"guest-reverse": func(t *testing.T, sw *vswitch.Switch) vsocktest.Pair {
		return vsocktest.Pair{A: inGuest(t, sw, guests.CID), B: host(sw)} // which takes what the guest proposes
	},
	"guest-guest": func(t *testing.T, sw *vswitch.Switch) vsocktest.Pair {
		return vsocktest.Pair{A: inGuest(t, sw, guests.CID), B: inGuest(t, sw, guests.CID+1)}
	},
	"attached-guest": func(t *testing.T, sw *vswitch.Switch) vsocktest.Pair {
		return vsocktest.Pair{A: towardsKernel(attached(t, sw)), B: inGuest(t, sw, guests.CID)}
	},
	"guest-attached": func(t *testing.T, sw *vswitch.Switch) vsocktest.Pair {
		return vsocktest.Pair{A: inGuest(t, sw, guests.CID), B: attached(t, sw)}
	},
}

// TestConformance holds kernels in guests against the suite. A guest boots once for all
// of it.
func TestConformance(t *testing.T) {
	for _, name := range slices.Sorted(maps.Keys(conformers)) { // in the matrix, too
		t.Run(name, func(t *testing.T) {
			sw := vswitch.New(vswitch.Config{})
			t.Cleanup(func() { _ = sw.Close() })
			pair := conformers[name](t, sw)
			vsocktest.TestStack(t, func(*testing.T) vsocktest.Pair { return pair })
		})
	}
}

func host(sw *vswitch.Switch) vsocktest.End {
	return vsocktest.End{Stack: sw.Host(), CID: vsock.CIDHost}
}

// attached is a context that is joined as another process is, in the group.
func attached(t *testing.T, sw *vswitch.Switch) vsocktest.End {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	if _, err := sw.AddAttach(vswitch.AttachConfig{Socket: socket, First: attachedCID, Last: attachedCID, Groups: []string{group}}); err != nil {
		t.Fatal(err)
	}
	s, err := attach.Dial(t.Context(), socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return vsocktest.End{Stack: s, CID: attachedCID}
}

// inGuest is the kernel of a real guest in the group, whose sockets the guest's agent
// uses as it is told.
func inGuest(t *testing.T, sw *vswitch.Switch, cid uint32) vsocktest.End {
	t.Helper()
	testguest.Require(t)
	_, socket := guests.Add(t, sw, cid, group)
	guest := guests.Boot(t, cid, testguest.Config{Device: socket, Loopback: true})
	kernel := vsocktest.Linux61()
	kernel.LoopbackFromLocal = true // its own CID is not its loopback's
	return vsocktest.End{Stack: remote(t, sw, guest), CID: cid, Traits: kernel}
}

// remote is the stack of a guest, whose agent is told by way of the host: with both
// ends far away, a guest's control line would be too slow for the suite.
func remote(t *testing.T, sw *vswitch.Switch, g *testguest.Guest) *guestpeer.Remote {
	t.Helper()
	var at vsock.Addr
	if err := g.Call(t.Context(), guestpeer.CmdListen, guestpeer.Listen{Port: vsock.PortAny, Service: guestpeer.ServiceCalls}, &at); err != nil {
		t.Fatal(err)
	}
	conn, err := vsock.Dial(t.Context(), sw.Host(), vsock.Addr{CID: g.CID(), Port: at.Port})
	if err != nil {
		t.Fatal(err)
	}
	c := guestpeer.NewClient(conn)
	t.Cleanup(func() { _ = c.Close() })
	return guestpeer.NewRemote(t.Context(), c)
}

// towardsKernel is an end that connects to a kernel, which does not negotiate, nor
// has datagrams.
func towardsKernel(e vsocktest.End) vsocktest.End {
	e.Traits = vsocktest.Traits{NoNegotiation: true}
	return e
}
