package compare

import (
	"fmt"
	"html"
	"math"
	"strings"

	"vsockets.dev/internal/bench"
)

// Measures of the picture, in pixels.
const (
	svgWidth  = 860
	svgColumn = svgWidth / 2
	svgRow    = 15
	svgHead   = 26
	svgNames  = 128 // room for names
	svgBars   = 190 // room for bars
	svgTop    = 34
	svgPanel  = 14 // between panels
)

// Colours, which can be read on a light and on a dark ground.
const (
	svgText  = "#7d8590"
	svgOurs  = "#3b82d6"
	svgOther = "#9aa1a9"
)

// svgScale is how many times as good as unix, or as bad, a full bar is. Bars are
// logarithmic, so that twice as good and half as good are as long.
const svgScale = 256

// ours are the transports of this project.
var ours = map[string]bool{"inproc": true, "attach-host": true, "attach-attach": true, "hybrid": true}

// svgPanels are the metrics that are drawn, by column.
func svgPanels() [2][]string {
	var columns [2][]string
	for i, dir := range []bench.Kind{bench.Up, bench.Down} {
		for _, block := range Blocks {
			columns[i] = append(columns[i], throughput(dir, block))
		}
	}
	columns[0] = append(columns[0], roundTrip)
	columns[1] = append(columns[1], connects(1))
	return columns
}

// SVG is the report as a picture: how good each transport is against unix.
func (r *Report) SVG() []byte {
	panel := svgHead + svgRow*len(r.Entries) + svgPanel
	columns := svgPanels()
	height := svgTop + panel*len(columns[0])
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" `+
		`font-family="system-ui,sans-serif" font-size="11" fill="%s">`+"\n", svgWidth, height, svgWidth, height, svgText)
	b.WriteString("<title>Transports against Unix sockets</title>\n")
	b.WriteString(`<text x="8" y="18" font-size="13">Against Unix sockets: right of the line is better. Logarithmic.</text>` + "\n")
	for col, names := range columns {
		for row, name := range names {
			r.svgPanel(&b, name, col*svgColumn+8, svgTop+row*panel)
		}
	}
	b.WriteString("</svg>\n")
	return []byte(b.String())
}

func (r *Report) svgPanel(b *strings.Builder, name string, x, y int) {
	m := metricNamed(name)
	fmt.Fprintf(b, `<text x="%d" y="%d" font-weight="bold">%s</text>`+"\n", x, y+16, html.EscapeString(m.title))
	middle := x + svgNames + svgBars/2
	for i, e := range r.Entries {
		top := y + svgHead + i*svgRow
		base := top + svgRow - 4
		fmt.Fprintf(b, `<text x="%d" y="%d" text-anchor="end">%s</text>`, x+svgNames-6, base, html.EscapeString(e.Name))
		s, ok := e.Summary[name]
		if !ok {
			fmt.Fprintf(b, `<text x="%d" y="%d">–</text>`+"\n", x+svgNames+svgBars+6, base)
			continue
		}
		colour := svgOther
		if ours[e.Name] {
			colour = svgOurs
		}
		left, width := svgBar(s.ToUnix, m.less, middle)
		fmt.Fprintf(b, `<rect x="%d" y="%d" width="%d" height="%d" rx="2" fill="%s"/>`, left, top+1, width, svgRow-4, colour)
		fmt.Fprintf(b, `<text x="%d" y="%d">%s %s</text>`+"\n", x+svgNames+svgBars+6, base,
			number(s.Median), html.EscapeString(m.unit))
	}
	fmt.Fprintf(b, `<path d="M%d %dV%d" stroke="%s"/>`+"\n", middle, y+svgHead-2, y+svgHead+svgRow*len(r.Entries), svgText)
}

// svgBar gives where a bar begins, and its width.
func svgBar(ratio float64, less bool, middle int) (left, width int) {
	if ratio <= 0 {
		return middle, 0
	}
	share := math.Log(ratio) / math.Log(svgScale)
	if less {
		share = -share
	}
	w := int(math.Round(min(1, math.Abs(share)) * svgBars / 2))
	if share < 0 {
		return middle - w, w
	}
	return middle, max(w, 1)
}

func metricNamed(name string) metric {
	for _, m := range metrics() {
		if m.name == name {
			return m
		}
	}
	return metric{name: name, title: name}
}
