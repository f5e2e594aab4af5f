// Package packet is the virtio-vsock packet: its 44-byte header and how packets
// are handed from one part of the system to the next.
//
// Everything that knows the wire format of a packet is in this package and
// nowhere else. Source: virtio 1.3, section 5.10.6.
package packet

import (
	"encoding/binary"
	"fmt"
)

// HeaderSize is the length of an encoded header in bytes.
const HeaderSize = 44

// MaxPayload is the most payload bytes one packet carries. Linux drops packets
// above 64 KiB (VIRTIO_VSOCK_MAX_PKT_BUF_SIZE), so nobody may send more.
const MaxPayload = 64 << 10

// LengthAt is where the length of the payload is in an encoded header: 32 bits.
const LengthAt = 24

// Type is the kind of socket a packet belongs to.
type Type uint16

// Socket types, virtio 1.3 section 5.10.6. TypeDatagram is not in the
// specification: it travels between our own stacks only, which negotiate it.
const (
	TypeStream    Type = 1
	TypeSeqpacket Type = 2
	TypeDatagram  Type = 3
)

func (t Type) String() string {
	switch t {
	case TypeStream:
		return "stream"
	case TypeSeqpacket:
		return "seqpacket"
	case TypeDatagram:
		return "datagram"
	}
	return fmt.Sprintf("type(%d)", uint16(t))
}

// Op is what a packet asks of the connection it names.
type Op uint16

// Operations, virtio 1.3 section 5.10.6.
const (
	OpInvalid       Op = 0
	OpRequest       Op = 1 // open a connection
	OpResponse      Op = 2 // accept a connection
	OpReset         Op = 3 // end, or refuse, a connection
	OpShutdown      Op = 4 // one or both directions are finished; see the Shutdown flags
	OpRW            Op = 5 // payload
	OpCreditUpdate  Op = 6 // BufAlloc and FwdCnt have news
	OpCreditRequest Op = 7 // please send a CreditUpdate
)

var opNames = [...]string{"INVALID", "REQUEST", "RESPONSE", "RST", "SHUTDOWN", "RW", "CREDIT_UPDATE", "CREDIT_REQUEST"}

func (o Op) String() string {
	if int(o) < len(opNames) {
		return opNames[o]
	}
	return fmt.Sprintf("op(%d)", uint16(o))
}

// Flags of an OpShutdown packet. Once sent, each is permanent.
const (
	ShutdownReceive uint32 = 1 << 0 // the sender will not receive any more
	ShutdownSend    uint32 = 1 << 1 // the sender will not send any more
	ShutdownBoth           = ShutdownReceive | ShutdownSend
)

// Flags of an OpRW packet of a seqpacket connection, virtio 1.3 section 5.10.6.6.2.
const (
	EndOfMessage uint32 = 1 << 0
	EndOfRecord  uint32 = 1 << 1
)

// Renegotiated is a flag of an OpResponse packet between our own stacks: BufAlloc
// is not the size that was proposed, but what the acceptor offers in its place.
// Other stacks neither set it nor look at it.
const Renegotiated uint32 = 1 << 31

// Header is the decoded header of a packet.
type Header struct {
	SrcCID, DstCID   uint64
	SrcPort, DstPort uint32
	Len              uint32 // payload bytes that follow the header
	Type             Type
	Op               Op
	Flags            uint32
	BufAlloc         uint32 // sender's receive buffer, bytes
	FwdCnt           uint32 // bytes the sender's application has taken, wrapping
}

// Parse decodes the header at the start of b.
// It checks the length of b only: what the fields mean is for the receiver to judge.
func Parse(b []byte) (Header, error) {
	if len(b) < HeaderSize {
		return Header{}, fmt.Errorf("packet: header of %d bytes, want %d", len(b), HeaderSize)
	}
	var h Header
	h.Decode((*[HeaderSize]byte)(b))
	return h, nil
}

