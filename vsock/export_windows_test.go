package vsock

import (
	"encoding/binary"
	"syscall"

	"vsockets.dev/internal/winsock"
)

// Inet is the stack of Windows over an address family that every Windows has, and
// Wine: port for port TCP and UDP on 127.0.0.1, which is CIDLocal. VMware's and
// Hyper-V's differ from it in their addresses and options only.
func Inet() Stack { return kernelStack{}.Family(inet{}) }

type inet struct{}

const afInet = 2

func (inet) Number() (int, error) { return afInet, nil }

func (inet) Protocol() int { return 0 }

func (inet) LocalCID() (uint32, error) { return CIDLocal, nil }

func (f inet) BindAddress(cid, port uint32) ([]byte, error) {
	if cid == CIDAny {
		cid = CIDLocal
	}
	if cid != CIDLocal {
		return nil, syscall.EADDRNOTAVAIL
	}
	if port == PortAny {
		port = 0
	}
	return f.PeerAddress(cid, port)
}

func (inet) PeerAddress(cid, port uint32) ([]byte, error) {
	if cid != CIDLocal || port > 0xffff {
		return nil, syscall.EINVAL
	}
	b := make([]byte, 16)
	binary.LittleEndian.PutUint16(b, afInet)
	binary.BigEndian.PutUint16(b[2:], uint16(port))
	copy(b[4:], []byte{127, 0, 0, 1})
	return b, nil
}

func (inet) ParseAddress(sa []byte) (cid, port uint32, err error) {
	if len(sa) < 8 {
		return 0, 0, syscall.EAFNOSUPPORT
	}
	return CIDLocal, uint32(binary.BigEndian.Uint16(sa[2:])), nil
}

func (inet) Option(int) (winsock.Option, bool) { return winsock.Option{}, false }
