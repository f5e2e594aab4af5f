// Package vsockhttp lets a net/http client reach servers over vSockets:
//
//	client := &http.Client{Transport: vsockhttp.NewTransport(&vsock.Dialer{})}
//	resp, err := client.Get("vsock://3:1024/path")
//
// A server needs nothing of it, since a *vsock.Listener is a net.Listener. There,
// vsock.ParseAddr(r.RemoteAddr) is the context and port that a request came from:
//
//	ln, err := vsock.Listen(ctx, nil, vsock.Addr{CID: vsock.CIDAny, Port: 1024})
//	err = http.Serve(ln, handler)
//
// examples/http is both, as a program.
package vsockhttp

import (
	"fmt"
	"net/http"

	"vsockets.dev/vsock"
)

// Scheme is the scheme of the URLs.
const Scheme = "vsock"

// NewTransport gives a transport that connects with d, which stays the caller's; nil
// is the zero Dialer. Its URLs are vsock://CID:port/path, with the names for CIDs that
// vsock.ParseAddr knows. A URL without a port has port 80.
//
// All that it connects to is a vSocket, whatever a server redirects to: http://3:1024/
// is the same as vsock://3:1024/, and https://3:1024/ is TLS on it. There are no
// proxies. Else it is a copy of http.DefaultTransport, to be changed before its first use.
//
// For a client of TCP servers too, give it to that client's transport by
// t.RegisterProtocol(vsockhttp.Scheme, vsockhttp.NewTransport(d)). Then the TCP servers
// may redirect it to vSockets.
func NewTransport(d *vsock.Dialer) *http.Transport {
	if d == nil {
		d = new(vsock.Dialer)
	}
	t, ok := http.DefaultTransport.(*http.Transport)
	if ok {
		t = t.Clone()
	} else { // the program has put its own in place
		t = new(http.Transport)
	}
	t.Proxy = nil
	t.DialContext = d.DialContext
	t.RegisterProtocol(Scheme, asHTTP{t})
	return t
}

// asHTTP has the transport that it is registered with take its URLs as http ones.
type asHTTP struct{ t *http.Transport }

func (a asHTTP) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Host == "" {
		if r.Body != nil {
			_ = r.Body.Close() // which RoundTrip has to do with every error
		}
		return nil, fmt.Errorf("vsockhttp: URL %q has no address; write it as vsock://CID:port/path", r.URL)
	}
	sent := r.Clone(r.Context())
	sent.URL.Scheme = "http"
	resp, err := a.t.RoundTrip(sent)
	if resp != nil {
		resp.Request = r // redirects are relative to this one's URL
	}
	return resp, err
}
