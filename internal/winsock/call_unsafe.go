//go:build windows

package winsock

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/windows"
)

// This file has the calls of ws2_32.dll that package windows lacks, or has for some
// address families only.

var (
	ws2             = windows.NewLazySystemDLL("ws2_32.dll")
	procAccept      = ws2.NewProc("accept")
	procBind        = ws2.NewProc("bind")
	procConnect     = ws2.NewProc("connect")
	procGetpeername = ws2.NewProc("getpeername")
	procGetsockname = ws2.NewProc("getsockname")
	procEventSelect = ws2.NewProc("WSAEventSelect")
	procIoctlsocket = ws2.NewProc("ioctlsocket")
	procSelect      = ws2.NewProc("select")
)

// socketError is what calls return that fail; then the error is GetLastError's.
const socketError = ^uintptr(0)

// result makes the error of a call that gives 0 or SOCKET_ERROR, an int.
func result(r uintptr, errno syscall.Errno) error {
	if int32(r) == -1 {
		return Error(uint32(errno))
	}
	return nil
}

func bind(h windows.Handle, sa []byte) error {
	r, _, e := syscall.SyscallN(procBind.Addr(), uintptr(h), uintptr(unsafe.Pointer(unsafe.SliceData(sa))), uintptr(len(sa)))
	return result(r, e)
}

func connect(h windows.Handle, sa []byte) error {
	r, _, e := syscall.SyscallN(procConnect.Addr(), uintptr(h), uintptr(unsafe.Pointer(unsafe.SliceData(sa))), uintptr(len(sa)))
	return result(r, e)
}

func accept(h windows.Handle) (windows.Handle, []byte, error) {
	sa := make([]byte, maxSockaddr)
	size := int32(len(sa))
	r, _, e := syscall.SyscallN(procAccept.Addr(), uintptr(h), uintptr(unsafe.Pointer(unsafe.SliceData(sa))), uintptr(unsafe.Pointer(&size)))
	if r == socketError { // INVALID_SOCKET
		return 0, nil, Error(uint32(e))
	}
	return windows.Handle(r), sa[:min(max(size, 0), maxSockaddr)], nil
}

// name makes the call getsockname or getpeername.
func name(proc *windows.LazyProc, h windows.Handle) ([]byte, error) {
	sa := make([]byte, maxSockaddr)
	size := int32(len(sa))
	r, _, e := syscall.SyscallN(proc.Addr(), uintptr(h), uintptr(unsafe.Pointer(unsafe.SliceData(sa))), uintptr(unsafe.Pointer(&size)))
	if err := result(r, e); err != nil {
		return nil, err
	}
	return sa[:min(max(size, 0), maxSockaddr)], nil
}

func eventSelect(h, event windows.Handle, events uint32) error {
	r, _, e := syscall.SyscallN(procEventSelect.Addr(), uintptr(h), uintptr(event), uintptr(events))
	return result(r, e)
}

func ioctl(h windows.Handle, cmd uint32, v *uint32) error {
	r, _, e := syscall.SyscallN(procIoctlsocket.Addr(), uintptr(h), uintptr(cmd), uintptr(unsafe.Pointer(v)))
	return result(r, e)
}

// fdSet is an fd_set of one socket.
type fdSet struct {
	count uint32
	array [1]windows.Handle
}

// selectNow is select without waiting, on one socket: whether it is readable,
// writable, and has an exceptional condition, such as a connect that failed.
func selectNow(h windows.Handle) (read, write, except bool, err error) {
	r, w, x := fdSet{1, [1]windows.Handle{h}}, fdSet{1, [1]windows.Handle{h}}, fdSet{1, [1]windows.Handle{h}}
	var zero [2]int32 // struct timeval, of two longs
	res, _, e := syscall.SyscallN(procSelect.Addr(), 0, uintptr(unsafe.Pointer(&r)), uintptr(unsafe.Pointer(&w)),
		uintptr(unsafe.Pointer(&x)), uintptr(unsafe.Pointer(&zero)))
	if err := result(res, e); err != nil {
		return false, false, false, err
	}
	return r.count > 0, w.count > 0, x.count > 0, nil
}

func setsockopt(h windows.Handle, level, name int, v []byte) error {
	return wsaError(windows.Setsockopt(h, int32(level), int32(name), unsafe.SliceData(v), int32(len(v))))
}

func getsockopt(h windows.Handle, level, name int, v []byte) error {
	size := int32(len(v))
	return wsaError(windows.Getsockopt(h, int32(level), int32(name), unsafe.SliceData(v), &size))
}

// opOf gives the operation of which o is the first field.
func opOf(o *windows.Overlapped) *op { return (*op)(unsafe.Pointer(o)) }

// unsafeData gives the address of p's bytes.
func unsafeData(p []byte) *byte { return unsafe.SliceData(p) }

// rawSockaddr is p as WSARecvFrom and WSASendTo want it, which look at as many bytes
// as they are told.
func rawSockaddr(p []byte) *windows.RawSockaddrAny {
	return (*windows.RawSockaddrAny)(unsafe.Pointer(unsafe.SliceData(p)))
}
