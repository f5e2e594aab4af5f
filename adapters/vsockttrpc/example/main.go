// Command example serves a function by ttrpc over vSockets to the host alone, and
// calls it.
//
//	example serve [CID:port]         what to listen on, any:4070 by default
//	example kernel vsock://3:4070    prints the server's kernel, from the host
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/containerd/ttrpc"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"vsockets.dev/adapters/vsockttrpc"
	"vsockets.dev/vsock"
)

const (
	defaultAddress = "any:4070"

	service = "example.Agent"
	method  = "Kernel"

	// release is where Linux tells its own.
	release = "/proc/sys/kernel/osrelease"
)

func main() {
	if err := run(context.Background(), os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "example:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	switch {
	case len(args) == 1 && args[0] == "serve":
		args = append(args, defaultAddress)
		fallthrough
	case len(args) == 2 && args[0] == "serve":
		a, err := vsock.ParseAddr(args[1])
		if err != nil {
			return err
		}
		ln, err := vsock.Listen(ctx, nil, a)
		if err != nil {
			return err
		}
		srv, err := newServer()
		if err != nil {
			return err
		}
		fmt.Fprintln(out, "listening on", ln.Addr())
		return srv.Serve(ctx, ln)
	case len(args) == 2 && args[0] == "kernel":
		name, err := kernel(ctx, &vsock.Dialer{}, args[1])
		if err == nil {
			fmt.Fprintln(out, name)
		}
		return err
	}
	return errors.New("usage: example serve [CID:port] | kernel CID:port")
}

// newServer makes a server that serves none but the host.
func newServer() (*ttrpc.Server, error) {
	srv, err := ttrpc.NewServer(ttrpc.WithServerHandshaker(vsockttrpc.RequireCID(vsock.CIDHost)))
	if err != nil {
		return nil, err
	}
	srv.RegisterService(service, &ttrpc.ServiceDesc{Methods: map[string]ttrpc.Method{
		method: func(_ context.Context, unmarshal func(any) error) (any, error) {
			if err := unmarshal(new(emptypb.Empty)); err != nil {
				return nil, err
			}
			name, err := os.ReadFile(release)
			return wrapperspb.String(string(bytes.TrimSpace(name))), err
		},
	}})
	return srv, nil
}

// kernel asks the server at an address for its kernel.
func kernel(ctx context.Context, d *vsock.Dialer, address string) (string, error) {
	client, err := vsockttrpc.Dial(ctx, d, address)
	if err != nil {
		return "", err
	}
	defer client.Close()
	var name wrapperspb.StringValue
	err = client.Call(ctx, service, method, new(emptypb.Empty), &name)
	return name.GetValue(), err
}
