package vsock

// Kernel is the operating system's own vSockets stack: AF_VSOCK on Linux.
// Elsewhere its calls return ErrNotSupported.
//
// It reaches whatever the system is part of: from a guest, CIDHost is the host
// that runs it. Without a vsock transport in the kernel, connecting fails with
// ENODEV or ENETUNREACH.
func Kernel() Stack { return kernelStack{} }
