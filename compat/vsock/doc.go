// Package vsock has the public names and the behaviour of github.com/mdlayher/vsock,
// on the stacks of vsockets. A program that uses that package changes its import:
//
//	import "vsockets.dev/compat/vsock"
//
// or, where the import is not its own, its go.mod:
//
//	replace github.com/mdlayher/vsock => vsockets.dev/compat/vsock VERSION
//
// It is a module of its own for that. New programs do better with vsockets.dev/vsock,
// which has the options, seqpackets and the other calls; docs/MIGRATING.md is the way
// from here to there.
//
// What is more, or not the same:
//
//   - It works wherever package vsockets.dev/vsock does, not on Linux alone.
//   - Config.Stack is where sockets come from, so that a program can be tested without
//     a virtual machine (vsockets.dev/vsock/vsocktest).
//   - Conn.LocalAddr has the real context ID, where Linux keeps a wildcard for a
//     socket that Dial made.
//   - Dialing Local fails with EADDRNOTAVAIL where Linux has no loopback transport.
//     Linux would connect to the hypervisor.
//   - FileListener refuses a socket that does not listen.
//   - Listener has SyscallConn.
package vsock
