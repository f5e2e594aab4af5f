package capture

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"vsockets.dev/internal/packet"
)

// Types of blocks.
const (
	blockSection    = 0x0A0D0D0A
	blockInterface  = 1
	blockStatistics = 5
	blockPacket     = 6 // enhanced
)

const (
	byteOrder = 0x1A2B3C4D

	// blockFrame is what is around the body of a block: type, and length twice.
	blockFrame = 12

	// packetHead is what is before the packet in its block.
	packetHead = 20

	// maxBlock is more than a packet takes.
	maxBlock = packet.MaxPayload + 4096

	optionEnd      = 0
	optionName     = 2 // if_name, of an interface
	optionTimeUnit = 9 // if_tsresol
	optionApp      = 4 // shb_userappl, of a section
	optionDropped  = 5 // isb_ifdrop, of statistics
	nanoseconds    = 9 // 10^-9
)

// Writer writes a pcapng file.
type Writer struct {
	w     io.Writer
	block []byte
}

// NewWriter writes the head of a file, for packets of which at most so many bytes of
// payload are kept.
func NewWriter(w io.Writer, snapLen int) (*Writer, error) {
	wr := &Writer{w: w}
	wr.begin(blockSection)
	wr.block = binary.LittleEndian.AppendUint32(wr.block, byteOrder)
	wr.block = binary.LittleEndian.AppendUint16(wr.block, 1) // version 1.0
	wr.block = binary.LittleEndian.AppendUint16(wr.block, 0)
	wr.block = binary.LittleEndian.AppendUint64(wr.block, 1<<64-1) // how long the section is: unknown
	wr.option(optionApp, []byte("vsockets"))
	wr.option(optionEnd, nil)
	if err := wr.end(); err != nil {
		return nil, err
	}
	wr.begin(blockInterface)
	wr.block = binary.LittleEndian.AppendUint16(wr.block, LinkType)
	wr.block = binary.LittleEndian.AppendUint16(wr.block, 0)
	wr.block = binary.LittleEndian.AppendUint32(wr.block, uint32(snapLen+monitorSize+packet.HeaderSize))
	wr.option(optionName, []byte("vsock"))
	wr.option(optionTimeUnit, []byte{nanoseconds})
	wr.option(optionEnd, nil)
	return wr, wr.end()
}

// Write writes a packet.
func (w *Writer) Write(p *Packet) error {
	w.begin(blockPacket)
	w.block = binary.LittleEndian.AppendUint32(w.block, 0) // the interface
	w.stamp(p.Time)
	at := len(w.block)
	w.block = append(w.block, make([]byte, 8)...) // the two lengths
	w.block = appendMonitor(w.block, p)
	kept := len(w.block) - at - 8
	binary.LittleEndian.PutUint32(w.block[at:], uint32(kept))
	binary.LittleEndian.PutUint32(w.block[at+4:], uint32(monitorSize+packet.HeaderSize)+p.payloadLen())
	w.pad()
	return w.end()
}

// payloadLen is how long the payload was.
func (p *Packet) payloadLen() uint32 { return max(p.Len, uint32(len(p.Payload))) }

// Dropped writes how many packets are missing.
func (w *Writer) Dropped(now time.Time, n uint64) error {
	w.begin(blockStatistics)
	w.block = binary.LittleEndian.AppendUint32(w.block, 0)
	w.stamp(now)
	w.option(optionDropped, binary.LittleEndian.AppendUint64(nil, n))
	w.option(optionEnd, nil)
	return w.end()
}

func (w *Writer) begin(block uint32) {
	w.block = binary.LittleEndian.AppendUint32(w.block[:0], block)
	w.block = binary.LittleEndian.AppendUint32(w.block, 0) // its length
}

func (w *Writer) stamp(t time.Time) {
	n := uint64(t.UnixNano()) //nolint:forbidigo // the format has the time of day
	w.block = binary.LittleEndian.AppendUint32(w.block, uint32(n>>32))
	w.block = binary.LittleEndian.AppendUint32(w.block, uint32(n))
}

func (w *Writer) option(code uint16, value []byte) {
	w.block = binary.LittleEndian.AppendUint16(w.block, code)
	w.block = binary.LittleEndian.AppendUint16(w.block, uint16(len(value)))
	w.block = append(w.block, value...)
	w.pad()
}

func (w *Writer) pad() {
	for len(w.block)%4 != 0 {
		w.block = append(w.block, 0)
	}
}

func (w *Writer) end() error {
	n := uint32(len(w.block) + 4)
	binary.LittleEndian.PutUint32(w.block[4:], n)
	w.block = binary.LittleEndian.AppendUint32(w.block, n)
	_, err := w.w.Write(w.block)
	return err
}

// Reader reads what a Writer wrote. It is no reader for all files of the format.
type Reader struct {
	r       *bufio.Reader
	block   []byte
	Dropped uint64 // as the last statistics tell
}

// NewReader reads from r.
func NewReader(r io.Reader) *Reader { return &Reader{r: bufio.NewReader(r)} }

// Next gives the next packet, or io.EOF. It is valid until the next call.
func (r *Reader) Next() (Packet, error) {
	le := binary.LittleEndian
	for {
		block, body, err := r.next()
		if err != nil {
			return Packet{}, err
		}
		switch block {
		case blockSection:
			if len(body) < 4 || le.Uint32(body) != byteOrder {
				return Packet{}, errors.New("capture: the file is of another byte order; Wireshark can read it")
			}
		case blockInterface:
			if len(body) < 2 || le.Uint16(body) != LinkType {
				return Packet{}, errors.New("capture: the packets in the file are not of vsock")
			}
		case blockStatistics:
			if len(body) >= 24 && le.Uint16(body[12:]) == optionDropped && le.Uint16(body[14:]) == 8 {
				r.Dropped = le.Uint64(body[16:])
			}
		case blockPacket:
			return readPacket(body)
		}
	}
}

func readPacket(body []byte) (Packet, error) {
	le := binary.LittleEndian
	if len(body) < packetHead || int64(le.Uint32(body[12:])) > int64(len(body)-packetHead) {
		return Packet{}, errors.New("capture: a packet is longer than its block")
	}
	p, err := parseMonitor(body[packetHead : packetHead+int(le.Uint32(body[12:]))])
	if err != nil {
		return Packet{}, err
	}
	n := uint64(le.Uint32(body[4:]))<<32 | uint64(le.Uint32(body[8:]))
	p.Time = time.Unix(0, int64(n))
	return p, nil
}

// next reads a block.
func (r *Reader) next() (block uint32, body []byte, err error) {
	var head [8]byte
	if _, err := io.ReadFull(r.r, head[:]); err != nil {
		if errors.Is(err, io.EOF) {
			return 0, nil, io.EOF
		}
		return 0, nil, cut(err)
	}
	n := binary.LittleEndian.Uint32(head[4:])
	if n < blockFrame || n > maxBlock || n%4 != 0 {
		return 0, nil, fmt.Errorf("capture: a block of %d bytes; is it a file of vsock capture?", n)
	}
	r.block = append(r.block[:0], make([]byte, n-8)...)
	if _, err := io.ReadFull(r.r, r.block); err != nil {
		return 0, nil, cut(err)
	}
	return binary.LittleEndian.Uint32(head[:]), r.block[:n-blockFrame], nil
}

func cut(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("capture: the file ends within a block: %w", io.ErrUnexpectedEOF)
	}
	return err
}
