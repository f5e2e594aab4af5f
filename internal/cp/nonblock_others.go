//go:build !unix

package cp

const nonblock = 0
