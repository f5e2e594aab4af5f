//go:build !amd64

package bulk

const wholeLines = false

func copyLines(_, _ *byte, _ uintptr) (ok bool) { return false }
