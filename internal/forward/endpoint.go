package forward

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	"vsockets.dev/vsock"
)

// Kind is what kind of place an endpoint is, and the word that its text begins
// with.
type Kind string

// Kinds of endpoints.
const (
	TCP    Kind = "tcp"    // tcp:HOST:PORT
	Unix   Kind = "unix"   // unix:PATH
	Vsock  Kind = "vsock"  // vsock:CID:PORT, on the stack that the forward is for
	Kernel Kind = "kernel" // kernel:CID:PORT, on the kernel's stack, where that is another
	Host   Kind = "host"   // host:PORT, of the host's context of a switch
	Stdio  Kind = "stdio"  // standard input and output of this program
	Exec   Kind = "exec"   // exec:COMMAND
)

// loopback is the host of a TCP endpoint that names none: what listens is never
// open to the network unless that is written out, as tcp:0.0.0.0:80 or tcp:[::]:80.
const loopback = "127.0.0.1"

// Endpoint is one end of a forward: where it listens, or where it dials. It is
// comparable, and text in both directions:
//
//	tcp:HOST:PORT    IPv6 addresses in brackets; without HOST it is 127.0.0.1, so that
//	tcp:PORT         all addresses are served only by tcp:0.0.0.0:PORT and tcp:[::]:PORT
//	unix:PATH        an abstract name, unix:@NAME, can only be dialled
//	vsock:CID:PORT   any form of vsock.ParseAddr, on the stack that the forward is for
//	kernel:CID:PORT  the same on the kernel's stack
//	host:PORT        a port of the host's context of a switch
//	stdio            standard input and output, for one connection
//	exec:COMMAND     a command's standard input and output; see SplitWords
type Endpoint struct {
	Kind    Kind
	Address string     // TCP: host:port; Unix: the path; Exec: the command line
	Addr    vsock.Addr // Vsock, Kernel, Host
}

// forms is the remedy in errors.
const forms = "tcp:HOST:PORT, unix:PATH, vsock:CID:PORT, kernel:CID:PORT, host:PORT, stdio or exec:COMMAND"

// ParseEndpoint reads the text of an endpoint.
func ParseEndpoint(s string) (Endpoint, error) {
	e, err := parseEndpoint(s)
	if err != nil {
		return Endpoint{}, fmt.Errorf("forward: endpoint %q: %w", s, err)
	}
	return e, nil
}

func parseEndpoint(s string) (Endpoint, error) {
	word, rest, colon := strings.Cut(s, ":")
	e := Endpoint{Kind: Kind(word)}
	var err error
	switch {
	case strings.ContainsRune(s, 0):
		return e, errors.New("it contains a zero byte; remove it")
	case s == string(Stdio):
		return e, nil
	case e.Kind == Stdio:
		return e, errors.New("stdio takes nothing after it; write stdio alone")
	case !colon:
		return e, fmt.Errorf("it is of no known kind; write one of %s", forms)
	}
	switch e.Kind {
	case TCP:
		e.Address, err = parseTCP(rest)
	case Unix:
		if e.Address = rest; rest == "" {
			err = errors.New("it has no path; write unix:PATH, for example unix:/run/app.sock")
		}
	case Vsock, Kernel:
		e.Addr, err = vsock.ParseAddr("vsock:" + rest)
	case Host:
		e.Addr, err = parseHostPort(rest)
	case Exec:
		e.Address = rest
		_, err = SplitWords(rest)
	default:
		err = fmt.Errorf("%q is no kind of endpoint; write one of %s", word, forms)
	}
	return e, err
}

// parseTCP reads HOST:PORT, :PORT or PORT.
func parseTCP(s string) (string, error) {
	if !strings.Contains(s, ":") {
		s = ":" + s
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return "", errors.New("write tcp:HOST:PORT, an IPv6 address in brackets, as in tcp:[::1]:80")
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return "", fmt.Errorf("%q is not a port; use a number up to 65535", port)
	}
	if strings.ContainsAny(host, " \t\r\n=/[]") {
		return "", fmt.Errorf("%q is not a host; use a name or an address", host)
	}
	if host == "" {
		host = loopback
	}
	return net.JoinHostPort(host, strconv.FormatUint(n, 10)), nil
}

// parseHostPort reads a port of the host's context.
func parseHostPort(s string) (vsock.Addr, error) {
	p, err := strconv.ParseUint(s, 10, 32)
	if err != nil || uint32(p) == vsock.PortAny {
		return vsock.Addr{}, fmt.Errorf("%q is not a port; use a number below 2^32-1, as in host:8080", s)
	}
	return vsock.Addr{CID: vsock.CIDHost, Port: uint32(p)}, nil
}

// String is the endpoint's text, which ParseEndpoint reads back.
func (e Endpoint) String() string {
	switch e.Kind {
	case TCP, Unix, Exec:
		return string(e.Kind) + ":" + e.Address
	case Vsock, Kernel:
		return string(e.Kind) + ":" + e.Addr.String()
	case Host:
		return string(e.Kind) + ":" + strconv.FormatUint(uint64(e.Addr.Port), 10)
	}
	return string(e.Kind)
}

// MarshalText gives String.
func (e Endpoint) MarshalText() ([]byte, error) { return []byte(e.String()), nil }

// UnmarshalText reads what ParseEndpoint reads.
func (e *Endpoint) UnmarshalText(text []byte) error { return e.Set(string(text)) }

// Set reads what ParseEndpoint reads. With it, an *Endpoint is a flag.Value.
func (e *Endpoint) Set(s string) error {
	v, err := ParseEndpoint(s)
	if err == nil {
		*e = v
	}
	return err
}

// canListen says why an endpoint cannot be the From of a forward.
func (e Endpoint) canListen() error {
	if e.Kind == Unix && strings.HasPrefix(e.Address, "@") {
		return errors.New("anyone may connect to an abstract socket; listen on a path instead (./@NAME is one)")
	}
	return nil
}

// canDial says why an endpoint cannot be the To of a forward.
func (e Endpoint) canDial() error {
	switch e.Kind {
	case Vsock, Kernel:
		if e.Addr.CID == vsock.CIDAny || e.Addr.Port == vsock.PortAny {
			return errors.New("nothing can be dialled at any; write the CID and port")
		}
	case TCP:
		if strings.HasSuffix(e.Address, ":0") {
			return errors.New("nothing can be dialled at port 0; write the port")
		}
	}
	return nil
}
