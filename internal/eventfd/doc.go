// Package eventfd waits on and signals Linux eventfds: the doorbells of
// virtqueues between two processes, of which the other one is not trusted.
package eventfd
