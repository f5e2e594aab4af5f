package vhostuser

import (
	"encoding/binary"
	"fmt"

	"vsockets.dev/internal/guestmem"
)

// Request is the type of a message from the front-end.
type Request uint32

// Requests, vhost-user "Front-end message types". Those that belong to protocol
// features that a session never offers are not here.
const (
	GetFeatures         Request = 1
	SetFeatures         Request = 2
	SetOwner            Request = 3
	ResetOwner          Request = 4
	SetMemTable         Request = 5
	SetVringNum         Request = 8
	SetVringAddr        Request = 9
	SetVringBase        Request = 10
	GetVringBase        Request = 11
	SetVringKick        Request = 12
	SetVringCall        Request = 13
	SetVringErr         Request = 14
	GetProtocolFeatures Request = 15
	SetProtocolFeatures Request = 16
	GetQueueNum         Request = 17
	SetVringEnable      Request = 18
	SetBackendReqFD     Request = 21
	GetConfig           Request = 24
	SetConfig           Request = 25
)

func (r Request) String() string {
	if s, ok := shapes[r]; ok {
		return s.name
	}
	return fmt.Sprintf("request(%d)", uint32(r))
}

// Feature bits that the protocol itself adds.
const (
	// FeatureProtocolFeatures is a virtio feature bit that no device uses. It
	// says that the back-end knows protocol features, and once it is
	// acknowledged, that rings start disabled.
	FeatureProtocolFeatures uint64 = 1 << 30

	ProtocolMQ         uint64 = 1 << 0 // GET_QUEUE_NUM
	ProtocolReplyAck   uint64 = 1 << 3 // FlagNeedReply
	ProtocolBackendReq uint64 = 1 << 5 // SET_BACKEND_REQ_FD
	ProtocolConfig     uint64 = 1 << 9 // GET_CONFIG and SET_CONFIG
)

// Limits of the protocol.
const (
	// HeaderSize is the length of an encoded header in bytes.
	HeaderSize = 12

	// MaxRegions is the most entries in a memory table, and with that the most
	// descriptors that come with one message.
	MaxRegions = guestmem.MaxRegions

	// MaxConfig is the most bytes of configuration space in one message.
	MaxConfig = 256

	// MaxPayload is the longest payload of all messages that we know.
	MaxPayload = max(memTableHeaderSize+MaxRegions*regionSize, configHeaderSize+MaxConfig)

	// maxRings is how many rings an index of 8 bits can name.
	maxRings = 256

	// MaxQueueSize is the most descriptors in a split ring, virtio 1.3 section 2.7.
	MaxQueueSize = 32768
)

// Sizes of payloads in bytes.
const (
	u64Size            = 8
	vringStateSize     = 8
	vringAddrSize      = 40
	memTableHeaderSize = 8
	regionSize         = 32
	configHeaderSize   = 12
)

// Flags of a header.
const (
	version       = 1      // of the protocol, in the low two bits
	versionMask   = 3      //
	flagReply     = 1 << 2 // this answers a request
	flagNeedReply = 1 << 3 // answer this even if it has no answer of its own
	knownFlags    = versionMask | flagReply | flagNeedReply
)

// shape is what a well-formed request looks like on the wire.
type shape struct {
	name             string
	minSize, maxSize int
	maxFDs           int
	reply            bool // has an answer of its own, whatever flagNeedReply says
}

