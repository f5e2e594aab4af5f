package vsock

// Kernel is the operating system's own vSockets stack: AF_VSOCK on Linux and in a macOS
// guest, VMware's vSockets on Windows (for Hyper-V's, see package hyperv). Elsewhere its
// calls return ErrNotSupported. docs/PLATFORMS.md tells what each has.
//
// It reaches whatever the system is part of: from a guest, CIDHost is the host
// that runs it. Without a vsock transport in the kernel, connecting fails with
// ENODEV or ENETUNREACH. CIDLocal is EADDRNOTAVAIL where Linux has no loopback, since
// it would reach the hypervisor.
func Kernel() Stack { return kernelStack{} }
