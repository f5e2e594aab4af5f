//go:build !linux || !amd64

package supervise

// Main returns at once: there is no User Mode Linux for this platform.
func Main() {}
