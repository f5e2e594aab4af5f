package hyperv

import (
	"github.com/Microsoft/go-winio/pkg/guid"

	"vsockets.dev/internal/winsock"
	"vsockets.dev/vsock"
)

// New gives the stack of Hyper-V's sockets, with a table of virtual machines: the CID
// that each is to have, and its GUID, which PowerShell tells: (Get-VM NAME).Id. A guest
// needs none. A connection from a machine that is not in the table is from CIDAny.
//
// Streams only. The calls of the stack give vsock.ErrNotSupported but on Windows.
func New(vms map[uint32]guid.GUID) (vsock.Stack, error) {
	a, err := newAddresses(vms)
	if err != nil {
		return nil, err
	}
	return newStack(a), nil
}

// winsockStack is what the stack of the system is on Windows: that of one family of
// Winsock, from which it makes those of others.
type winsockStack interface {
	Family(winsock.Family) vsock.Stack
}

func newStack(a *addresses) vsock.Stack {
	if k, ok := vsock.Kernel().(winsockStack); ok {
		return k.Family(a)
	}
	return none{}
}

// none is the stack of systems without Winsock.
type none struct{}

func (none) Socket(vsock.Type) (vsock.Socket, error) { return nil, vsock.ErrNotSupported }

func (none) LocalCID() (uint32, error) { return 0, vsock.ErrNotSupported }
