//go:build !linux

package eventfd

// Prepare does nothing: there are no eventfds here.
func Prepare() error { return nil }
