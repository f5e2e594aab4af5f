//go:build !linux || !amd64

package testguest

import (
	"fmt"
	"runtime"
)

// Available says why no guest can be booted.
func Available() error {
	return fmt.Errorf("testguest: guests are User Mode Linux, which needs linux/amd64; this is %s/%s", runtime.GOOS, runtime.GOARCH)
}

func launch(*Config) (*machine, error) { return nil, Available() }
