package main

import (
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// event is one line of `go test -json`; see `go doc test2json` and, for the
// two build actions, `go help buildjson`.
type event struct {
	Action      string
	Package     string
	ImportPath  string // instead of Package in build-output and build-fail
	Test        string
	Output      string
	FailedBuild string
}

// report collects the events of a run.
type report struct {
	w                       io.Writer
	packages                map[string]*packageRun // under way
	builds                  map[string][]string    // output of builds, by import path
	passed, failed, skipped int
	failures                []string
	skips                   map[string][]string // tests by reason
	conformance             matrix
}

// packageRun is a test binary under way.
type packageRun struct {
	kind   string   // how it ran, if its name says so: see kindOf
	output []string // what belongs to no test
	tests  map[string]*testRun
	failed bool // a test of it did
}

// testRun is a test, under way or done.
type testRun struct {
	output   []string
	subtests bool
	done     bool
	failed   bool // it did, or a subtest
}

func newReport(w io.Writer) *report {
	return &report{
		w:        w,
		packages: map[string]*packageRun{},
		builds:   map[string][]string{},
		skips:    map[string][]string{},

		conformance: matrix{cells: map[cellKey]cell{}},
	}
}

func (r *report) add(e event) {
	switch e.Action {
	case "build-output":
		r.builds[e.ImportPath] = append(r.builds[e.ImportPath], e.Output)
		return
	case "build-fail":
		return // the packages that needed it fail, and say so
	}
	p := r.packages[e.Package]
	if p == nil {
		p = &packageRun{kind: kindOf(e.Package), tests: map[string]*testRun{}}
		r.packages[e.Package] = p
	}
	if e.Test != "" {
		r.addTest(p, e)
		return
	}
	switch e.Action {
	case "output":
		p.output = append(p.output, e.Output)
	case "pass", "skip":
		r.endPackage(p, e)
		for _, line := range p.output {
			if strings.HasPrefix(line, "ok ") || strings.HasPrefix(line, "? ") {
				r.print(line)
			}
		}
	case "fail":
		r.endPackage(p, e)
		if e.FailedBuild != "" {
			r.print(r.builds[e.FailedBuild]...)
			r.builds[e.FailedBuild] = nil // several packages can fail by one build
		}
		r.print(p.output...)
		if !p.failed {
			r.fail(e.Package)
		}
	}
}

func (r *report) addTest(p *packageRun, e event) {
	t := p.tests[e.Test]
	if t == nil {
		t = &testRun{}
		p.tests[e.Test] = t
		for _, parent := range p.parents(e.Test) {
			parent.subtests = true
		}
	}
	name := e.Package + " " + e.Test
	switch e.Action {
	case "output":
		t.output = append(t.output, e.Output)
		r.conformance.addOutput(e)
		return
	case "pass":
		r.conformance.addTest(e.Test, p.kind, true)
		if !t.subtests {
			r.passed++
		}
	case "skip":
		r.skipped++
		why := skipReason(t.output)
		r.skips[why] = append(r.skips[why], name)
	case "fail":
		r.failTest(p, e.Test, name)
	default:
		return // run, pause, cont, and what Go may add
	}
	t.done = true
	t.output = nil // passed tests would keep much of it
}

// failTest shows the output of a failed test and counts it, unless it failed
// only because a subtest did.
func (r *report) failTest(p *packageRun, test, name string) {
	t := p.tests[test]
	for _, line := range t.output {
		if !isFrame(line) {
			r.print(line)
		}
	}
	r.conformance.addTest(test, p.kind, false)
	if !t.failed {
		r.fail(name)
	}
	p.failed, t.failed = true, true
	for _, parent := range p.parents(test) {
		parent.failed = true
	}
}

// endPackage takes the tests without a result for failed: the test binary
// ended before they did.
func (r *report) endPackage(p *packageRun, e event) {
	delete(r.packages, e.Package)
	names := slices.Sorted(maps.Keys(p.tests))
	slices.Reverse(names) // subtests before their parents
	for _, test := range names {
		if !p.tests[test].done {
			r.failTest(p, test, e.Package+" "+test+" (did not finish)")
		}
	}
}

func (r *report) fail(name string) {
	r.failed++
	r.failures = append(r.failures, name)
}

func (r *report) print(lines ...string) {
	for _, line := range lines {
		fmt.Fprint(r.w, line)
	}
}

// finish prints the end of the report and says whether all is well.
func (r *report) finish(lost []string) bool {
	for _, name := range slices.Sorted(maps.Keys(r.builds)) {
		r.print(r.builds[name]...)
	}
	for _, name := range slices.Sorted(maps.Keys(r.packages)) {
		r.endPackage(r.packages[name], event{Package: name})
		r.fail(name + " (the run stopped short)")
	}
	if r.passed+r.failed+r.skipped == 0 {
		r.fail("no test was run")
	}

	r.list("Failed:", r.failures)
	r.list("Left out:", lost)
	for _, why := range slices.Sorted(maps.Keys(r.skips)) {
		r.list("Skipped: "+why, r.skips[why])
	}
	r.conformance.print(r.w)
	fmt.Fprintf(r.w, "\n%d passed, %d failed, %d skipped\n", r.passed, r.failed, r.skipped)
	return r.failed == 0
}

func (r *report) list(title string, items []string) {
	if len(items) == 0 {
		return
	}
	fmt.Fprintf(r.w, "\n%s\n", title)
	for _, item := range items {
		fmt.Fprintf(r.w, "  %s\n", item)
	}
}

// kindOf gives the end of a package's name that scripts/test.sh adds where tests run
// in another way than usual: " (Wine)". Import paths have no spaces.
func kindOf(name string) string {
	if i := strings.IndexByte(name, ' '); i >= 0 {
		return name[i:]
	}
	return ""
}

// parents gives the tests that the named one is a subtest of.
func (p *packageRun) parents(test string) []*testRun {
	var found []*testRun
	for i, c := range test {
		if c == '/' && p.tests[test[:i]] != nil {
			found = append(found, p.tests[test[:i]])
		}
	}
	return found
}

// isFrame reports whether a line says no more than that a test starts or goes on.
func isFrame(line string) bool { return strings.HasPrefix(line, "=== ") }

// logLine is a line that a test logged. Further lines of the same message are
// indented more and name no file.
var logLine = regexp.MustCompile(`^\s+\S+\.go:\d+: (.*)`)

// skipReason finds in a skipped test's output what it said last.
func skipReason(output []string) string {
	why := ""
	for _, line := range output {
		if m := logLine.FindStringSubmatch(line); m != nil {
			why = m[1]
			continue
		}
		line = strings.TrimSpace(line)
		if why != "" && line != "" && !isFrame(line) && !strings.HasPrefix(line, "--- ") {
			why += " " + line
		}
	}
	if why == "" {
		return "no reason given"
	}
	return why
}
