package compare

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"vsockets.dev/internal/bench"
)

// ParseReport reads a report that was stored as JSON, and computes anew what
// follows from its rounds.
func ParseReport(text []byte) (*Report, error) {
	var r Report
	if err := json.Unmarshal(text, &r); err != nil {
		return nil, fmt.Errorf("compare: report: %w", err)
	}
	if r.Version != reportVersion {
		return nil, fmt.Errorf("compare: a report of version %d, and this program knows %d; measure anew", r.Version, reportVersion)
	}
	for _, e := range r.Entries {
		if e == nil {
			return nil, errors.New("compare: report: a transport is null")
		}
		for _, m := range metrics() {
			for _, one := range e.Metrics[m.name] {
				if m.job.Kind == bench.Echo && one.Latency == nil {
					return nil, fmt.Errorf("compare: report: %s has a round of %s without latency", e.Name, m.name)
				}
			}
		}
	}
	r.summarize()
	return &r, nil
}

// Markers of the parts of a document that Rewrite replaces. What is between them is
// made by a program.
func markers(part string) (begin, end string) {
	return "<!-- bench:" + part + " -->", "<!-- /bench:" + part + " -->"
}

// Rewrite puts the report's tables between the markers of a Markdown document.
func (r *Report) Rewrite(doc []byte) ([]byte, error) {
	for _, part := range []struct {
		name string
		text string
	}{
		{"machine", r.machineText()},
		{"results", r.resultsTable()},
		{"cpu", r.cpuTable()},
		{"targets", r.targetsTable()},
	} {
		var err error
		if doc, err = rewrite(doc, part.name, part.text); err != nil {
			return nil, err
		}
	}
	return doc, nil
}

// rewrite replaces one part of a document.
func rewrite(doc []byte, part, text string) ([]byte, error) {
	begin, end := markers(part)
	before, rest, ok1 := bytes.Cut(doc, []byte(begin))
	_, after, ok2 := bytes.Cut(rest, []byte(end))
	if !ok1 || !ok2 {
		return nil, fmt.Errorf("compare: the document lacks the markers %s and %s", begin, end)
	}
	return bytes.Join([][]byte{before, []byte(begin + "\n" + text + end), after}, nil), nil
}

func (r *Report) machineText() string {
	var b strings.Builder
	m := r.Machine
	fmt.Fprintf(&b, "%d cores", m.Cores)
	if m.CPU != "" {
		fmt.Fprintf(&b, " (%s)", m.CPU)
	}
	fmt.Fprintf(&b, ", %s/%s, kernel %s, %s. Medians of %d interleaved rounds of %v each.", m.OS, m.Arch, m.Kernel, m.Go, r.Rounds, r.Time)
	if m.OthersBusy >= 0 {
		fmt.Fprintf(&b, " Other programs, other devices among them, kept %.2f of a core busy meanwhile.", m.OthersBusy)
	}
	b.WriteString("\n")
	for _, line := range r.remarks() {
		fmt.Fprintf(&b, "\n- %s", line)
	}
	return b.String() + "\n"
}

// remarks are what went wrong.
func (r *Report) remarks() (lines []string) {
	for _, e := range r.Entries {
		if e.Error != "" {
			lines = append(lines, fmt.Sprintf("`%s` is out: %s", e.Name, e.Error))
		}
		if e.Restarts > 0 {
			lines = append(lines, fmt.Sprintf("`%s` stood still, and was joined anew, %d times", e.Name, e.Restarts))
		}
		for _, m := range metrics() {
			if e.Failed[m.name] != "" {
				lines = append(lines, fmt.Sprintf("`%s` failed at %s: %s", e.Name, m.title, e.Failed[m.name]))
			}
			if s := e.Summary[m.name]; s.Failures > 0 {
				lines = append(lines, fmt.Sprintf("`%s`, %s: %d of the connections failed, and are left out of the rate", e.Name, m.title, s.Failures))
			}
		}
	}
	return lines
}

// table is in Markdown: a row for each metric, a column for each transport.
func (r *Report) table(rows []metric, title func(metric) string, cell func(Summary) string) string {
	var b strings.Builder
	b.WriteString("| |")
	for _, e := range r.Entries {
		fmt.Fprintf(&b, " %s |", e.Name)
	}
	b.WriteString("\n|---|" + strings.Repeat("---:|", len(r.Entries)) + "\n")
	for _, m := range rows {
		fmt.Fprintf(&b, "| %s |", title(m))
		for _, e := range r.Entries {
			text := "–"
			if s, ok := e.Summary[m.name]; ok {
				text = cell(s)
			}
			fmt.Fprintf(&b, " %s |", text)
		}
		b.WriteString("\n")
	}
	return b.String()
}

func (r *Report) resultsTable() string {
	return r.table(metrics(), func(m metric) string { return m.title + ", " + m.unit }, func(s Summary) string {
		if s.ToUnix == 0 {
			return number(s.Median)
		}
		return fmt.Sprintf("%s (%s)", number(s.Median), ratio(s.ToUnix))
	})
}

func (r *Report) cpuTable() string {
	var rows []metric
	for _, m := range metrics() {
		if m.moves() {
			rows = append(rows, m)
		}
	}
	return r.table(rows, func(m metric) string { return m.title }, func(s Summary) string { return number(s.CPUPerGB) })
}

func (r *Report) targetsTable() string {
	var b strings.Builder
	b.WriteString("| path | against | measurement | target | measured | |\n|---|---|---|---:|---:|---|\n")
	for _, v := range r.Targets {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", v.Who, v.Against, metricNamed(v.Metric).title, v.want(), ratio(v.Ratio), v.word())
	}
	return b.String()
}
