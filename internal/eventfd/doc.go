// Package eventfd waits on and signals Linux eventfds: the doorbells of
// virtqueues between two processes.
package eventfd
