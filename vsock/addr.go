package vsock

import (
	"fmt"
	"strconv"
	"strings"
)

// Well-known context IDs. Source: Linux <linux/vm_sockets.h>.
const (
	CIDHypervisor uint32 = 0          // VMADDR_CID_HYPERVISOR, services of the hypervisor itself
	CIDLocal      uint32 = 1          // VMADDR_CID_LOCAL, the loopback of the caller's own context
	CIDHost       uint32 = 2          // VMADDR_CID_HOST, the host
	CIDAny        uint32 = 0xffffffff // VMADDR_CID_ANY, any CID at bind
)

// PortAny is VMADDR_PORT_ANY: at bind, an ephemeral port that is not in use.
const PortAny uint32 = 0xffffffff

// FirstUnprivilegedPort is the lowest port that needs no privilege to bind, and
// the lowest one that PortAny gives.
const FirstUnprivilegedPort uint32 = 1024

// An Addr is the address of a socket: a context and a port in it.
// It is comparable, and a net.Addr.
type Addr struct {
	CID  uint32
	Port uint32
}

// Network is "vsock".
func (Addr) Network() string { return "vsock" }

// cidNames are the names ParseAddr takes in place of a number.
var cidNames = map[string]uint32{
	"any":        CIDAny,
	"hypervisor": CIDHypervisor,
	"local":      CIDLocal,
	"host":       CIDHost,
}

// String gives "CID:port" in decimal, with "any" for CIDAny and PortAny.
// ParseAddr reads it back.
func (a Addr) String() string {
	return part(a.CID) + ":" + part(a.Port)
}

func part(v uint32) string {
	if v == CIDAny {
		return "any"
	}
	return strconv.FormatUint(uint64(v), 10)
}

// ParseAddr reads an address: "3:1024", "vsock:3:1024" as gRPC and systemd
// write it, or "vsock://3:1024". The CID may be any, local, host or hypervisor;
// the port may be any.
func ParseAddr(s string) (Addr, error) {
	rest := s
	if after, ok := strings.CutPrefix(rest, "vsock:"); ok {
		rest = strings.TrimPrefix(after, "//")
	}
	cid, port, ok := strings.Cut(rest, ":")
	if !ok {
		return Addr{}, fmt.Errorf("vsock: address %q has no port; write it as CID:port, for example 3:1024", s)
	}
	c, ok := cidNames[cid]
	if !ok {
		var err error
		if c, err = parse32(cid); err != nil {
			return Addr{}, fmt.Errorf("vsock: address %q: %q is not a CID; use a number below 2^32 or any, local, host, hypervisor", s, cid)
		}
	}
	p := PortAny
	if port != "any" {
		var err error
		if p, err = parse32(port); err != nil {
			return Addr{}, fmt.Errorf("vsock: address %q: %q is not a port; use a number below 2^32 or any", s, port)
		}
	}
	return Addr{CID: c, Port: p}, nil
}

// MarshalText gives String.
func (a Addr) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText reads what ParseAddr reads.
func (a *Addr) UnmarshalText(text []byte) error { return a.Set(string(text)) }

// Set reads what ParseAddr reads. With it, an *Addr is a flag.Value.
func (a *Addr) Set(s string) error {
	v, err := ParseAddr(s)
	if err == nil {
		*a = v
	}
	return err
}

// parse32 takes decimal digits only: no sign and no other base, so that an
// address has one spelling.
func parse32(s string) (uint32, error) {
	v, err := strconv.ParseUint(s, 10, 32)
	return uint32(v), err
}
