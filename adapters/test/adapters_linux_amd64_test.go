package test

import (
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"

	"github.com/containerd/ttrpc"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"vsockets.dev/adapters/vsockgrpc"
	"vsockets.dev/adapters/vsockhttp"
	"vsockets.dev/adapters/vsockttrpc"
	"vsockets.dev/internal/testguest"
	"vsockets.dev/vsock"
	"vsockets.dev/vswitch"
)

// activate is systemd's own program to try socket activation with.
const activate = "systemd-socket-activate"

// TestAdapters has the example of each adapter serve in a guest, and its client here.
func TestAdapters(t *testing.T) {
	sw, guest := boot(t)
	d := &vsock.Dialer{Stack: sw.Host()}

	t.Run("http", func(t *testing.T) {
		serve(t, guest, "listening on", build(t, "vsockets.dev/examples/http"), "serve", "any:8080")
		tr := vsockhttp.NewTransport(d)
		defer tr.CloseIdleConnections()
		client := &http.Client{Transport: tr}
		var all sync.WaitGroup
		for i := range 10 {
			all.Go(func() {
				if got, want := get(t, client, fmt.Sprintf("vsock://3:8080/%d", i)), fmt.Sprintf("hello CID 2, this is /%d\n", i); got != want {
					t.Errorf("%q, want %q", got, want)
				}
			})
		}
		all.Wait()
	})

	// systemd listens, and starts the server for the first connection.
	t.Run("systemd", func(t *testing.T) {
		path := testguest.RequireProgram(t, "", activate)
		serve(t, guest, "Listening on", path, "-l", "vsock::8081", build(t, "vsockets.dev/examples/http"), "serve")
		tr := vsockhttp.NewTransport(d)
		defer tr.CloseIdleConnections()
		if got, want := get(t, &http.Client{Transport: tr}, "vsock://3:8081/"), "hello CID 2, this is /\n"; got != want {
			t.Errorf("%q, want %q", got, want)
		}
	})

	t.Run("grpc", func(t *testing.T) {
		serve(t, guest, "listening on", build(t, "vsockets.dev/adapters/vsockgrpc/example"), "serve", "any:50051")
		cc, err := grpc.NewClient("vsock:3:50051", append(vsockgrpc.DialOptions(d),
			grpc.WithTransportCredentials(insecure.NewCredentials()))...)
		if err != nil {
			t.Fatal(err)
		}
		defer cc.Close()
		client := grpc_health_v1.NewHealthClient(cc)
		resp, err := client.Check(t.Context(), new(grpc_health_v1.HealthCheckRequest))
		if resp.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING || err != nil {
			t.Errorf("%v, %v", resp.GetStatus(), err)
		}
		// A stream of the server's, on the same connection.
		stream, err := client.Watch(t.Context(), new(grpc_health_v1.HealthCheckRequest))
		if err != nil {
			t.Fatal(err)
		}
		if resp, err := stream.Recv(); resp.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING || err != nil {
			t.Errorf("stream: %v, %v", resp.GetStatus(), err)
		}
	})

	t.Run("ttrpc", func(t *testing.T) {
		serve(t, guest, "listening on", build(t, "vsockets.dev/adapters/vsockttrpc/example"), "serve", "any:4070")
		client, err := vsockttrpc.Dial(t.Context(), d, "vsock://3:4070")
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		if got, err := kernel(t, client); got != guest.Kernel() || err != nil {
			t.Errorf("%q, %v; want %q", got, err, guest.Kernel())
		}
		// Its server serves the host only.
		other, err := sw.AddContext(vswitch.ContextConfig{CID: guestCID + 1, Groups: []string{group}})
		if err != nil {
			t.Fatal(err)
		}
		stranger, err := vsockttrpc.Dial(t.Context(), &vsock.Dialer{Stack: other}, "vsock://3:4070")
		if err != nil {
			t.Fatal(err)
		}
		defer stranger.Close()
		if got, err := kernel(t, stranger); err == nil {
			t.Errorf("another context is told %q", got)
		}
	})
}

func get(t *testing.T, c *http.Client, url string) string {
	t.Helper()
	resp, err := c.Get(url)
	if err != nil {
		t.Error(err)
		return ""
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("%s: %s, %v", url, resp.Status, err)
	}
	return string(body)
}

func kernel(t *testing.T, c *ttrpc.Client) (string, error) {
	var name wrapperspb.StringValue
	err := c.Call(t.Context(), "example.Agent", "Kernel", new(emptypb.Empty), &name)
	return name.GetValue(), err
}
