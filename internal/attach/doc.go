// Package attach makes a process a context of a switch that runs in another one: our
// stack, on a virtio-vsock driver, over shared memory.
package attach
