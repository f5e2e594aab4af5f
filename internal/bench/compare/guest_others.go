//go:build !linux

package compare

import (
	"context"
	"errors"
	"fmt"
)

// Guest is for Linux only.
func Guest(_ context.Context, c GuestConfig) (*GuestReport, error) {
	if err := checkRounds(c.Rounds, c.Time); err != nil {
		return nil, err
	}
	return nil, fmt.Errorf("compare: guests boot on Linux only: %w", errors.ErrUnsupported)
}
