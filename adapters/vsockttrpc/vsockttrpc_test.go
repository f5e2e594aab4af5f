package vsockttrpc_test

import (
	"context"
	"errors"
	"net"
	"syscall"
	"testing"

	"github.com/containerd/ttrpc"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"vsockets.dev/adapters/vsockttrpc"
	"vsockets.dev/internal/leaktest"
	"vsockets.dev/vsock"
	"vsockets.dev/vsock/vsocktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// serve serves an echo in the guest of a pair.
func serve(t *testing.T, pair *vsocktest.Net, opts ...ttrpc.ServerOpt) {
	t.Helper()
	ln, err := vsock.Listen(t.Context(), pair.Guest, vsock.Addr{CID: vsock.CIDAny, Port: 1024})
	if err != nil {
		t.Fatal(err)
	}
	srv, err := ttrpc.NewServer(opts...)
	if err != nil {
		t.Fatal(err)
	}
	srv.RegisterService("test.Echo", &ttrpc.ServiceDesc{Methods: map[string]ttrpc.Method{
		"Echo": func(_ context.Context, unmarshal func(any) error) (any, error) {
			var in wrapperspb.StringValue
			if err := unmarshal(&in); err != nil {
				return nil, err
			}
			return &in, nil
		},
	}})
	served := make(chan error, 1)
	go func() { served <- srv.Serve(context.Background(), ln) }()
	t.Cleanup(func() {
		_ = srv.Close()
		if err := <-served; !errors.Is(err, ttrpc.ErrServerClosed) {
			t.Errorf("the server ended with %v", err)
		}
	})
}

func echo(t *testing.T, s vsock.Stack, says string) (string, error) {
	t.Helper()
	client, err := vsockttrpc.Dial(t.Context(), &vsock.Dialer{Stack: s}, "vsock://3:1024")
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	var out wrapperspb.StringValue
	err = client.Call(t.Context(), "test.Echo", "Echo", wrapperspb.String(says), &out)
	return out.GetValue(), err
}

func TestCall(t *testing.T) {
	pair := vsocktest.NewPair(t)
	serve(t, pair)
	if got, err := echo(t, pair.Host, "hello"); got != "hello" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

func TestDialErrors(t *testing.T) {
	pair := vsocktest.NewPair(t)
	if _, err := vsockttrpc.Dial(t.Context(), &vsock.Dialer{Stack: pair.Host}, "3:9"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("where nobody listens: %v", err)
	}
	if _, err := vsockttrpc.Dial(t.Context(), nil, "3"); err == nil {
		t.Error("an address without a port: no error")
	}
}

func TestRequireCID(t *testing.T) {
	pair := vsocktest.NewPair(t)
	serve(t, pair, ttrpc.WithServerHandshaker(vsockttrpc.RequireCID(7, vsock.CIDHost)))
	if got, err := echo(t, pair.Host, "from the host"); got != "from the host" || err != nil {
		t.Errorf("from CID 2: %q, %v", got, err)
	}
	// The guest's own loopback is CID 3.
	if got, err := echo(t, pair.Guest, "from within"); err == nil {
		t.Errorf("from CID 3: %q, no error", got)
	}
}

func TestRequireCIDOfOthers(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	if _, _, err := vsockttrpc.RequireCID(2).Handshake(t.Context(), a); !errors.Is(err, syscall.EPERM) {
		t.Errorf("of a pipe: %v", err)
	}
}
