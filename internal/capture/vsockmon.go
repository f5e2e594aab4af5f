package capture

import (
	"encoding/binary"
	"fmt"
	"time"

	"vsockets.dev/internal/packet"
)

// LinkType is LINKTYPE_VSOCK.
const LinkType = 271

// monitorSize is the length of struct af_vsockmon_hdr, all of which is little-endian.
const monitorSize = 32

// Operations and transports of vsockmon, enum af_vsockmon_op and _transport.
const (
	opConnect, opDisconnect, opControl, opPayload = 1, 2, 3, 4

	transportVirtio = 2
)

// Packet is a packet that was captured.
type Packet struct {
	Time time.Time
	packet.Header
	Payload []byte // as much as was kept
}

// monitorOp tells an operation as vsockmon does: of virtio_transport_common.c,
// virtio_transport_build_skb.
func monitorOp(op packet.Op) uint16 {
	switch op {
	case packet.OpRequest, packet.OpResponse:
		return opConnect
	case packet.OpReset, packet.OpShutdown:
		return opDisconnect
	case packet.OpRW:
		return opPayload
	case packet.OpCreditUpdate, packet.OpCreditRequest:
		return opControl
	}
	return 0
}

// appendMonitor appends a packet as vsockmon has it.
func appendMonitor(b []byte, p *Packet) []byte {
	le := binary.LittleEndian
	b = le.AppendUint64(b, p.SrcCID)
	b = le.AppendUint64(b, p.DstCID)
	b = le.AppendUint32(b, p.SrcPort)
	b = le.AppendUint32(b, p.DstPort)
	b = le.AppendUint16(b, monitorOp(p.Op))
	b = le.AppendUint16(b, transportVirtio)
	b = le.AppendUint16(b, packet.HeaderSize)
	b = append(b, 0, 0)
	b = p.Append(b)
	return append(b, p.Payload...)
}

// parseMonitor reads it back. The payload is not copied.
func parseMonitor(b []byte) (p Packet, err error) {
	if len(b) < monitorSize+packet.HeaderSize {
		return p, fmt.Errorf("capture: a packet of %d bytes, which is less than its headers", len(b))
	}
	le := binary.LittleEndian
	if t, n := le.Uint16(b[26:]), le.Uint16(b[28:]); t != transportVirtio || n != packet.HeaderSize {
		return p, fmt.Errorf("capture: a packet of transport %d with a header of %d bytes, which is not virtio's", t, n)
	}
	p.Header, err = packet.Parse(b[monitorSize:])
	p.Payload = b[monitorSize+packet.HeaderSize:]
	return p, err
}
