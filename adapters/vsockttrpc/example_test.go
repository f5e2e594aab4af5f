package vsockttrpc_test

import (
	"context"
	"fmt"
	"log"

	"github.com/containerd/ttrpc"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"vsockets.dev/adapters/vsockttrpc"
	"vsockets.dev/vsock"
	"vsockets.dev/vswitch"
)

// The server and the client are two contexts in one program here. With the zero
// vsock.Dialer and a nil stack, they are a guest and its host. Of the service, the
// Go code would be generated as a rule.
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
	srv, err := ttrpc.NewServer(ttrpc.WithServerHandshaker(vsockttrpc.RequireCID(vsock.CIDHost)))
	if err != nil {
		log.Fatal(err)
	}
	defer srv.Close()
	srv.RegisterService("example.Agent", &ttrpc.ServiceDesc{Methods: map[string]ttrpc.Method{
		"Name": func(_ context.Context, unmarshal func(any) error) (any, error) {
			return wrapperspb.String("guest"), unmarshal(new(emptypb.Empty))
		},
	}})
	go func() { _ = srv.Serve(ctx, ln) }()

	client, err := vsockttrpc.Dial(ctx, &vsock.Dialer{Stack: sw.Host()}, "vsock://3:1024")
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	var name wrapperspb.StringValue
	err = client.Call(ctx, "example.Agent", "Name", new(emptypb.Empty), &name)
	fmt.Println(name.GetValue(), err)
	// Output: guest <nil>
}
