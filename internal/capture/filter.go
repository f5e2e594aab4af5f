package capture

import (
	"fmt"
	"strconv"
	"strings"

	"vsockets.dev/internal/packet"
	"vsockets.dev/vsock"
)

// Filter says whether a packet is wanted.
type Filter func(*packet.Header) bool

// Limits of expressions, which a client sends to a switch.
const (
	maxFilter = 4096 // bytes
	maxDepth  = 50   // of parentheses and nots
)

// ParseFilter reads an expression in the manner of tcpdump. An empty one wants all.
//
//	[src|dst] cid N|NAME     either end, or the one that is named
//	[src|dst] port N
//	op OP                    request, response, rst, shutdown, rw, credit_update, credit_request
//	type TYPE                stream, seqpacket, datagram
//	len N                    that many bytes of payload, or more
//	not E, E and E, E or E, (E)
//
// and binds more tightly than or.
func ParseFilter(s string) (Filter, error) {
	if len(s) > maxFilter {
		return nil, fmt.Errorf("capture: a filter of %d bytes; at most %d are possible", len(s), maxFilter)
	}
	p := &parser{words: strings.Fields(strings.NewReplacer("(", " ( ", ")", " ) ").Replace(s))}
	if len(p.words) == 0 {
		return func(*packet.Header) bool { return true }, nil
	}
	f, err := p.or(0)
	if err == nil && len(p.words) > 0 {
		err = fmt.Errorf("%q is not understood; join expressions by and, or", p.words[0])
	}
	if err != nil {
		return nil, fmt.Errorf("capture: filter %q: %w", s, err)
	}
	return f, nil
}

// parser has the words that are left.
type parser struct{ words []string }

func (p *parser) take(word string) bool {
	if len(p.words) > 0 && p.words[0] == word {
		p.words = p.words[1:]
		return true
	}
	return false
}

func (p *parser) next(what string) (string, error) {
	if len(p.words) == 0 {
		return "", fmt.Errorf("%s is missing at the end", what)
	}
	w := p.words[0]
	p.words = p.words[1:]
	return w, nil
}

func (p *parser) or(depth int) (Filter, error) {
	f, err := p.and(depth)
	for err == nil && p.take("or") {
		var g Filter
		g, err = p.and(depth)
		left := f
		f = func(h *packet.Header) bool { return left(h) || g(h) }
	}
	return f, err
}

func (p *parser) and(depth int) (Filter, error) {
	f, err := p.one(depth)
	for err == nil && p.take("and") {
		var g Filter
		g, err = p.one(depth)
		left := f
		f = func(h *packet.Header) bool { return left(h) && g(h) }
	}
	return f, err
}

func (p *parser) one(depth int) (Filter, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("it is nested more than %d deep", maxDepth)
	}
	switch {
	case p.take("not"):
		f, err := p.one(depth + 1)
		return func(h *packet.Header) bool { return !f(h) }, err
	case p.take("("):
		f, err := p.or(depth + 1)
		if err == nil && !p.take(")") {
			err = fmt.Errorf("a ) is missing")
		}
		return f, err
	}
	return p.primitive()
}

func (p *parser) primitive() (Filter, error) {
	src, dst := p.take("src"), false
	if !src {
		dst = p.take("dst")
	}
	word, err := p.next("an expression")
	if err != nil {
		return nil, err
	}
	value, err := p.next("what comes after " + word)
	if err != nil {
		return nil, err
	}
	if (src || dst) && word != "cid" && word != "port" {
		return nil, fmt.Errorf("src and dst are for cid and port, not for %q", word)
	}
	switch word {
	case "cid":
		a, err := vsock.ParseAddr(value + ":0")
		if err != nil {
			return nil, fmt.Errorf("%q is no CID", value)
		}
		cid := uint64(a.CID)
		return func(h *packet.Header) bool { return !dst && h.SrcCID == cid || !src && h.DstCID == cid }, nil
	case "port":
		n, err := number(value)
		return func(h *packet.Header) bool { return !dst && h.SrcPort == n || !src && h.DstPort == n }, err
	case "len":
		n, err := number(value)
		return func(h *packet.Header) bool { return h.Len >= n }, err
	case "op":
		for op := packet.OpInvalid; op <= packet.OpCreditRequest; op++ {
			if strings.EqualFold(op.String(), value) {
				return func(h *packet.Header) bool { return h.Op == op }, nil
			}
		}
		return nil, fmt.Errorf("%q is no operation; use request, response, rst, shutdown, rw, credit_update or credit_request", value)
	case "type":
		for t := packet.TypeStream; t <= packet.TypeDatagram; t++ {
			if strings.EqualFold(t.String(), value) {
				return func(h *packet.Header) bool { return h.Type == t }, nil
			}
		}
		return nil, fmt.Errorf("%q is no type; use stream, seqpacket or datagram", value)
	}
	return nil, fmt.Errorf("%q is not understood; use cid, port, op, type or len", word)
}

func number(s string) (uint32, error) {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("%q is no number", s)
	}
	return uint32(n), nil
}
