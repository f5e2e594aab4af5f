// Command example serves gRPC's health service over vSockets, and asks it.
//
//	example serve [CID:port]        what to listen on, any:50051 by default
//	example check vsock:CID:port    prints how the server is
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"

	"vsockets.dev/adapters/vsockgrpc"
	"vsockets.dev/vsock"
)

const (
	defaultAddress = "any:50051"
	checkTimeout   = 10 * time.Second
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
		fmt.Fprintln(out, "listening on", ln.Addr())
		return newServer().Serve(ln)
	case len(args) == 2 && args[0] == "check":
		return check(ctx, &vsock.Dialer{}, args[1], out)
	}
	return errors.New("usage: example serve [CID:port] | check vsock:CID:port")
}

func newServer() *grpc.Server {
	srv := grpc.NewServer()
	grpc_health_v1.RegisterHealthServer(srv, health.NewServer())
	return srv
}

// check prints how the server at a target is.
func check(ctx context.Context, d *vsock.Dialer, target string, out io.Writer) error {
	opts := append(vsockgrpc.DialOptions(d), grpc.WithTransportCredentials(insecure.NewCredentials()))
	cc, err := grpc.NewClient(target, opts...)
	if err != nil {
		return err
	}
	defer cc.Close()
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	resp, err := grpc_health_v1.NewHealthClient(cc).Check(ctx, new(grpc_health_v1.HealthCheckRequest))
	if err != nil {
		return err
	}
	fmt.Fprintln(out, resp.GetStatus())
	return nil
}
