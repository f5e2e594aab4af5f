package soak

import (
	"fmt"
	"io"
	"strings"
)

// Of the picture: panels one above another.
const (
	svgWidth   = 800
	panelLeft  = 80
	panelRight = 20
	panelTop   = 30
	panelHigh  = 110
	panelSpace = 40
)

// WriteSVG draws what the switch held over the time. Dots are moments at rest.
func (r *Report) WriteSVG(w io.Writer) error {
	panels := []struct {
		name string
		of   func(Sample) float64
	}{
		{"memory of the switch, MiB", func(m Sample) float64 { return mib(m.Anonymous) }},
		{"live heap, MiB", func(m Sample) float64 { return mib(m.LiveHeap) }},
		{"goroutines", func(m Sample) float64 { return float64(m.Goroutines) }},
		{"descriptors", func(m Sample) float64 { return float64(m.Files) }},
	}
	end := 1.0
	for _, m := range r.Samples {
		end = max(end, m.After)
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12">
<rect width="100%%" height="100%%" fill="white"/>
`, svgWidth, panelTop+len(panels)*(panelHigh+panelSpace))
	for i, p := range panels {
		top := float64(panelTop + i*(panelHigh+panelSpace))
		most := 1.0
		for _, m := range r.Samples {
			most = max(most, p.of(m))
		}
		x := func(m Sample) float64 { return panelLeft + m.After/end*(svgWidth-panelLeft-panelRight) }
		y := func(m Sample) float64 { return top + panelHigh*(1-p.of(m)/most) }
		var line, dots strings.Builder
		for _, m := range r.Samples {
			fmt.Fprintf(&line, "%.1f,%.1f ", x(m), y(m))
			if m.Rest {
				fmt.Fprintf(&dots, `<circle cx="%.1f" cy="%.1f" r="3" fill="#c33"/>`+"\n", x(m), y(m))
			}
		}
		fmt.Fprintf(&b, `<text x="%d" y="%.1f">%s</text>
<text x="%d" y="%.1f" text-anchor="end">%.3g</text>
<text x="%d" y="%.1f" text-anchor="end">0</text>
<path d="M%d %.1fV%.1fH%d" fill="none" stroke="#999"/>
<polyline points="%s" fill="none" stroke="#36c"/>
%s`, panelLeft, top-8, p.name, panelLeft-6, top+8, most, panelLeft-6, top+panelHigh,
			panelLeft, top, top+panelHigh, svgWidth-panelRight, line.String(), dots.String())
	}
	fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end">%.0f s</text>
</svg>
`, svgWidth-panelRight, panelTop+len(panels)*(panelHigh+panelSpace)-panelSpace+16, end)
	_, err := io.WriteString(w, b.String())
	return err
}
