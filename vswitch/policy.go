package vswitch

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"vsockets.dev/vsock"
)

// Policy says who may connect to whom: the first of the rules that fits decides.
// Where none fits, the host may connect to everyone and everyone to the host, and
// contexts to one another if they have a group in common. Datagrams count as
// connections. What is connected already stays so when the policy changes, unless
// the two may not connect to each other at all any more: then it is reset.
type Policy struct {
	Rules []Rule
}

// Rule is one rule of a policy, about connections from one party to another's ports.
// Its text form is
//
//	allow|deny FROM TO[:PORTS]
//
// where FROM and TO are a CID ("3"), a range of CIDs ("1000-1999"), "host", "guests"
// (all but the host), "@group" or "*", and PORTS is a port ("22"), a range of ports
// ("1024-2047") or "*", which is the default.
type Rule struct {
	Allow    bool
	From, To Party

	// PortFirst and PortLast are the ports that it is about; both 0: all.
	PortFirst, PortLast uint32
}

// Party is a set of contexts: those with a CID in a range, or the members of a
// group. The zero value has none.
type Party struct {
	First, Last uint32
	Group       string // in place of the range
}

// Parties with a name.
var (
	anyParty   = Party{First: 0, Last: vsock.CIDAny}
	hostParty  = Party{First: vsock.CIDHost, Last: vsock.CIDHost}
	guestParty = Party{First: vsock.CIDHost + 1, Last: vsock.CIDAny - 1}
)

// maxGroups is how many groups a context may be in: a packet's way is found by
// comparing those of two.
const maxGroups = 64

// member is a context as the policy sees it.
type member struct {
	cid    uint32
	groups []string // sorted
}

// sortedGroups checks the names of groups, and sorts them.
func sortedGroups(groups []string) ([]string, error) {
	if len(groups) > maxGroups {
		return nil, fmt.Errorf("vswitch: %d groups; a context may be in %d at most", len(groups), maxGroups)
	}
	for _, g := range groups {
		if err := checkGroup(g); err != nil {
			return nil, err
		}
	}
	groups = slices.Clone(groups)
	slices.Sort(groups)
	return slices.Compact(groups), nil
}

func checkGroup(g string) error {
	strange := func(r rune) bool {
		return !unicode.IsGraphic(r) || unicode.IsSpace(r) || strings.ContainsRune("@:,+=*", r)
	}
	if g == "" || strings.ContainsFunc(g, strange) {
		return fmt.Errorf("vswitch: %q is no name for a group: it is empty, or has a space or one of \"@:,+=*\" in it", g)
	}
	return nil
}

func (m member) shares(o member) bool {
	for _, g := range m.groups {
		if _, ok := slices.BinarySearch(o.groups, g); ok {
			return true
		}
	}
	return false
}

// has says whether a context belongs to a party.
func (s Party) has(m member) bool {
	if s.Group != "" {
		_, ok := slices.BinarySearch(m.groups, s.Group)
		return ok
	}
	return s.First <= m.cid && m.cid <= s.Last && s != Party{}
}

// allows says whether one may connect to a port of another.
func (p *Policy) allows(from, to member, port uint32) bool {
	for i := range p.Rules {
		r := &p.Rules[i]
		if r.From.has(from) && r.To.has(to) && r.about(port) {
			return r.Allow
		}
	}
	return byDefault(from, to)
}

// allPorts says whether the rule is about all ports.
func (r *Rule) allPorts() bool { return r.PortFirst == 0 && r.PortLast == 0 }

func (r *Rule) about(port uint32) bool {
	return r.allPorts() || r.PortFirst <= port && port <= r.PortLast
}

func byDefault(from, to member) bool {
	return from.cid == vsock.CIDHost || to.cid == vsock.CIDHost || from.shares(to)
}

// mayTalk says whether some connection between two is possible, whoever opens it.
func (p *Policy) mayTalk(a, b member) bool { return p.mayConnect(a, b) || p.mayConnect(b, a) }

