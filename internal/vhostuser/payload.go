package vhostuser

import (
	"fmt"

	"vsockets.dev/internal/guestmem"
)

// Each payload has a Parse function, which wants exactly its size, and an
// encoder that appends. Source: vhost-user, "Payload".

// ParseU64 decodes a payload that is one number.
func ParseU64(b []byte) (uint64, error) {
	if err := wantSize("number", len(b), u64Size); err != nil {
		return 0, err
	}
	return wire.Uint64(b), nil
}

// AppendU64 appends the encoded form of v to b.
func AppendU64(b []byte, v uint64) []byte { return wire.AppendUint64(b, v) }

// VringState is a number that belongs to a ring.
type VringState struct {
	Index uint32
	Num   uint32
}

// ParseVringState decodes b.
func ParseVringState(b []byte) (VringState, error) {
	if err := wantSize("vring state", len(b), vringStateSize); err != nil {
		return VringState{}, err
	}
	return VringState{Index: wire.Uint32(b[0:]), Num: wire.Uint32(b[4:])}, nil
}

// Append appends the encoded form of s to b.
func (s VringState) Append(b []byte) []byte {
	b = wire.AppendUint32(b, s.Index)
	return wire.AppendUint32(b, s.Num)
}

// VringAddr tells where a ring is, in user addresses of the front-end.
type VringAddr struct {
	Index             uint32
	Flags             uint32 // bit 0: log writes, which we do not offer
	Desc, Used, Avail uint64
	Log               uint64 // guest address; of no meaning without its flag
}

// ParseVringAddr decodes b.
func ParseVringAddr(b []byte) (VringAddr, error) {
	if err := wantSize("vring addresses", len(b), vringAddrSize); err != nil {
		return VringAddr{}, err
	}
	return VringAddr{
		Index: wire.Uint32(b[0:]),
		Flags: wire.Uint32(b[4:]),
		Desc:  wire.Uint64(b[8:]),
		Used:  wire.Uint64(b[16:]),
		Avail: wire.Uint64(b[24:]),
		Log:   wire.Uint64(b[32:]),
	}, nil
}

// Append appends the encoded form of a to b.
func (a VringAddr) Append(b []byte) []byte {
	b = wire.AppendUint32(b, a.Index)
	b = wire.AppendUint32(b, a.Flags)
	b = wire.AppendUint64(b, a.Desc)
	b = wire.AppendUint64(b, a.Used)
	b = wire.AppendUint64(b, a.Avail)
	return wire.AppendUint64(b, a.Log)
}

// VringFD says to which ring the descriptor of a message belongs, and whether
// there is one: bits 0 to 7 and bit 8 of a number.
type VringFD struct {
	Index uint8
	NoFD  bool
}

const vringNoFD = 1 << 8

// ParseVringFD decodes b.
func ParseVringFD(b []byte) (VringFD, error) {
	v, err := ParseU64(b)
	if err != nil {
		return VringFD{}, err
	}
	if unknown := v &^ (0xff | vringNoFD); unknown != 0 {
		return VringFD{}, fmt.Errorf("vhostuser: unknown bits %#x beside the index of the ring", unknown)
	}
	return VringFD{Index: uint8(v), NoFD: v&vringNoFD != 0}, nil
}

// Append appends the encoded form of v to b.
func (v VringFD) Append(b []byte) []byte {
	n := uint64(v.Index)
	if v.NoFD {
		n |= vringNoFD
	}
	return AppendU64(b, n)
}

// ParseMemTable decodes a table of memory regions. Room for more regions than
// the table counts may follow: User Mode Linux always sends room for two.
func ParseMemTable(b []byte) ([]guestmem.Region, error) {
	if len(b) < memTableHeaderSize {
		return nil, fmt.Errorf("vhostuser: memory table of %d bytes, want at least %d", len(b), memTableHeaderSize)
	}
	n := wire.Uint32(b)
	b = b[memTableHeaderSize:]
	if n < 1 || n > MaxRegions {
		return nil, fmt.Errorf("vhostuser: memory table of %d regions, want 1 to %d", n, MaxRegions)
	}
	if room := len(b) / regionSize; len(b)%regionSize != 0 || room < int(n) || room > MaxRegions {
		return nil, fmt.Errorf("vhostuser: memory table of %d regions in %d bytes, want %d for each", n, len(b), regionSize)
	}
	regions := make([]guestmem.Region, n)
	for i := range regions {
		regions[i] = guestmem.Region{
			GuestAddr:  wire.Uint64(b[0:]),
			Size:       wire.Uint64(b[8:]),
			UserAddr:   wire.Uint64(b[16:]),
			MmapOffset: wire.Uint64(b[24:]),
		}
		b = b[regionSize:]
	}
	return regions, nil
}

// AppendMemTable appends the encoded form of regions to b.
func AppendMemTable(b []byte, regions []guestmem.Region) []byte {
	b = wire.AppendUint32(b, uint32(len(regions)))
	b = wire.AppendUint32(b, 0)
	for _, r := range regions {
		b = wire.AppendUint64(b, r.GuestAddr)
		b = wire.AppendUint64(b, r.Size)
		b = wire.AppendUint64(b, r.UserAddr)
		b = wire.AppendUint64(b, r.MmapOffset)
	}
	return b
}

// Config is a part of the device's configuration space.
type Config struct {
	Offset uint32
	Flags  uint32
	Data   []byte // as many bytes as are asked for, or told
}

// ParseConfig decodes b. Data lies in b.
func ParseConfig(b []byte) (Config, error) {
	if len(b) < configHeaderSize {
		return Config{}, fmt.Errorf("vhostuser: configuration of %d bytes, want at least %d", len(b), configHeaderSize)
	}
	c := Config{Offset: wire.Uint32(b[0:]), Flags: wire.Uint32(b[8:]), Data: b[configHeaderSize:]}
	if size := wire.Uint32(b[4:]); uint64(size) != uint64(len(c.Data)) || size > MaxConfig {
		return Config{}, fmt.Errorf("vhostuser: configuration says %d bytes and brings %d, want the same and at most %d", size, len(c.Data), MaxConfig)
	}
	return c, nil
}

// Append appends the encoded form of c to b.
func (c Config) Append(b []byte) []byte {
	b = wire.AppendUint32(b, c.Offset)
	b = wire.AppendUint32(b, uint32(len(c.Data)))
	b = wire.AppendUint32(b, c.Flags)
	return append(b, c.Data...)
}

func wantSize(what string, got, want int) error {
	if got != want {
		return fmt.Errorf("vhostuser: %s of %d bytes, want %d", what, got, want)
	}
	return nil
}
