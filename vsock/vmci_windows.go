package vsock

import (
	"encoding/binary"
	"fmt"
	"sync/atomic"

	"golang.org/x/sys/windows"

	"vsockets.dev/internal/winsock"
)

// vmci is VMware's address family, in a guest or on a host of Workstation.
type vmci struct{}

var _ winsock.Family = vmci{}

// vmciInvalid is what the device leaves where it has no answer.
const vmciInvalid = ^uint32(0)

// askVMCI gets a value from the device.
func askVMCI(what string, code uint32) (uint32, error) {
	path, err := windows.UTF16PtrFromString(vmciDevice)
	if err != nil {
		return 0, err
	}
	h, err := windows.CreateFile(path, windows.GENERIC_READ, 0, nil, windows.OPEN_EXISTING, 0, 0)
	if err != nil {
		return 0, fmt.Errorf("vsock: %s: %s does not open (%w): install VMware Tools with the VMCI driver; for Hyper-V, use package vsock/hyperv: %w",
			what, vmciDevice, err, ErrNotSupported)
	}
	defer func() { _ = windows.CloseHandle(h) }()
	var v [4]byte
	binary.LittleEndian.PutUint32(v[:], vmciInvalid)
	var n uint32
	if err := windows.DeviceIoControl(h, code, &v[0], 4, &v[0], 4, &n, nil); err != nil {
		return 0, fmt.Errorf("vsock: %s from %s: %w", what, vmciDevice, err)
	}
	if got := binary.LittleEndian.Uint32(v[:]); got != vmciInvalid {
		return got, nil
	}
	return 0, fmt.Errorf("vsock: %s: %s has none: %w", what, vmciDevice, ErrNotSupported)
}

// vmciNumber is the address family, once it is known: the driver's is always the same.
var vmciNumber atomic.Uint32

func (vmci) Number() (int, error) {
	if v := vmciNumber.Load(); v != 0 {
		return int(v), nil
	}
	v, err := askVMCI("address family", vmciGetAFValue)
	if err == nil {
		vmciNumber.Store(v)
	}
	return int(v), err
}

func (vmci) Protocol() int { return 0 }

func (vmci) LocalCID() (uint32, error) { return askVMCI("local CID", vmciGetLocalCID) }

func (f vmci) BindAddress(cid, port uint32) ([]byte, error) { return f.PeerAddress(cid, port) }

func (f vmci) PeerAddress(cid, port uint32) ([]byte, error) {
	af, err := f.Number()
	if err != nil {
		return nil, err
	}
	return vmciSockaddr(uint16(af), Addr{CID: cid, Port: port}), nil
}

func (f vmci) ParseAddress(sa []byte) (cid, port uint32, err error) {
	af, err := f.Number()
	if err != nil {
		return 0, 0, err
	}
	a, err := parseVMCISockaddr(uint16(af), sa)
	return a.CID, a.Port, err
}

func (f vmci) Option(o int) (winsock.Option, bool) {
	opt, ok := vmciOptions[Option(o)]
	if ok {
		af, err := f.Number()
		opt.Level, ok = af, err == nil
	}
	return opt, ok
}
