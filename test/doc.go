// Package test holds other people's programs, as they are, against ours: socat and
// mdlayher/vsock in a Linux guest, and a client of Firecracker's protocol.
//
// It is a module of its own, for what only these tests depend on. It has nothing
// but tests, and programs that run in guests.
package test
