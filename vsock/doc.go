// Package vsock is vSockets for Go: Berkeley sockets between virtual machines
// and their host, where an address is a context ID (CID) and a port.
//
// A [Stack] is where sockets come from: the operating system's own, [Kernel],
// or one in user space, such as a context of package vswitch. The same code
// runs on each of them:
//
//	ln, err := vsock.Listen(ctx, stack, vsock.Addr{CID: vsock.CIDAny, Port: 1024})
//	conn, err := vsock.Dial(ctx, stack, vsock.Addr{CID: 3, Port: 1024})
//
// [Conn] and [Listener] are a net.Conn and a net.Listener. [Dialer] and
// [ListenConfig] take options. Beneath them, [Socket] has the Berkeley calls of
// the vSockets guide one by one.
//
// Every error that a connection or listener returns is a *net.OpError around the
// socket's own: errors.Is works with syscall.ECONNRESET and its like, with
// net.ErrClosed and with os.ErrDeadlineExceeded.
package vsock
