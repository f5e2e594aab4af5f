package compare

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"vsockets.dev/internal/bench"
)

// testGuestReport has the host's way be twice as fast as the other device, which
// failed at something and stood still.
func testGuestReport() *GuestReport {
	up := throughput(bench.Up, 64<<10)
	entry := func(n uint64, p50 time.Duration) *Entry {
		return &Entry{Metrics: map[string][]bench.Result{up: {moved(n), moved(n)}, roundTrip: {answered(p50)}}}
	}
	other := entry(1e9, 30*time.Microsecond)
	other.Restarts = 2
	other.Failed = map[string]string{connects(1): "it broke"}
	api := func(name string, n uint64, p50 time.Duration) *GuestPath { return newGuestPath(name, entry(n, p50)) }
	return &GuestReport{
		Version: reportVersion, Machine: Machine{OthersBusy: -1}, Rounds: 2, Time: time.Second, Device: OtherDevice + " 1",
		Guests: []*GuestRun{
			{Machine: "uml", Kernel: "6.1", Paths: []*GuestPath{
				newGuestPath(guestHost, entry(2e9, 15*time.Microsecond)),
				newGuestPath(guestHybrid, entry(5e6, 45*time.Microsecond)),
				newGuestPath(OtherDevice, other),
			}, Loopback: []*GuestPath{
				api(OurAPI, 97e7, 103*time.Microsecond), api(OtherAPI, 1e9, 100*time.Microsecond),
			}},
			{Machine: "qemu-6.12", Kernel: "6.12", Paths: []*GuestPath{
				newGuestPath(guestHost, entry(2e9, 15*time.Microsecond)),
				newGuestPath(guestHybrid, &Entry{Error: "no guest"}),
			}, Loopback: []*GuestPath{
				api(OurAPI, 9e8, 110*time.Microsecond), api(OtherAPI, 1e9, 100*time.Microsecond),
			}},
		},
	}
}

func TestGuestReport(t *testing.T) {
	r := testGuestReport()
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	back, err := ParseGuest(text)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(r, back); diff != "" {
		t.Error(diff)
	}
	table := r.Table()
	for _, s := range []string{
		"Medians of 2 interleaved rounds of 1s each. vhost-device-vsock 1.",
		"| guest | measurement | host | hybrid | vhost-device-vsock | host / vhost-device-vsock | hybrid / vhost-device-vsock |\n|---|---|---:|---:|---:|---:|---:|\n",
		"| uml | 64 KiB up, Gb/s | 16.0 | 0.04 | 8.00 | 2.00x | 0.005x |",
		"| uml | round trip p50, µs | 15.0 | 45.0 | 30.0 | 0.50x | 1.50x |",
		"| qemu-6.12 | 64 KiB up, Gb/s | 16.0 | – | – |  |  |",
		"Over the loopback of a guest's kernel: medians of 20 interleaved rounds of 100ms each. Speed is ours",
		"| guest | measurement | `vsockets.dev/vsock` | `github.com/mdlayher/vsock` | speed | interval | |\n|---|---|---:|---:|---:|---:|---|\n",
		"| uml | 64 KiB up, Gb/s | 7.76 | 8.00 | 0.970x | 0.970–0.970 | within 3 % |",
		"| uml | round trip p50, µs | 103 | 100 | 0.971x | 0.971–0.971 | within 3 % |",
		"| uml | 64 KiB down, Gb/s | – | – |  |  | not measured |",
		"| qemu-6.12 | 64 KiB up, Gb/s | 7.20 | 8.00 | 0.900x | 0.900–0.900 | not within 3 % |",
		"| qemu-6.12 | round trip p50, µs | 110 | 100 | 0.909x | 0.909–0.909 | not within 3 % |",
		"- uml: Linux 6.1\n",
		"- uml, `vhost-device-vsock`: nothing moved, and it was begun anew, 2 times\n",
		"- uml, `vhost-device-vsock`: connections, 1 at a time: it broke\n",
		"- qemu-6.12, `hybrid`: no guest\n",
	} {
		if !strings.Contains(table, s) {
			t.Errorf("there is no %q in\n%s", s, table)
		}
	}
	doc, err := r.Rewrite([]byte("a<!-- bench:guest -->stale<!-- /bench:guest -->z"))
	if err != nil || strings.Contains(string(doc), "stale") || !strings.Contains(string(doc), table) {
		t.Errorf("%v: %s", err, doc)
	}
	r.Device = ""
	for _, g := range r.Guests {
		g.Loopback = nil
	}
	if s := "loopback"; strings.Contains(r.Table(), s) {
		t.Errorf("there is %q in\n%s", s, r.Table())
	}
	if s := "There was no vhost-device-vsock to compare with."; !strings.Contains(r.Table(), s) {
		t.Errorf("there is no %q in\n%s", s, r.Table())
	}
}

func TestParseGuest(t *testing.T) {
	for name, text := range map[string]string{
		"no JSON":         "{",
		"another version": `{"version": 99}`,
		"a null":          `{"version": 1, "guests": [null]}`,
		"a null way":      `{"version": 1, "guests": [{"paths": [null]}]}`,
		"another way":     `{"version": 1, "guests": [{"paths": [{"name": "pigeon"}]}]}`,
		"another API":     `{"version": 1, "guests": [{"loopback": [{"name": "pigeon"}]}]}`,
		"another metric":  `{"version": 1, "guests": [{"paths": [{"name": "host", "values": {"up-1": [1]}}]}]}`,
	} {
		if _, err := ParseGuest([]byte(text)); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}
