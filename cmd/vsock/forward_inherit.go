package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/coreos/go-systemd/v22/activation"

	"vsockets.dev/internal/forward"
	"vsockets.dev/vsock"
)

// inheritListeners gives forwards the listening sockets that systemd has made for this
// process (sd_listen_fds), each to the one whose From it is bound to. One that fits
// none is an error: connections to it would never be answered.
func inheritListeners(configs []forward.Config) (err error) {
	var unused []string
	for _, f := range activation.Files(true) {
		l, lerr := listenerOf(f)
		_ = f.Close() // the listener has its own
		if lerr != nil {
			unused = append(unused, fmt.Sprintf("%s (%v)", f.Name(), lerr))
			continue
		}
		if !give(configs, l) {
			unused = append(unused, fmt.Sprintf("%s at %s", f.Name(), l.Addr()))
			_ = l.Close()
		}
	}
	if len(unused) == 0 {
		return nil
	}
	for _, c := range configs {
		if c.Listener != nil {
			_ = c.Listener.Close()
		}
	}
	return fmt.Errorf("no forward is from the sockets that systemd has made: %s; write a FROM for each, as ListenStream= of the unit has it", strings.Join(unused, ", "))
}

func listenerOf(f *os.File) (net.Listener, error) {
	if l, err := vsock.FileListener(f); err == nil {
		return l, nil
	}
	l, err := net.FileListener(f)
	if u, ok := l.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false) // it is systemd's
	}
	return l, err
}

func give(configs []forward.Config, l net.Listener) bool {
	for i := range configs {
		if configs[i].Listener == nil && boundTo(l.Addr(), configs[i].Spec.From) {
			configs[i].Listener = l
			return true
		}
	}
	return false
}

// boundTo says whether an address is that of an endpoint.
func boundTo(a net.Addr, e forward.Endpoint) bool {
	switch a := a.(type) {
	case *net.TCPAddr:
		return e.Kind == forward.TCP && a.String() == e.Address
	case *net.UnixAddr:
		return e.Kind == forward.Unix && filepath.Clean(a.Name) == filepath.Clean(e.Address)
	case vsock.Addr:
		return (e.Kind == forward.Vsock || e.Kind == forward.Kernel) && a.Port == e.Addr.Port &&
			(a.CID == e.Addr.CID || a.CID == vsock.CIDAny || e.Addr.CID == vsock.CIDAny)
	}
	return false
}
