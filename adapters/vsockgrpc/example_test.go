package vsockgrpc_test

import (
	"context"
	"fmt"
	"log"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"

	"vsockets.dev/adapters/vsockgrpc"
	"vsockets.dev/vsock"
	"vsockets.dev/vswitch"
)

// The server and the client are two contexts in one program here. With the zero
// vsock.Dialer and a nil stack, they are a guest and its host.
func Example() {
	ctx := context.Background()
	sw := vswitch.New(vswitch.Config{})
	defer sw.Close()
	guest, err := sw.AddContext(vswitch.ContextConfig{CID: 3})
	if err != nil {
		log.Fatal(err)
	}

	ln, err := vsock.Listen(ctx, guest, vsock.Addr{CID: vsock.CIDAny, Port: 1024})
	if err != nil {
		log.Fatal(err)
	}
	srv := grpc.NewServer()
	defer srv.Stop()
	grpc_health_v1.RegisterHealthServer(srv, health.NewServer())
	go func() { _ = srv.Serve(ln) }()

	opts := append(vsockgrpc.DialOptions(&vsock.Dialer{Stack: sw.Host()}),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	cc, err := grpc.NewClient("vsock:3:1024", opts...)
	if err != nil {
		log.Fatal(err)
	}
	defer cc.Close()
	resp, err := grpc_health_v1.NewHealthClient(cc).Check(ctx, new(grpc_health_v1.HealthCheckRequest))
	fmt.Println(resp.GetStatus(), err)
	// Output: SERVING <nil>
}
