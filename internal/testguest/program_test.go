package testguest

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// outcome is a TB that remembers.
type outcome struct{ skipped, failed string }

func (o *outcome) Helper()                           {}
func (o *outcome) Skipf(format string, args ...any)  { o.skipped = fmt.Sprintf(format, args...) }
func (o *outcome) Fatalf(format string, args ...any) { o.failed = fmt.Sprintf(format, args...) }

func TestRequireProgram(t *testing.T) {
	const env, name = "TESTGUEST_PROGRAM", "some-program"
	dir := t.TempDir()
	path := filepath.Join(dir, name)
	tests := []struct {
		name            string
		named, there    bool
		skipped, failed bool
	}{
		{"not there", false, false, true, false},
		{"in PATH", false, true, false, false},
		{"named and not there", true, false, false, true},
		{"named", true, true, false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("PATH", dir)
			t.Setenv(env, "")
			if tt.named {
				t.Setenv(env, path)
			}
			if tt.there {
				if err := os.WriteFile(path, nil, 0o700); err != nil {
					t.Fatal(err)
				}
				defer os.Remove(path)
			}
			var o outcome
			got := RequireProgram(&o, env, name)
			if (o.skipped != "") != tt.skipped || (o.failed != "") != tt.failed {
				t.Errorf("%+v", o)
			}
			if tt.there && got != path {
				t.Errorf("path %q", got)
			}
		})
	}
}