// Decode sets h from its encoded form.
func (h *Header) Decode(b *[HeaderSize]byte) {
	le := binary.LittleEndian
	h.SrcCID = le.Uint64(b[0:])
	h.DstCID = le.Uint64(b[8:])
	h.SrcPort = le.Uint32(b[16:])
	h.DstPort = le.Uint32(b[20:])
	h.Len = le.Uint32(b[LengthAt:])
	h.Type = Type(le.Uint16(b[28:]))
	h.Op = Op(le.Uint16(b[30:]))
	h.Flags = le.Uint32(b[32:])
	h.BufAlloc = le.Uint32(b[36:])
	h.FwdCnt = le.Uint32(b[40:])
}

// Encode writes the encoded form of h to b.
func (h *Header) Encode(b *[HeaderSize]byte) {
	le := binary.LittleEndian
	le.PutUint64(b[0:], h.SrcCID)
	le.PutUint64(b[8:], h.DstCID)
	le.PutUint32(b[16:], h.SrcPort)
	le.PutUint32(b[20:], h.DstPort)
	le.PutUint32(b[LengthAt:], h.Len)
	le.PutUint16(b[28:], uint16(h.Type))
	le.PutUint16(b[30:], uint16(h.Op))
	le.PutUint32(b[32:], h.Flags)
	le.PutUint32(b[36:], h.BufAlloc)
	le.PutUint32(b[40:], h.FwdCnt)
}

// Append appends the encoded form of h to b.
func (h *Header) Append(b []byte) []byte {
	var enc [HeaderSize]byte
	h.Encode(&enc)
	return append(b, enc[:]...)
}

func (h *Header) String() string {
	s := fmt.Sprintf("%d:%d > %d:%d %s %s", h.SrcCID, h.SrcPort, h.DstCID, h.DstPort, h.Type, h.Op)
	if h.Len > 0 {
		s += fmt.Sprintf(" len=%d", h.Len)
	}
	if h.Flags != 0 {
		s += fmt.Sprintf(" flags=%#x", h.Flags)
	}
	return s + fmt.Sprintf(" buf_alloc=%d fwd_cnt=%d", h.BufAlloc, h.FwdCnt)
}

// Known says whether there are such a type and such an op.
func (h *Header) Known() bool {
	return h.Type-1 < TypeDatagram && h.Op-1 < OpCreditRequest
}

// Reply gives the header of an answer to h: source and destination swapped,
// the same socket type, no payload.
func (h *Header) Reply(op Op) Header {
	return Header{
		SrcCID: h.DstCID, DstCID: h.SrcCID,
		SrcPort: h.DstPort, DstPort: h.SrcPort,
		Type: h.Type, Op: op,
	}
}

// Refusal gives the RST that answers h, where one does: RST is never answered with
// RST, and a datagram has no connection that could be refused.
func (h *Header) Refusal() (rst Header, ok bool) {
	if h.Op == OpReset || h.Type == TypeDatagram {
		return Header{}, false
	}
	return h.Reply(OpReset), true
}

// Part gives the header of n bytes of the payload, from off on. The marks of the
// end of a message belong to its last part.
func (h *Header) Part(off, n int) Header {
	part := *h
	part.Len = uint32(n)
	if h.Op == OpRW && off+n < int(h.Len) {
		part.Flags = 0
	}
	return part
}

// Continues says whether h has nothing to say but its payload, in the stream of a header
// before. Field by field: they have just been written one by one, and a processor that is
// asked for several of them at once waits until that is done.
func (h *Header) Continues(before *Header) bool {
	return h.SrcPort == before.SrcPort && h.DstPort == before.DstPort &&
		h.SrcCID == before.SrcCID && h.DstCID == before.DstCID &&
		h.Type == before.Type && h.Op == before.Op && h.Flags == before.Flags &&
		h.BufAlloc == before.BufAlloc && h.FwdCnt == before.FwdCnt
}
