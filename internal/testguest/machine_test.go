package testguest

import (
	"fmt"
	"testing"
)

// TestRequire: a machine that nobody has is always missing.
func TestRequire(t *testing.T) {
	const nowhere = Machine("nowhere")
	tests := []struct{ require, want string }{
		{"", "skipped: no guest can be booted"},
		{"0", "skipped: no guest is to be booted"},
		{"1", "failed"},
		{"uml", "skipped: no guest can be booted"},
		{"uml nowhere", "failed"},
	}
	for _, tt := range tests {
		t.Run(tt.require, func(t *testing.T) {
			t.Setenv(EnvRequire, tt.require)
			var got verdict
			nowhere.Require(&got)
			if len(got) < len(tt.want) || string(got[:len(tt.want)]) != tt.want {
				t.Errorf("%s, want it to be %s", got, tt.want)
			}
		})
	}
}

// verdict is a test that remembers what became of it.
type verdict string

func (*verdict) Helper() {}

func (v *verdict) Skipf(format string, args ...any) {
	*v += verdict("skipped: " + fmt.Sprintf(format, args...))
}

func (v *verdict) Fatalf(format string, args ...any) {
	*v += verdict("failed: " + fmt.Sprintf(format, args...))
}
