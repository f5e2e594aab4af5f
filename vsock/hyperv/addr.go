package hyperv

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"syscall"

	"github.com/Microsoft/go-winio/pkg/guid"

	"vsockets.dev/internal/winsock"
	"vsockets.dev/vsock"
)

// Facts of hvsocket.h.
const (
	family         = 34 // AF_HYPERV
	protocol       = 1  // HV_PROTOCOL_RAW, which is also the level of the options
	connectTimeout = 1  // HVSOCKET_CONNECT_TIMEOUT, a ULONG of milliseconds
	sockaddrSize   = 36 // struct sockaddr_hv: family, reserved, VM id, service id
)

// VM ids that mean the same everywhere.
var (
	Wildcard = guid.GUID{}                                       // HV_GUID_WILDCARD
	Loopback = mustParse("e0e16197-dd56-4a10-9195-5ee7a155a838") // HV_GUID_LOOPBACK
	Parent   = mustParse("a42e7cda-d03f-480c-9cc2-a4de20abb878") // HV_GUID_PARENT
	Children = mustParse("90db8b89-0d35-4f79-8ce9-49ea0ac8b7cd") // HV_GUID_CHILDREN, to bind to
	template = mustParse("00000000-facb-11e6-bd58-64006a7986d3") // HV_GUID_VSOCK_TEMPLATE
)

func mustParse(s string) guid.GUID {
	g, err := guid.FromString(s)
	if err != nil {
		panic(err)
	}
	return g
}

// ServiceID gives the service that is a port.
func ServiceID(port uint32) guid.GUID {
	g := template
	g.Data1 = port
	return g
}

// Port gives the port that a service is, if it is one.
func Port(service guid.GUID) (port uint32, ok bool) {
	port = service.Data1
	return port, service == ServiceID(port)
}

// RegistryKey is where a Windows host has to know the service of a port, below
// HKEY_LOCAL_MACHINE. A new key is enough; its value ElementName is a name for people.
func RegistryKey(port uint32) string {
	return `SOFTWARE\Microsoft\Windows NT\CurrentVersion\Virtualization\GuestCommunicationServices\` + ServiceID(port).String()
}

// addresses are the address family, with a table of the virtual machines.
type addresses struct {
	vms  map[uint32]guid.GUID
	cids map[guid.GUID]uint32
}

var _ winsock.Family = (*addresses)(nil)

// newAddresses looks at the table: a CID is that of a guest and the GUID its own, and
// neither is in it twice.
func newAddresses(vms map[uint32]guid.GUID) (*addresses, error) {
	a := &addresses{vms: maps.Clone(vms), cids: map[guid.GUID]uint32{
		Loopback: vsock.CIDLocal,
		Parent:   vsock.CIDHost,
		Wildcard: vsock.CIDAny,
		Children: vsock.CIDAny,
	}}
	for cid, vm := range vms {
		if cid <= vsock.CIDHost || cid == vsock.CIDAny {
			return nil, fmt.Errorf("hyperv: CID %d of virtual machine %v is no guest's: %w", cid, vm, syscall.EINVAL)
		}
		if other, ok := a.cids[vm]; ok {
			return nil, fmt.Errorf("hyperv: %v is CID %d and CID %d: %w", vm, other, cid, syscall.EINVAL)
		}
		a.cids[vm] = cid
	}
	return a, nil
}

func (*addresses) Number() (int, error) { return family, nil }

func (*addresses) Protocol() int { return protocol }

// LocalCID is not to be had: Hyper-V does not tell a machine who it is.
func (*addresses) LocalCID() (uint32, error) {
	return 0, fmt.Errorf("hyperv: local CID: Hyper-V does not tell it: %w", vsock.ErrNotSupported)
}

// BindAddress chooses a port at random in place of any, since Hyper-V does not: of so
// many, the one that is taken is not likely.
func (a *addresses) BindAddress(cid, port uint32) ([]byte, error) {
	if port == vsock.PortAny {
		const first = vsock.FirstUnprivilegedPort
		port = first + rand.Uint32N(1<<31-first) // Linux guests know ports below 2^31 only
	}
	vm := Wildcard
	if cid != vsock.CIDAny {
		var ok bool
		if vm, ok = a.vm(cid); !ok {
			return nil, syscall.EADDRNOTAVAIL
		}
	}
	return sockaddr(vm, ServiceID(port)), nil
}

func (a *addresses) PeerAddress(cid, port uint32) ([]byte, error) {
	vm, ok := a.vm(cid)
	switch {
	case cid == vsock.CIDAny || port == vsock.PortAny:
		return nil, syscall.EINVAL
	case !ok: // no such guest: as where nobody listens
		return nil, syscall.ECONNRESET
	}
	return sockaddr(vm, ServiceID(port)), nil
}

func (a *addresses) vm(cid uint32) (guid.GUID, bool) {
	switch cid {
	case vsock.CIDLocal:
		return Loopback, true
	case vsock.CIDHost:
		return Parent, true
	}
	vm, ok := a.vms[cid]
	return vm, ok
}

func sockaddr(vm, service guid.GUID) []byte {
	b := make([]byte, 4, sockaddrSize)
	binary.LittleEndian.PutUint16(b, family)
	v, s := vm.ToWindowsArray(), service.ToWindowsArray()
	return append(append(b, v[:]...), s[:]...)
}

// ParseAddress gives CIDAny for a virtual machine that the table does not have, and
// PortAny for a service that is no port, as the end that connects may have.
func (a *addresses) ParseAddress(sa []byte) (cid, port uint32, err error) {
	if len(sa) < sockaddrSize || binary.LittleEndian.Uint16(sa) != family {
		return 0, 0, fmt.Errorf("hyperv: Winsock gave an address that is none of Hyper-V's: %x: %w", sa, syscall.EAFNOSUPPORT)
	}
	cid, ok := a.cids[guid.FromWindowsArray([16]byte(sa[4:20]))]
	if !ok {
		cid = vsock.CIDAny
	}
	port, ok = Port(guid.FromWindowsArray([16]byte(sa[20:36])))
	if !ok {
		port = vsock.PortAny
	}
	return cid, port, nil
}

func (*addresses) Option(o int) (winsock.Option, bool) {
	if vsock.Option(o) == vsock.ConnectTimeout {
		return winsock.Option{Level: protocol, Name: connectTimeout, Size: 4, Millis: true}, true
	}
	return winsock.Option{}, false
}
