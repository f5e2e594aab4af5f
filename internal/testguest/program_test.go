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
		env             string
		named, there    bool
		required        string // EnvRequirePrograms
		skipped, failed bool
	}{
		{"not there", env, false, false, "", true, false},
		{"in PATH", env, false, true, "", false, false},
		{"named and not there", env, true, false, "", false, true},
		{"named", env, true, true, "", false, false},
		{"has a name of its own", env, false, false, "1", true, false},
		{"no name, not there", "", false, false, "", true, false},
		{"no name, required and not there", "", false, false, "1", false, true},
		{"no name, required", "", false, true, "1", false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("PATH", dir)
			t.Setenv(env, "")
			t.Setenv(EnvRequirePrograms, tt.required)
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
			got := RequireProgram(&o, tt.env, name)
			if (o.skipped != "") != tt.skipped || (o.failed != "") != tt.failed {
				t.Errorf("%+v", o)
			}
			if tt.there && got != path {
				t.Errorf("path %q", got)
			}
		})
	}
}
