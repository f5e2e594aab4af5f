//go:build !linux || !amd64

package supervise

// Main returns at once: guests are booted on linux/amd64 only.
func Main() {}
