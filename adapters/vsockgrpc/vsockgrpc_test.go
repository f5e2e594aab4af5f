package vsockgrpc_test

import (
	"context"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"vsockets.dev/adapters/vsockgrpc"
	"vsockets.dev/internal/leaktest"
	"vsockets.dev/vsock"
	"vsockets.dev/vsock/vsocktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// asked is a health server that keeps who asked it, and by which name.
type asked struct {
	grpc_health_v1.UnimplementedHealthServer
	from chan vsock.Addr
}

func (a asked) Check(ctx context.Context, _ *grpc_health_v1.HealthCheckRequest) (*grpc_health_v1.HealthCheckResponse, error) {
	p, _ := peer.FromContext(ctx)
	a.from <- p.Addr.(vsock.Addr)
	return new(grpc_health_v1.HealthCheckResponse), nil
}

func TestTargets(t *testing.T) {
	// A client of vSockets asks no proxy.
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:9")
	pair := vsocktest.NewPair(t)
	for _, at := range []struct {
		server, client vsock.Stack
		from           uint32
		targets        []string
	}{
		{pair.Guest, pair.Host, vsock.CIDHost, []string{"vsock:3:1024", "vsock:///3:1024", "vsock://3:1024"}},
		{pair.Host, pair.Guest, vsocktest.GuestCID, []string{"vsock:host:1024", "vsock:///host:1024", "vsock:2:1024"}},
	} {
		ln, err := vsock.Listen(t.Context(), at.server, vsock.Addr{CID: vsock.CIDAny, Port: 1024})
		if err != nil {
			t.Fatal(err)
		}
		srv := grpc.NewServer()
		t.Cleanup(srv.Stop)
		service := asked{from: make(chan vsock.Addr, 1)}
		grpc_health_v1.RegisterHealthServer(srv, service)
		go func() { _ = srv.Serve(ln) }()
		for _, target := range at.targets {
			if err := check(t, at.client, target); err != nil {
				t.Errorf("%s: %v", target, err)
				continue
			}
			if from := <-service.from; from.CID != at.from {
				t.Errorf("%s: asked by %v, want CID %d", target, from, at.from)
			}
		}
	}
}

func check(t *testing.T, s vsock.Stack, target string) error {
	t.Helper()
	opts := append(vsockgrpc.DialOptions(&vsock.Dialer{Stack: s}), grpc.WithTransportCredentials(insecure.NewCredentials()))
	cc, err := grpc.NewClient(target, opts...)
	if err != nil {
		return err
	}
	defer cc.Close()
	_, err = grpc_health_v1.NewHealthClient(cc).Check(t.Context(), new(grpc_health_v1.HealthCheckRequest))
	return err
}

func TestErrors(t *testing.T) {
	pair := vsocktest.NewPair(t)
	for target, want := range map[string]string{
		"vsock:3":              "has no port",
		"vsock:":               "has no port",
		"vsock:example.com:80": "is not a CID",
		"vsock:3:1025":         "connection refused",
	} {
		if err := check(t, pair.Host, target); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", target, err, want)
		} else if want == "connection refused" && status.Code(err) != codes.Unavailable {
			t.Errorf("%s: %v, want Unavailable", target, err)
		}
	}
}

func TestDefaultDialer(t *testing.T) {
	opts := append(vsockgrpc.DialOptions(nil), grpc.WithTransportCredentials(insecure.NewCredentials()))
	cc, err := grpc.NewClient("vsock:3:1024", opts...) // which does not connect yet
	if err != nil {
		t.Fatal(err)
	}
	if err := cc.Close(); err != nil {
		t.Error(err)
	}
}
