// Package soak has a switch work for a long time under all that may happen to it, and
// finds what only time shows: memory, goroutines and descriptors that are not given
// back, a connection in thousands that hangs, a byte that is another one.
//
// The switch is a process, `vsock switch`. On it there are real guests, processes that
// attach, and clients of the hybrid protocol, each a process of its own. They connect to
// each other at random, send bytes that are verified, end connections in good order and
// abruptly; and they are killed, stopped and started again all the while. An error that
// no fault at either end explains is a problem, as is a call that does not return, and
// what is left in the switch at the moments when all rests.
//
// `make soak` runs it for as long as SOAK says; `make test` for some seconds, so that it
// works when it is needed.
package soak
