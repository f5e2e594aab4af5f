//go:build unix

package cp

import "syscall"

// nonblock has the opening of a pipe not wait for its other end.
const nonblock = syscall.O_NONBLOCK
