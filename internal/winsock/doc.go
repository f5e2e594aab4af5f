// Package winsock has sockets of any address family of Windows, with deadlines and
// readiness. Package net has some families only, and no raw addresses; the vSockets of
// VMware and of Hyper-V are two of the others.
//
// Data moves by overlapped calls on one I/O completion port, so that a call that
// waits costs a goroutine and no thread. Connections are made, and readiness is
// told, by WSAEventSelect, which every provider must have: the extensions ConnectEx
// and AcceptEx are not everyone's. A socket that somebody waits on in that way costs
// a thread meanwhile.
//
// Errors are the ones of package syscall, by the names that all systems have: Winsock's
// own numbers match none of them. Sources: the Windows Sockets 2 reference,
// https://learn.microsoft.com/windows/win32/winsock, for each call.
package winsock
