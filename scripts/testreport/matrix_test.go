package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestMatrix holds the matrix against what go test -json really prints.
func TestMatrix(t *testing.T) {
	report, _ := reportOn(t, goTest(t, `package x

import "testing"

func TestConformance(t *testing.T) {
	passes, fails := func(*testing.T) {}, func(t *testing.T) { t.Fail() }
	t.Run("inproc", func(t *testing.T) {
		t.Run("cid", passes)
		t.Run("socket", func(t *testing.T) { t.Run("stream", passes); t.Run("other", fails); t.Run("third", passes) })
		t.Run("bind", func(t *testing.T) { t.Run("any", passes); t.Fail() })
		t.Run("poll", passes) // none of its cases is for this stack
		t.Run("skipped", func(t *testing.T) { t.SkipNow() })
	})
	t.Run("loopback", func(t *testing.T) {
		t.Run("cid", fails)
		t.Run("bind", fails) // before any of its cases
		t.Run("socket", func(t *testing.T) { t.Run("stream", passes); t.Run("other", func(t *testing.T) { t.SkipNow() }) })
		t.Run("poll", func(t *testing.T) { t.Run("read/write", passes); t.Run("dies", func(*testing.T) { panic("oh no") }) })
	})
}

func TestConformanceOfOthers(t *testing.T) { t.Run("a", func(t *testing.T) { t.Run("b", func(*testing.T) {}) }) }
`), nil)
	checkMatrix(t, report, `
| call   | inproc      | loopback    |
| ------ | ----------- | ----------- |
| cid    | 1           | 0 of 1 FAIL |
| socket | 2 of 3 FAIL | 1           |
| bind   | 1 of 2 FAIL | 0 of 1 FAIL |
| poll   | -           | 1 of 2 FAIL |
`)
}

// TestMatrixOfKinds has the same tests run twice, the second time in another way.
func TestMatrixOfKinds(t *testing.T) {
	usual := goTest(t, `package x

import "testing"

func TestConformance(t *testing.T) {
	t.Run("inproc", func(t *testing.T) { t.Run("bind", func(t *testing.T) { t.Run("any", func(*testing.T) {}) }) })
}
`)
	report, _ := reportOn(t, usual+strings.ReplaceAll(usual, `"Package":"sample`, `"Package":"sample (Wine)`), nil)
	checkMatrix(t, report, `
| call | inproc | inproc (Wine) |
| ---- | ------ | ------------- |
| bind | 1      | 1             |
`)
}

// guestRun is what the tests of a guest print, those of conformance and others.
const guestRun = `package vsock

import "testing"

func TestKernelConformance(t *testing.T) {
	t.Run("cid", func(*testing.T) {})
	t.Run("socket", func(t *testing.T) {
		t.Run("stream", func(*testing.T) {})
		t.Run("other", func(t *testing.T) { t.Error("--- FAIL: told you") })
	})
	t.Run("bind", func(t *testing.T) { t.Run("any", func(*testing.T) {}); t.Run("local", func(*testing.T) {}) })
}

func TestKernelNet(t *testing.T) { t.Run("a", func(*testing.T) {}) }
`

// TestMatrixOfGuest has a test log what go test -v prints, as TestInGuest does.
func TestMatrixOfGuest(t *testing.T) {
	out, _ := goCommand(t, "sample", guestRun, "test", "-v", "-count=1", ".").Output() // it fails, as it should
	quoted, err := json.Marshal(string(out))
	if err != nil {
		t.Fatal(err)
	}
	host := "package vsock\n\nimport \"testing\"\n\nfunc TestInGuest(t *testing.T) { t.Logf(\"Linux:\\n%s\", " + string(quoted) + ") }\n"
	logs := func(test string) string { return strings.ReplaceAll(host, "TestInGuest", test) }

	for _, tt := range []struct{ name, module, source, want string }{
		{"TestInGuest", "vsockets.dev/vsock", host, `
| call   | kernel      |
| ------ | ----------- |
| cid    | 1           |
| socket | 1 of 2 FAIL |
| bind   | 2           |
`},
		{"another test", "vsockets.dev/vsock", logs("TestOther"), ""},
		{"another package", "sample", host, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			report, _ := reportOn(t, goTestModule(t, tt.module, tt.source), nil)
			checkMatrix(t, report, tt.want)
		})
	}
}

// checkMatrix looks for the matrix in its place: nothing but the last line follows.
func checkMatrix(t *testing.T, report, want string) {
	t.Helper()
	body := strings.TrimSuffix(report, "\n")
	last := strings.LastIndex(body, "\n")
	_, got, found := strings.Cut(body[:last], "\nConformance (cases that passed, by guide call and stack):\n")
	if d := cmp.Diff(want, got); d != "" || found != (want != "") || !strings.HasSuffix(body, " skipped") {
		t.Errorf("matrix (-want +got):\n%s\nthe report:\n%s", d, report)
	}
}
