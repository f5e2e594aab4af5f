package compare

import (
	"fmt"
	"strings"
)

// Rewrite puts the table between the markers of a document.
func (r *GuestReport) Rewrite(doc []byte) ([]byte, error) {
	return rewrite(doc, "guest", r.Table())
}

// Table is the report in Markdown, which a terminal can show as well.
func (r *GuestReport) Table() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Medians of %d interleaved rounds of %v each.", r.Rounds, r.Time)
	if r.Machine.OthersBusy >= 0 {
		fmt.Fprintf(&b, " Other programs kept %.2f of a core busy meanwhile.", r.Machine.OthersBusy)
	}
	if r.Device != "" {
		fmt.Fprintf(&b, " %s.", r.Device)
	} else {
		fmt.Fprintf(&b, " There was no %s to compare with.", OtherDevice)
	}
	b.WriteString("\n\n| guest | measurement |")
	for _, path := range guestPaths {
		fmt.Fprintf(&b, " %s |", path)
	}
	fmt.Fprintf(&b, " %s / %[3]s | %[2]s / %[3]s |\n|---|---|", guestHost, guestHybrid, OtherDevice)
	b.WriteString(strings.Repeat("---:|", len(guestPaths)+2) + "\n")
	for _, g := range r.Guests {
		for _, name := range guestMetrics {
			rowBegin(&b, g, name, g.Paths, guestPaths)
			for _, path := range []string{guestHost, guestHybrid} {
				fmt.Fprintf(&b, " %s |", ratio(against(g.Paths, path, OtherDevice, name)))
			}
			b.WriteString("\n")
		}
	}
	b.WriteString(r.loopbackTable())
	for _, line := range r.remarks() {
		fmt.Fprintf(&b, "\n- %s", line)
	}
	return b.String() + "\n"
}

// rowBegin writes the cells of a row: the guest, the measurement, and a median for
// each of the names.
func rowBegin(b *strings.Builder, g *GuestRun, metric string, paths []*GuestPath, names []string) {
	m := metricNamed(metric)
	fmt.Fprintf(b, "| %s | %s, %s |", g.Machine, m.title, m.unit)
	for _, name := range names {
		cell := "–"
		if v, ok := pathMedian(paths, name, metric); ok {
			cell = number(v)
		}
		fmt.Fprintf(b, " %s |", cell)
	}
}

// remarks are the guests, and what went wrong.
func (r *GuestReport) remarks() (lines []string) {
	for _, g := range r.Guests {
		lines = append(lines, fmt.Sprintf("%s: Linux %s", g.Machine, g.Kernel))
		for _, p := range append(g.Paths[:len(g.Paths):len(g.Paths)], g.Loopback...) {
			if p.Restarts > 0 {
				lines = append(lines, fmt.Sprintf("%s, `%s`: nothing moved, and it was begun anew, %d times", g.Machine, p.Name, p.Restarts))
			}
			for _, why := range p.Failures {
				lines = append(lines, fmt.Sprintf("%s, `%s`: %s", g.Machine, p.Name, why))
			}
		}
	}
	return lines
}
