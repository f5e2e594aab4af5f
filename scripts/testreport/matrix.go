package main

import (
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
)

// The tests that hold a stack against the suite of vsock/vsocktest.
const (
	// conformanceTest has a subtest STACK/CALL/CASE for each case.
	conformanceTest = "TestConformance/"

	// The kernel's stack is held against the suite in a guest, by a test of
	// guestPackage whose output has that of the guest's own tests.
	guestPackage = "vsockets.dev/vsock"
	guestTest    = "TestInGuest"
	guestStack   = "kernel"
)

// guestResult is a line of the guest's output, with the result of CALL or CALL/CASE.
var guestResult = regexp.MustCompile(`^\s*--- (PASS|FAIL): TestKernelConformance/(\S+) \(`)

// matrix counts the results of the conformance tests by call of the guide and by
// stack, both in the order in which they first appear. What was skipped is no
// case of that stack.
type matrix struct {
	calls, stacks []string
	cells         map[cellKey]cell
}

type cellKey struct{ call, stack string }

// cell is what one stack did with one call.
type cell struct {
	passed, failed       int // cases
	ownPassed, ownFailed int // the test of the call itself
}

// addTest takes the result of a test on this machine, if it is one of conformance. A
// stack that ran in another kind of way is a stack of its own.
func (m *matrix) addTest(test, kind string, passed bool) {
	name, ok := strings.CutPrefix(test, conformanceTest)
	if !ok {
		return
	}
	if stack, name, ok := strings.Cut(name, "/"); ok {
		m.add(stack+kind, name, passed)
	}
}

// addOutput takes the guest's results from a line of a test's output.
func (m *matrix) addOutput(e event) {
	if e.Package != guestPackage || e.Test != guestTest {
		return
	}
	if f := guestResult.FindStringSubmatch(e.Output); f != nil {
		m.add(guestStack, f[2], f[1] == "PASS")
	}
}

// add counts the result of CALL or CALL/CASE.
func (m *matrix) add(stack, name string, passed bool) {
	call, _, isCase := strings.Cut(name, "/")
	if !slices.Contains(m.calls, call) {
		m.calls = append(m.calls, call)
	}
	if !slices.Contains(m.stacks, stack) {
		m.stacks = append(m.stacks, stack)
	}
	c := m.cells[cellKey{call, stack}]
	switch {
	case isCase && passed:
		c.passed++
	case isCase:
		c.failed++
	case passed:
		c.ownPassed++
	default:
		c.ownFailed++
	}
	m.cells[cellKey{call, stack}] = c
}

// text gives the number of cases that passed, and of all where some did not.
//
// The call's own test is a case if the call has no others on any stack. If it has,
// and none is for this stack, that test passes without having tried anything. But
// if it fails, and no case did, that must be seen.
func (c cell) text(callHasCases bool) string {
	passed, failed := c.passed, c.failed
	if !callHasCases {
		passed = c.ownPassed
	}
	if failed == 0 {
		failed = c.ownFailed
	}
	switch {
	case failed > 0:
		return fmt.Sprintf("%d of %d FAIL", passed, passed+failed)
	case passed > 0:
		return fmt.Sprint(passed)
	}
	return "-"
}

// row gives the call's row of the table.
func (m *matrix) row(call string) []string {
	hasCases := false
	for key, c := range m.cells {
		hasCases = hasCases || key.call == call && c.passed+c.failed > 0
	}
	row := []string{call}
	for _, stack := range m.stacks {
		row = append(row, m.cells[cellKey{call, stack}].text(hasCases))
	}
	return row
}

// print writes the matrix as a table of GitHub's Markdown.
func (m *matrix) print(w io.Writer) {
	if len(m.cells) == 0 {
		return
	}
	rows := [][]string{append([]string{"call"}, m.stacks...)}
	for _, call := range m.calls {
		rows = append(rows, m.row(call))
	}
	widths := make([]int, len(rows[0]))
	for i := range widths {
		widths[i] = len("---") // the least that Markdown takes for a rule
		for _, row := range rows {
			widths[i] = max(widths[i], len(row[i]))
		}
	}
	rule := make([]string, len(widths))
	for i, width := range widths {
		rule[i] = strings.Repeat("-", width)
	}

	fmt.Fprint(w, "\nConformance (cases that passed, by guide call and stack):\n\n")
	for _, row := range slices.Insert(rows, 1, rule) {
		for i, text := range row {
			fmt.Fprintf(w, "| %-*s ", widths[i], text)
		}
		fmt.Fprintln(w, "|")
	}
}
