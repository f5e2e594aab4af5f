package doctor

import (
	"errors"
	"syscall"

	"vsockets.dev/vsock"
)

// Probed is what only sockets tell. Each is empty if it works, else why it does not.
type Probed struct {
	Socket   string `json:"socket"`   // creating one
	Bind     string `json:"bind"`     // binding it to any CID and port
	Loopback string `json:"loopback"` // binding it to CID 1
	Own      string `json:"own"`      // binding it to the local CID

	blocked bool
}

// Probe binds sockets, to ports that nobody uses. It never connects.
func (f *Facts) Probe(s vsock.Stack) {
	p := new(Probed)
	f.Probed = p
	p.Bind = p.bind(s, vsock.CIDAny)
	p.Loopback = p.bind(s, vsock.CIDLocal)
	if f.CID != nil && *f.CID != vsock.CIDAny {
		p.Own = p.bind(s, *f.CID)
	}
}

// bind tries one. That there are no sockets is kept.
func (p *Probed) bind(s vsock.Stack, cid uint32) string {
	k, err := s.Socket(vsock.Stream)
	if err != nil {
		p.Socket = err.Error()
		p.blocked = errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EACCES) || errors.Is(err, syscall.EAFNOSUPPORT)
		return ""
	}
	defer func() { _ = k.Close() }()
	if err := k.Bind(vsock.Addr{CID: cid, Port: vsock.PortAny}); err != nil {
		return err.Error()
	}
	return ""
}
