//go:build !cgo

package confine

// builtWithCgo says how this program was built.
const builtWithCgo = false
