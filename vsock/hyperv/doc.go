// Package hyperv has the sockets of Hyper-V, AF_HYPERV, as a stack of package vsock:
// between a Windows host and its virtual machines, whatever runs in them. A Linux guest
// has AF_VSOCK for them (its module hv_sock).
//
// Hyper-V has GUIDs in place of numbers. A port is the service of the template that
// Microsoft has set aside for it, 00000400-facb-11e6-bd58-64006a7986d3 for port 1024; a
// Windows host must have registered it before a guest may use it, see [RegistryKey]. A
// CID is looked up in a table of virtual machines that the caller has, but for those
// that mean the same on every machine:
//
//	vsock.CIDAny    HV_GUID_WILDCARD, whoever connects
//	vsock.CIDLocal  HV_GUID_LOOPBACK
//	vsock.CIDHost   HV_GUID_PARENT, the host of this virtual machine
//
// Sources: Microsoft's "Make your own integration services", hvsocket.h, and
// github.com/Microsoft/go-winio, from which the GUIDs are and whose own connections
// have neither readiness, nor a deadline for Accept, nor calls that do not wait: so
// they are not used.
package hyperv
