package winsock

import (
	"errors"
	"io"
	"syscall"
)

// codes are the numbers of winsock2.h, and those of winerror.h that overlapped calls
// end with in their place. Read and written as numbers, they are tested on all systems.
var codes = map[uint32]error{
	10004: syscall.EINTR,           // WSAEINTR
	10009: syscall.EBADF,           // WSAEBADF
	10013: syscall.EACCES,          // WSAEACCES
	10014: syscall.EFAULT,          // WSAEFAULT
	10022: syscall.EINVAL,          // WSAEINVAL
	10024: syscall.EMFILE,          // WSAEMFILE
	10035: syscall.EAGAIN,          // WSAEWOULDBLOCK
	10036: syscall.EINPROGRESS,     // WSAEINPROGRESS
	10037: syscall.EALREADY,        // WSAEALREADY
	10038: syscall.ENOTSOCK,        // WSAENOTSOCK
	10039: syscall.EDESTADDRREQ,    // WSAEDESTADDRREQ
	10040: syscall.EMSGSIZE,        // WSAEMSGSIZE
	10041: syscall.EPROTOTYPE,      // WSAEPROTOTYPE
	10042: syscall.ENOPROTOOPT,     // WSAENOPROTOOPT
	10043: syscall.EPROTONOSUPPORT, // WSAEPROTONOSUPPORT
	10044: syscall.ESOCKTNOSUPPORT, // WSAESOCKTNOSUPPORT
	10045: syscall.EOPNOTSUPP,      // WSAEOPNOTSUPP
	10047: syscall.EAFNOSUPPORT,    // WSAEAFNOSUPPORT
	10048: syscall.EADDRINUSE,      // WSAEADDRINUSE
	10049: syscall.EADDRNOTAVAIL,   // WSAEADDRNOTAVAIL
	10050: syscall.ENETDOWN,        // WSAENETDOWN
	10051: syscall.ENETUNREACH,     // WSAENETUNREACH
	10052: syscall.ECONNRESET,      // WSAENETRESET
	10053: syscall.ECONNRESET,      // WSAECONNABORTED: the connection was cut from this side
	10054: syscall.ECONNRESET,      // WSAECONNRESET
	10055: syscall.ENOBUFS,         // WSAENOBUFS
	10056: syscall.EISCONN,         // WSAEISCONN
	10057: syscall.ENOTCONN,        // WSAENOTCONN
	10058: syscall.EPIPE,           // WSAESHUTDOWN
	10060: syscall.ETIMEDOUT,       // WSAETIMEDOUT
	10061: syscall.ECONNREFUSED,    // WSAECONNREFUSED
	10065: syscall.EHOSTUNREACH,    // WSAEHOSTUNREACH
	10101: io.EOF,                  // WSAEDISCON
	64:    syscall.ECONNRESET,      // ERROR_NETNAME_DELETED
	121:   syscall.ETIMEDOUT,       // ERROR_SEM_TIMEOUT
	234:   syscall.EMSGSIZE,        // ERROR_MORE_DATA
	995:   syscall.ECANCELED,       // ERROR_OPERATION_ABORTED
	1225:  syscall.ECONNREFUSED,    // ERROR_CONNECTION_REFUSED
	1231:  syscall.ENETUNREACH,     // ERROR_NETWORK_UNREACHABLE
	1232:  syscall.EHOSTUNREACH,    // ERROR_HOST_UNREACHABLE
	1234:  syscall.ECONNREFUSED,    // ERROR_PORT_UNREACHABLE
	1236:  syscall.ECONNRESET,      // ERROR_CONNECTION_ABORTED
}

// Error gives the error of package syscall for a number of Winsock's: one that is
// not known stays as it is.
func Error(code uint32) error {
	if code == 0 {
		return nil
	}
	if err, ok := codes[code]; ok {
		return err
	}
	return syscall.Errno(code)
}

// Cut tells whether an error says that a connection has ended other than in good order.
func Cut(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.ETIMEDOUT) || errors.Is(err, syscall.ECONNREFUSED)
}
