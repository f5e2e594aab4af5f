// Package driver makes a local process a context of a switch: it is a virtio-vsock
// driver whose "guest memory" is a memory file that it shares with the device,
// over vhost-user. Source: virtio 1.3, section 5.10.
//
// The device at the other end may be anyone's, so what it writes is checked like
// a guest's.
package driver
