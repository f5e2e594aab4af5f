package bench

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// messageSize is the length of a request and of a report. Opening a connection
// with one and answering it with the other is what "connections a second" counts.
const messageSize = 64

const magic = "vsb1"

// Limits of a request.
const (
	MaxBlock = 1 << 20     // the largest block
	MaxTime  = time.Minute // the longest task

	// Grace is how much longer than its time a task may take: to connect, to
	// drain what is under way, and to answer.
	Grace = 10 * time.Second
)

// Op is what a server does for a client.
type Op uint8

// The tasks of the protocol.
const (
	OpReceive Op = iota + 1
	OpSend
	OpEcho
	OpAnswer
)

// request opens a connection.
type request struct {
	op    Op
	block uint32
	time  time.Duration
}

func (r request) append(b []byte) []byte {
	b = append(b, magic...)
	b = append(b, byte(r.op), 0, 0, 0)
	b = binary.LittleEndian.AppendUint32(b, r.block)
	b = append(b, 0, 0, 0, 0)
	b = binary.LittleEndian.AppendUint64(b, uint64(r.time))
	return append(b, make([]byte, messageSize-24)...)
}

func (r request) check() error {
	switch {
	case r.op < OpReceive || r.op > OpAnswer:
		return fmt.Errorf("bench: request: op %d is none (%d to %d)", r.op, OpReceive, OpAnswer)
	case r.block < 1 || r.block > MaxBlock:
		return fmt.Errorf("bench: request: a block of %d bytes (1 to %d)", r.block, MaxBlock)
	case r.time < 0 || r.time > MaxTime:
		return fmt.Errorf("bench: request: a time of %v (0 to %v)", r.time, MaxTime)
	case r.op == OpAnswer && (r.block != 1 || r.time != 0):
		return errors.New("bench: request: an answer has neither block nor time")
	}
	return nil
}

// parseRequest takes exactly what append gives.
func parseRequest(b *[messageSize]byte) (request, error) {
	if string(b[:4]) != magic {
		return request{}, fmt.Errorf("bench: request: it begins with %q, not %q; the peer is no bench client", b[:4], magic)
	}
	ns := binary.LittleEndian.Uint64(b[16:])
	if ns > uint64(MaxTime) {
		return request{}, fmt.Errorf("bench: request: a time of %d ns (at most %v)", ns, MaxTime)
	}
	r := request{op: Op(b[4]), block: binary.LittleEndian.Uint32(b[8:]), time: time.Duration(ns)}
	if !zero(b[5:8]) || !zero(b[12:16]) || !zero(b[24:]) {
		return request{}, errors.New("bench: request: bytes that must be zero are not")
	}
	return r, r.check()
}

// report is a server's answer.
type report struct {
	bytes   uint64
	process uint64
	cpu     time.Duration
}

func (r report) append(b []byte) []byte {
	b = append(b, magic...)
	b = append(b, 0, 0, 0, 0)
	b = binary.LittleEndian.AppendUint64(b, r.bytes)
	b = binary.LittleEndian.AppendUint64(b, r.process)
	b = binary.LittleEndian.AppendUint64(b, uint64(r.cpu))
	return append(b, make([]byte, messageSize-32)...)
}

// maxCPU is the most CPU time that a report may claim: 100 years.
const maxCPU = 100 * 365 * 24 * time.Hour

func parseReport(b *[messageSize]byte) (report, error) {
	if string(b[:4]) != magic || !zero(b[4:8]) || !zero(b[32:]) {
		return report{}, errors.New("bench: what should be a report is none; the peer is no bench server")
	}
	ns := binary.LittleEndian.Uint64(b[24:])
	if ns > uint64(maxCPU) {
		return report{}, fmt.Errorf("bench: report: %d ns of CPU time", ns)
	}
	return report{
		bytes:   binary.LittleEndian.Uint64(b[8:]),
		process: binary.LittleEndian.Uint64(b[16:]),
		cpu:     time.Duration(ns),
	}, nil
}

func zero(b []byte) bool {
	for _, v := range b {
		if v != 0 {
			return false
		}
	}
	return true
}
