package capture

import (
	"fmt"
	"strings"

	"vsockets.dev/internal/packet"
)

// Line shows a packet in a line.
func (p *Packet) Line() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %d:%d > %d:%d %s %s", p.Time.Format("15:04:05.000000"), p.SrcCID, p.SrcPort, p.DstCID, p.DstPort, p.Type, p.Op)
	if p.Len > 0 {
		fmt.Fprintf(&b, " len=%d", p.Len)
	}
	if names := p.flagNames(); names != "" {
		fmt.Fprintf(&b, " [%s]", names)
	}
	if p.Type != packet.TypeDatagram {
		fmt.Fprintf(&b, " buf=%d fwd=%d", p.BufAlloc, p.FwdCnt)
	}
	return b.String()
}

func (p *Packet) flagNames() string {
	var names []string
	flag := func(bit uint32, name string) {
		if p.Flags&bit != 0 {
			names = append(names, name)
		}
	}
	switch {
	case p.Op == packet.OpShutdown:
		flag(packet.ShutdownReceive, "receive")
		flag(packet.ShutdownSend, "send")
	case p.Op == packet.OpRW && p.Type == packet.TypeSeqpacket:
		flag(packet.EndOfMessage, "eom")
		flag(packet.EndOfRecord, "eor")
	case p.Op == packet.OpResponse:
		flag(packet.Renegotiated, "renegotiated")
	}
	return strings.Join(names, ",")
}