var shapes = map[Request]shape{
	GetFeatures:         {name: "GET_FEATURES", reply: true},
	SetFeatures:         {name: "SET_FEATURES", minSize: u64Size, maxSize: u64Size},
	SetOwner:            {name: "SET_OWNER"},
	ResetOwner:          {name: "RESET_OWNER"},
	SetMemTable:         {name: "SET_MEM_TABLE", minSize: memTableHeaderSize + regionSize, maxSize: memTableHeaderSize + MaxRegions*regionSize, maxFDs: MaxRegions},
	SetVringNum:         {name: "SET_VRING_NUM", minSize: vringStateSize, maxSize: vringStateSize},
	SetVringAddr:        {name: "SET_VRING_ADDR", minSize: vringAddrSize, maxSize: vringAddrSize},
	SetVringBase:        {name: "SET_VRING_BASE", minSize: vringStateSize, maxSize: vringStateSize},
	GetVringBase:        {name: "GET_VRING_BASE", minSize: vringStateSize, maxSize: vringStateSize, reply: true},
	SetVringKick:        {name: "SET_VRING_KICK", minSize: u64Size, maxSize: u64Size, maxFDs: 1},
	SetVringCall:        {name: "SET_VRING_CALL", minSize: u64Size, maxSize: u64Size, maxFDs: 1},
	SetVringErr:         {name: "SET_VRING_ERR", minSize: u64Size, maxSize: u64Size, maxFDs: 1},
	GetProtocolFeatures: {name: "GET_PROTOCOL_FEATURES", reply: true},
	SetProtocolFeatures: {name: "SET_PROTOCOL_FEATURES", minSize: u64Size, maxSize: u64Size},
	GetQueueNum:         {name: "GET_QUEUE_NUM", reply: true},
	SetVringEnable:      {name: "SET_VRING_ENABLE", minSize: vringStateSize, maxSize: vringStateSize},
	SetBackendReqFD:     {name: "SET_BACKEND_REQ_FD", maxFDs: 1},
	GetConfig:           {name: "GET_CONFIG", minSize: configHeaderSize, maxSize: configHeaderSize + MaxConfig, reply: true},
	SetConfig:           {name: "SET_CONFIG", minSize: configHeaderSize, maxSize: configHeaderSize + MaxConfig},
}

// wire is the byte order of the protocol: the machine's own, for both sides run on it.
var wire = binary.NativeEndian

// Header is the decoded header of a message.
type Header struct {
	Request Request
	Flags   uint32
	Size    uint32 // payload bytes that follow
}

// ParseHeader decodes the header at the start of b. It refuses what no version
// of the protocol that we know can follow.
func ParseHeader(b []byte) (Header, error) {
	if len(b) < HeaderSize {
		return Header{}, fmt.Errorf("vhostuser: header of %d bytes, want %d", len(b), HeaderSize)
	}
	h := Header{
		Request: Request(wire.Uint32(b[0:])),
		Flags:   wire.Uint32(b[4:]),
		Size:    wire.Uint32(b[8:]),
	}
	if v := h.Flags & versionMask; v != version {
		return Header{}, fmt.Errorf("vhostuser: %v: version %d of the protocol, want %d (is the peer a vhost-user peer?)", h.Request, v, version)
	}
	if unknown := h.Flags &^ knownFlags; unknown != 0 {
		return Header{}, fmt.Errorf("vhostuser: %v: unknown flags %#x", h.Request, unknown)
	}
	if h.Size > MaxPayload {
		return Header{}, fmt.Errorf("vhostuser: %v: payload of %d bytes, at most %d are possible", h.Request, h.Size, MaxPayload)
	}
	return h, nil
}

// Append appends the encoded form of h to b.
func (h Header) Append(b []byte) []byte {
	b = wire.AppendUint32(b, uint32(h.Request))
	b = wire.AppendUint32(b, h.Flags)
	return wire.AppendUint32(b, h.Size)
}

// checkRequest holds a request against its shape. An unknown request has none,
// and passes.
func checkRequest(h Header, fds int) error {
	s, ok := shapes[h.Request]
	switch size := int(h.Size); {
	case h.Flags&flagReply != 0:
		return fmt.Errorf("vhostuser: %v: a reply where a request is due", h.Request)
	case !ok:
		return nil
	case size < s.minSize || size > s.maxSize:
		return fmt.Errorf("vhostuser: %v: payload of %d bytes, want %s", h.Request, size, span(s.minSize, s.maxSize))
	case fds > s.maxFDs:
		return fmt.Errorf("vhostuser: %v: %d descriptors, want at most %d", h.Request, fds, s.maxFDs)
	}
	return nil
}

func span(low, high int) string {
	if low == high {
		return fmt.Sprint(low)
	}
	return fmt.Sprintf("%d to %d", low, high)
}