// mayConnect says whether some port of to is open to from.
func (p *Policy) mayConnect(from, to member) bool {
	for i := range p.Rules {
		r := &p.Rules[i]
		if !r.From.has(from) || !r.To.has(to) {
			continue
		}
		if r.Allow {
			return true // but for ports that rules before it deny, which is found out later
		}
		if r.allPorts() {
			return false
		}
	}
	return byDefault(from, to)
}

// ParseRule reads a rule's text form.
func ParseRule(s string) (Rule, error) {
	var r Rule
	words := strings.Fields(s)
	if len(words) != 3 {
		return r, fmt.Errorf("vswitch: rule %q: want \"allow|deny FROM TO[:PORTS]\", such as \"allow 3 @web:80\"", s)
	}
	switch words[0] {
	case "allow":
		r.Allow = true
	case "deny":
	default:
		return r, fmt.Errorf("vswitch: rule %q: %q is neither allow nor deny", s, words[0])
	}
	to, ports, _ := strings.Cut(words[2], ":")
	var err error
	if r.From, err = parseParty(words[1]); err != nil {
		return r, fmt.Errorf("vswitch: rule %q: from %w", s, err)
	}
	if r.To, err = parseParty(to); err != nil {
		return r, fmt.Errorf("vswitch: rule %q: to %w", s, err)
	}
	if strings.HasSuffix(words[2], ":") {
		return r, fmt.Errorf("vswitch: rule %q: no ports after \":\"", s)
	}
	if ports == "" || ports == "*" {
		return r, nil
	}
	if r.PortFirst, r.PortLast, err = parseRange(ports); err != nil {
		return r, fmt.Errorf("vswitch: rule %q: ports %w", s, err)
	}
	if r.PortFirst == 0 && r.PortLast == vsock.PortAny {
		r.PortLast = 0
		return r, nil
	}
	if r.allPorts() {
		return r, fmt.Errorf("vswitch: rule %q: port 0 cannot be named alone; it is among * and 0-1", s)
	}
	return r, nil
}

func parseParty(s string) (Party, error) {
	switch s {
	case "*":
		return anyParty, nil
	case "host":
		return hostParty, nil
	case "guests":
		return guestParty, nil
	}
	if group, ok := strings.CutPrefix(s, "@"); ok {
		return Party{Group: group}, checkGroup(group)
	}
	first, last, err := parseRange(s)
	return Party{First: first, Last: last}, err
}

// parseRange reads "5" or "5-9".
func parseRange(s string) (first, last uint32, err error) {
	a, b, ranged := strings.Cut(s, "-")
	if !ranged {
		b = a
	}
	x, err := strconv.ParseUint(a, 10, 32)
	if err != nil {
		return 0, 0, fmt.Errorf("%q: %q is no number of 32 bits", s, a)
	}
	y, err := strconv.ParseUint(b, 10, 32)
	if err != nil {
		return 0, 0, fmt.Errorf("%q: %q is no number of 32 bits", s, b)
	}
	if x > y {
		return 0, 0, fmt.Errorf("%q: %d is more than %d", s, x, y)
	}
	return uint32(x), uint32(y), nil
}

// String gives the text form.
func (r Rule) String() string {
	s := "deny "
	if r.Allow {
		s = "allow "
	}
	s += r.From.String() + " " + r.To.String()
	if !r.allPorts() {
		s += ":" + rangeText(r.PortFirst, r.PortLast)
	}
	return s
}

// MarshalText gives the text form.
func (r Rule) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads the text form.
func (r *Rule) UnmarshalText(b []byte) (err error) {
	*r, err = ParseRule(string(b))
	return err
}

func (s Party) String() string {
	switch s {
	case anyParty:
		return "*"
	case hostParty:
		return "host"
	case guestParty:
		return "guests"
	}
	if s.Group != "" {
		return "@" + s.Group
	}
	return rangeText(s.First, s.Last)
}

func rangeText(first, last uint32) string {
	if first == last {
		return strconv.FormatUint(uint64(first), 10)
	}
	return fmt.Sprintf("%d-%d", first, last)
}
