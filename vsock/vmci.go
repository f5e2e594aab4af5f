package vsock

import (
	"encoding/binary"
	"fmt"
	"math"
	"syscall"
	"time"

	"vsockets.dev/internal/winsock"
)

// This file has the facts of VMware's vSockets on Windows, which are in no package: the
// device that tells the address family, and the layout of addresses and options. They
// are here as values, so that they are tested on all systems. Source: VMware's
// vmci_sockets.h, the parts for _WIN32.

// vmciDevice is VMCI_SOCKETS_DEVICE.
const vmciDevice = `\\.\VMCI`

// Control codes of the device. Each fills in a 32-bit value.
const (
	vmciVersion     = 0x81032058 // VMCI_SOCKETS_VERSION
	vmciGetAFValue  = 0x81032068 // VMCI_SOCKETS_GET_AF_VALUE
	vmciGetLocalCID = 0x8103206c // VMCI_SOCKETS_GET_LOCAL_CID
)

// vmciOptions are the options, whose level is the address family.
var vmciOptions = map[Option]winsock.Option{
	BufferSize:     {Name: 0, Size: 8},
	BufferMinSize:  {Name: 1, Size: 8},
	BufferMaxSize:  {Name: 2, Size: 8},
	PeerHostVMID:   {Name: 3, Size: 4},
	Trusted:        {Name: 5, Size: 4},
	ConnectTimeout: {Name: 6, Size: 4, Millis: true}, // a DWORD here, and not a struct timeval
	NonblockTxRx:   {Name: 7, Size: 4},
}

// vmciSockaddrSize is the size of struct sockaddr_vm, which is that of struct sockaddr.
const vmciSockaddrSize = 16

// vmciSockaddr writes struct sockaddr_vm: family, reserved, port, CID, zeros.
func vmciSockaddr(family uint16, a Addr) []byte {
	b := make([]byte, vmciSockaddrSize)
	binary.LittleEndian.PutUint16(b, family)
	binary.LittleEndian.PutUint32(b[4:], a.Port)
	binary.LittleEndian.PutUint32(b[8:], a.CID)
	return b
}

func parseVMCISockaddr(family uint16, b []byte) (Addr, error) {
	if len(b) < 12 || binary.LittleEndian.Uint16(b) != family {
		return Addr{}, fmt.Errorf("vsock: Winsock gave an address that is none of family %d: %x: %w", family, b, syscall.EAFNOSUPPORT)
	}
	return Addr{CID: binary.LittleEndian.Uint32(b[8:]), Port: binary.LittleEndian.Uint32(b[4:])}, nil
}

// encodeOption writes a value as the system wants it.
func encodeOption(opt winsock.Option, v uint64) ([]byte, error) {
	if opt.Millis {
		ms := v / uint64(time.Millisecond)
		if v%uint64(time.Millisecond) != 0 {
			ms++ // a timeout must not become none
		}
		v = ms
	}
	if opt.Size == 8 {
		return binary.LittleEndian.AppendUint64(nil, v), nil
	}
	if v > math.MaxUint32 {
		return nil, syscall.ERANGE
	}
	return binary.LittleEndian.AppendUint32(nil, uint32(v)), nil
}

func decodeOption(opt winsock.Option, b []byte) uint64 {
	v := uint64(binary.LittleEndian.Uint32(b))
	if opt.Size == 8 {
		v = binary.LittleEndian.Uint64(b)
	}
	if opt.Millis {
		v *= uint64(time.Millisecond)
	}
	return v
}
