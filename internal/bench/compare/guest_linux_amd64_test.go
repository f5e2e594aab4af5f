package compare

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"vsockets.dev/internal/testguest"
)

// otherDevice stands for vhost-device-vsock: a script that understands its command
// line, and runs our own switch. With User Mode Linux, what stands between those two
// is between it and ours.
const otherDevice = `#!/bin/sh -e
if [ "$1" = --version ]; then echo %[1]s 0; exit; fi
[ "$1" = --vm ]
exec %[2]q switch --guest "$(echo "$2" | sed -e s/guest-cid=/cid=/ -e s/uds-path=/hybrid=/)"
`

// TestGuest boots guests, and has each way measured in each of them.
func TestGuest(t *testing.T) {
	for _, m := range []testguest.Machine{testguest.UML, testguest.QEMU612} {
		t.Run(m.String(), func(t *testing.T) {
			m.Require(t)
			dir := t.TempDir()
			tool, err := testguest.Build(t.Context(), dir, "vsockets.dev/cmd/vsock")
			if err != nil {
				t.Fatal(err)
			}
			device := filepath.Join(dir, "device")
			if err := os.WriteFile(device, fmt.Appendf(nil, otherDevice, OtherDevice, tool), 0o700); err != nil {
				t.Fatal(err)
			}
			rep, err := Guest(t.Context(), GuestConfig{
				Machines: []string{m.String()}, Rounds: 1, Time: 10 * time.Millisecond,
				Tool: tool, Device: device, Child: testChild(t),
			})
			if err != nil {
				t.Fatal(err)
			}
			g := rep.Guests[0]
			if len(rep.Guests) != 1 || g.Machine != m.String() || g.Kernel == "" || rep.Device != OtherDevice+" 0" || len(g.Paths) != len(guestPaths) {
				t.Fatalf("%+v, %+v", rep, g)
			}
			for _, p := range g.Paths {
				if len(p.Values) != len(guestMetrics) || p.Restarts > 0 || len(p.Failures) > 0 {
					t.Errorf("%s: %d of %d metrics, %d restarts, %q", p.Name, len(p.Values), len(guestMetrics), p.Restarts, p.Failures)
				}
			}
		})
	}
}

func TestGuestUsage(t *testing.T) {
	for name, c := range map[string]GuestConfig{
		"no rounds":                        {Time: time.Second},
		"no time":                          {Rounds: 1},
		"an unknown machine":               {Machines: []string{"vax"}, Rounds: 1, Time: time.Second},
		"a program that is no such device": {Device: "/bin/true", Rounds: 1, Time: time.Second},
	} {
		if rep, err := Guest(t.Context(), c); err == nil {
			t.Errorf("%s is taken: %+v", name, rep)
		}
	}
}
