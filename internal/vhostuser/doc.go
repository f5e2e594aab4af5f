// Package vhostuser is the vhost-user protocol: how a virtual machine monitor
// (the front-end) hands the virtqueues and the memory of a guest to a device in
// another process (the back-end), over a Unix socket.
//
// Serve is the back-end's side of one connection, and drives a Backend. Connect
// is the front-end's side. The messages alone are portable; the sessions need
// Linux, for eventfds and memory files.
//
// Source: vhost-user: QEMU docs/interop/vhost-user. A session knows nothing of
// what the device does with its queues, nor of their layout in memory.
package vhostuser
