package guest

import (
	"context"
	"encoding/json"
	"testing"
)

func TestHandleTwice(t *testing.T) {
	h := func(context.Context, json.RawMessage) (any, error) { return nil, nil }
	Handle("twice", h)
	defer delete(handlers, "twice")
	defer func() {
		if recover() == nil {
			t.Error("a name was registered twice")
		}
	}()
	Handle("twice", h)
}

// TestMainReturns: a program that is in no role goes on, even with a role's variable.
func TestMainReturns(t *testing.T) {
	for _, role := range []string{"", RoleInit, roleAgent} {
		t.Setenv(EnvRole, role)
		Main()
	}
}
