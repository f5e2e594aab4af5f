//go:build !linux

package compare

import (
	"context"
	"errors"
	"fmt"
)

// Relay is for Linux only.
func Relay(_ context.Context, c RelayConfig) (*RelayReport, error) {
	if err := checkRounds(c.Rounds, c.Time); err != nil {
		return nil, err
	}
	return nil, fmt.Errorf("compare: relays are measured on Linux only, where a child ends with its parent: %w", errors.ErrUnsupported)
}
