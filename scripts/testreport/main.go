// Command testreport turns the output of `go test -json` (stdin) into a report
// for people: each package's result as it comes, the output of each failed test,
// at the end what was skipped and why, the matrix of the conformance tests (guide
// calls by stacks) if any ran, and as the last line
//
//	N passed, N failed, N skipped
//
// The tests counted are those that do the work: a test with subtests is counted
// by its subtests. A package that fails as a whole (it does not build, it exits,
// it stops short) is one failure. The exit status is 0 only if something was
// tested and nothing failed.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
)

// maxLine is the longest line of input taken: one event, which holds one line
// of a test's output.
const maxLine = 16 << 20

func main() {
	var lost []string
	flag.Func("lost", "something the run leaves out altogether, for the report (repeatable)", func(s string) error {
		lost = append(lost, s)
		return nil
	})
	flag.Parse()

	ok, err := run(os.Stdin, os.Stdout, lost)
	if err != nil {
		fmt.Fprintln(os.Stderr, "testreport:", err)
	}
	if err != nil || !ok {
		os.Exit(1)
	}
}

// run reports on the events in r and says whether all is well.
func run(r io.Reader, w io.Writer, lost []string) (ok bool, err error) {
	rep := newReport(w)
	in := bufio.NewScanner(r)
	in.Buffer(nil, maxLine)
	for in.Scan() {
		var e event
		if line := in.Bytes(); json.Unmarshal(line, &e) != nil || e.Action == "" {
			// Not an event: the go command itself is speaking.
			fmt.Fprintf(w, "%s\n", line)
			continue
		}
		rep.add(e)
	}
	if err := in.Err(); err != nil {
		return false, fmt.Errorf("reading the events of go test -json: %w", err)
	}
	return rep.finish(lost), nil
}
