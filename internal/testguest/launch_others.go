//go:build !linux || !amd64

package testguest

import (
	"fmt"
	"runtime"
)

// Available says why no guest can be booted.
func (m Machine) Available() error {
	return fmt.Errorf("testguest: guests (%s) need linux/amd64; this is %s/%s", m, runtime.GOOS, runtime.GOARCH)
}

func launch(cfg *Config) (*instance, error) { return nil, cfg.Machine.Available() }
