package forward

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"

	"vsockets.dev/vsock"
)

// Source is whom an allow list lets in: a CID, written as a number, or a prefix of
// IP addresses, written as 10.0.0.0/8, or an address alone.
type Source struct {
	cid    uint32
	prefix netip.Prefix // invalid: it is a CID
}

// ParseSource reads an entry of an allow list.
func ParseSource(s string) (Source, error) {
	if cid, err := strconv.ParseUint(s, 10, 32); err == nil {
		return Source{cid: uint32(cid)}, nil
	}
	if p, err := netip.ParsePrefix(s); err == nil && !p.Addr().Is4In6() {
		return Source{prefix: p.Masked()}, nil
	}
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return Source{prefix: netip.PrefixFrom(a, a.BitLen())}, nil
	}
	return Source{}, fmt.Errorf("forward: %q is no source; write a CID (3), an address (192.0.2.7) or a prefix (192.0.2.0/24)", s)
}

// String is the source's text, which ParseSource reads back.
func (s Source) String() string {
	if s.prefix.IsValid() {
		return s.prefix.String()
	}
	return strconv.FormatUint(uint64(s.cid), 10)
}

// MarshalText gives String.
func (s Source) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what ParseSource reads.
func (s *Source) UnmarshalText(text []byte) error { return s.Set(string(text)) }

// Set reads what ParseSource reads. With it, a *Source is a flag.Value.
func (s *Source) Set(text string) error {
	v, err := ParseSource(text)
	if err == nil {
		*s = v
	}
	return err
}

// covers says whether the source is where a connection comes from.
func (s Source) covers(from net.Addr) bool {
	switch a := from.(type) {
	case vsock.Addr:
		return !s.prefix.IsValid() && s.cid == a.CID
	case *net.TCPAddr:
		return s.prefix.IsValid() && s.prefix.Contains(a.AddrPort().Addr().Unmap().WithZone(""))
	}
	return false
}

// checkAllow refuses an allow list that means nothing where it is used: it would
// let nobody in, or look as if it guarded what it does not.
func checkAllow(from Endpoint, allow []Source) error {
	for _, s := range allow {
		switch from.Kind {
		case Vsock, Kernel, Host:
			if s.prefix.IsValid() {
				return fmt.Errorf("forward: %s is reached by CIDs, and %s is none; allow CIDs", from, s)
			}
		case TCP:
			if !s.prefix.IsValid() {
				return fmt.Errorf("forward: %s is reached by IP addresses, and %s is none; allow addresses or prefixes", from, s)
			}
		default:
			return fmt.Errorf("forward: %s has no sources to allow; leave the list out (the permissions of a Unix socket say who may connect)", from)
		}
	}
	return nil
}

// allowed says whether an allow list lets a connection in. An empty one lets in
// all.
func allowed(allow []Source, from net.Addr) bool {
	for _, s := range allow {
		if s.covers(from) {
			return true
		}
	}
	return len(allow) == 0
}
