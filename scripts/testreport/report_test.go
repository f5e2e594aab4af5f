package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestRealRuns holds the report against what go test -json really prints, one
// small package at a time.
func TestRealRuns(t *testing.T) {
	const header = "package x\n\nimport (\n\t\"os\"\n\t\"testing\"\n)\n\nvar _ = os.Exit\n\n"
	for _, tt := range []struct {
		name, source string
		ok           bool
		want         string   // the last line
		contains     []string // parts of the report
	}{
		{
			"passes", header + `func TestA(t *testing.T) { println("chatter") }`,
			true, "1 passed, 0 failed, 0 skipped", []string{"ok  \tsample"},
		},
		{
			"subtests", header + `func TestA(t *testing.T) {
				t.Run("b", func(t *testing.T) {})
				t.Run("c", func(t *testing.T) { t.Parallel(); t.Run("d", func(t *testing.T) {}) })
			}`,
			true, "2 passed, 0 failed, 0 skipped", nil,
		},
		{
			"skips", header + `func TestA(t *testing.T) {
				t.Run("b", func(t *testing.T) { t.Log("earlier"); t.Skip("no guests here:\ninstall some") })
				t.Run("c", func(t *testing.T) { t.SkipNow() })
			}`,
			true, "0 passed, 0 failed, 2 skipped", []string{
				"Skipped: no guests here: install some\n  sample TestA/b\n",
				"Skipped: no reason given\n  sample TestA/c\n",
			},
		},
		{
			"fails", header + `func TestA(t *testing.T) { t.Run("b", func(t *testing.T) { t.Error("told you") }) }
			func TestC(t *testing.T) {}`,
			false, "1 passed, 1 failed, 0 skipped", []string{"told you", "Failed:\n  sample TestA/b\n", "FAIL\tsample"},
		},
		{
			"a parent fails itself", header + `func TestA(t *testing.T) {
				t.Run("b", func(t *testing.T) {})
				t.Error("after all")
			}`,
			false, "1 passed, 1 failed, 0 skipped", []string{"after all", "Failed:\n  sample TestA\n"},
		},
		{
			"panics", header + `func TestA(t *testing.T) { panic("oh no") }`,
			false, "0 passed, 1 failed, 0 skipped", []string{"panic: oh no", "Failed:\n  sample TestA"},
		},
		{
			"exits", header + `func TestA(t *testing.T) { os.Exit(3) }`,
			false, "0 passed, 1 failed, 0 skipped", []string{"sample TestA (did not finish)"},
		},
		{
			"the binary fails", header + `func TestA(t *testing.T) {}
			func TestMain(m *testing.M) { m.Run(); println("leak"); os.Exit(1) }`,
			false, "1 passed, 1 failed, 0 skipped", []string{"leak", "Failed:\n  sample\n"},
		},
		{
			"does not compile", header + `func TestA(t *testing.T) { nonsense() }`,
			false, "0 passed, 1 failed, 0 skipped", []string{"undefined: nonsense", "Failed:\n  sample\n"},
		},
		{
			"does not vet", header + `func TestA(t *testing.T) { t.Errorf("%d", "text") }`,
			false, "0 passed, 1 failed, 0 skipped", []string{"wrong type", "Failed:\n  sample\n"},
		},
		{
			"cannot be set up", "package x\n\nimport _ \"sample/missing\"\n",
			false, "0 passed, 1 failed, 0 skipped", []string{"sample/missing", "Failed:\n  sample\n"},
		},
		{
			"has no tests", "package x\n",
			false, "0 passed, 1 failed, 0 skipped", []string{"no test was run"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			report, ok := reportOn(t, goTest(t, tt.source), nil)
			if ok != tt.ok {
				t.Errorf("ok is %v", ok)
			}
			for _, part := range tt.contains {
				if !strings.Contains(report, part) {
					t.Errorf("the report lacks %q", part)
				}
			}
			lines := strings.Split(strings.TrimSuffix(report, "\n"), "\n")
			if d := cmp.Diff(tt.want, lines[len(lines)-1]); d != "" {
				t.Errorf("last line (-want +got):\n%s", d)
			}
			if strings.Contains(report, "chatter") || strings.Contains(report, "=== ") {
				t.Error("the report has the output of tests that passed, or test frames")
			}
			if t.Failed() {
				t.Logf("the report:\n%s", report)
			}
		})
	}
}

// goTest gives the output of go test -json for a module of one file.
func goTest(t *testing.T, source string) string { return goTestModule(t, "sample", source) }

func goTestModule(t *testing.T, module, source string) string {
	out, err := goCommand(t, module, source, "test", "-json", "-count=1", ".").Output()
	if len(out) == 0 { // the exit status is what the report has to find out
		t.Fatalf("go test -json printed nothing: %v", err)
	}
	return string(out)
}

// goCommand is a go command in a module of one file.
func goCommand(t *testing.T, module, source string, args ...string) *exec.Cmd {
	dir := t.TempDir()
	for name, content := range map[string]string{"go.mod": "module " + module + "\n\ngo 1.26\n", "x_test.go": source} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFLAGS=", "GOWORK=off", "CGO_ENABLED=0")
	return cmd
}

func reportOn(t *testing.T, events string, lost []string) (string, bool) {
	var w strings.Builder
	ok, err := run(strings.NewReader(events), &w, lost)
	if err != nil {
		t.Fatal(err)
	}
	return w.String(), ok
}

const passing = `{"Action":"start","Package":"p"}
{"Action":"run","Package":"p","Test":"TestA"}
{"Action":"pass","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Output":"ok  \tp\t0.1s\n"}
{"Action":"pass","Package":"p"}
`

func TestStoppedShort(t *testing.T) {
	lines := strings.SplitAfter(strings.TrimSuffix(passing, "\n"), "\n")
	for n := range lines {
		report, ok := reportOn(t, strings.Join(lines[:n], ""), nil)
		if ok {
			t.Errorf("all is well after %d of %d events:\n%s", n, len(lines), report)
		}
	}
}

// Fuzzing runs a package a second time in the same report.
func TestPackageTwice(t *testing.T) {
	got, ok := reportOn(t, passing+passing, []string{"race detector: off"})
	want := "ok  \tp\t0.1s\nok  \tp\t0.1s\n\nLeft out:\n  race detector: off\n\n2 passed, 0 failed, 0 skipped\n"
	if d := cmp.Diff(want, got); d != "" || !ok {
		t.Errorf("ok is %v, report (-want +got):\n%s", ok, d)
	}
}

func TestForeignLines(t *testing.T) {
	got, ok := reportOn(t, "go: warning\n{}\n"+passing, nil)
	if lines := strings.Split(got, "\n"); !ok || !slices.Equal(lines[:2], []string{"go: warning", "{}"}) {
		t.Errorf("ok is %v, report:\n%s", ok, got)
	}
}
