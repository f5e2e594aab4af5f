package vsock

// AddressFamily is VMCISock_GetAFValue: the system's number for the address family
// of vSockets: 40 on Linux and macOS, and on Windows what VMware's driver says.
// ErrNotSupported: the system has none.
//
// No call of this package wants it, since a Stack makes the sockets.
func AddressFamily() (int, error) { return addressFamily() }

// LocalCID is VMCISock_GetLocalCID: the CID of the system, as its own stack gives
// it. It is that of Kernel().
func LocalCID() (uint32, error) { return Kernel().LocalCID() }

// Version is VMCISock_Version: the version of the system's own stack, as
// VM_SOCKETS_VERSION_EPOCH, MAJOR and MINOR of <linux/vm_sockets.h> take it apart:
// epoch<<24 | major<<16 | minor. ErrNotSupported: the system does not tell, for
// example because the kernel module vsock is not loaded, or it is macOS.
func Version() (uint32, error) { return systemVersion() }
