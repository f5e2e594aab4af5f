// Package vsockgrpc lets gRPC clients reach servers over vSockets:
//
//	opts := append(vsockgrpc.DialOptions(&vsock.Dialer{}),
//		grpc.WithTransportCredentials(insecure.NewCredentials()))
//	cc, err := grpc.NewClient("vsock:3:1024", opts...)
//
// A server needs nothing of it, since a *vsock.Listener is a net.Listener. There,
// peer.FromContext gives the context and port of a caller, a vsock.Addr:
//
//	ln, err := vsock.Listen(ctx, nil, vsock.Addr{CID: vsock.CIDAny, Port: 1024})
//	err = grpc.NewServer().Serve(ln)
//
// Package example, beside this one, is both as a program.
//
// It is a module of its own, so that users of package vsock need no gRPC.
package vsockgrpc

import (
	"context"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/resolver"

	"vsockets.dev/vsock"
)

// Scheme is the scheme of the targets: vsock:CID:port, as gRPC's other implementations
// name them.
const Scheme = "vsock"

// DialOptions are those with which grpc.NewClient takes targets vsock:CID:port, and
// connects with d, which stays the caller's; nil is the zero Dialer. The CID may be a
// name that vsock.ParseAddr knows. Whatever the target is, all that this client
// connects to is a vSocket, and no proxy is asked.
func DialOptions(d *vsock.Dialer) []grpc.DialOption {
	if d == nil {
		d = new(vsock.Dialer)
	}
	return []grpc.DialOption{
		grpc.WithResolvers(Builder()),
		grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
			return d.DialContext(ctx, Scheme, address)
		}),
	}
}

// Builder gives the resolver of targets vsock:CID:port, for programs that put it
// together with a dialer of their own. What that gets is an address that
// vsock.ParseAddr reads.
func Builder() resolver.Builder { return builder{} }

type builder struct{}

func (builder) Scheme() string { return Scheme }

// Build tells gRPC the one address that the target is. It fails at once for what is
// no address, which no retry would mend.
func (builder) Build(target resolver.Target, cc resolver.ClientConn, _ resolver.BuildOptions) (resolver.Resolver, error) {
	a, err := vsock.ParseAddr(endpoint(target))
	if err != nil {
		return nil, err
	}
	return resolved{}, cc.UpdateState(resolver.State{
		Endpoints: []resolver.Endpoint{{Addresses: []resolver.Address{{Addr: a.String()}}}},
	})
}

// endpoint is where a target has its address: vsock:3:1024, vsock:///3:1024 or
// vsock://3:1024.
func endpoint(t resolver.Target) string {
	if e := t.Endpoint(); e != "" {
		return e
	}
	return t.URL.Host
}

// resolved is the resolver of a target that needs no resolving.
type resolved struct{}

func (resolved) ResolveNow(resolver.ResolveNowOptions) {}
func (resolved) Close()                                {}
