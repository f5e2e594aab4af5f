package bench

import (
	"context"
	"fmt"
	"net"
	"testing"
	"time"

	"vsockets.dev/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// serve starts a server, and gives a client for it.
func serve(t *testing.T, s *Server) *Client {
	t.Helper()
	l, err := net.Listen("unix", t.TempDir()+"/s")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return &Client{Dial: func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", l.Addr().String())
	}}
}

func TestJobs(t *testing.T) {
	for _, j := range []Job{
		{Kind: Up, Block: 1, Streams: 1},
		{Kind: Up, Block: 64, Streams: 3},
		{Kind: Up, Block: 100_000, Streams: 1},
		{Kind: Down, Block: 1, Streams: 1},
		{Kind: Down, Block: 64, Streams: 3},
		{Kind: Down, Block: MaxBlock, Streams: 1},
		{Kind: Echo, Block: 64, Streams: 2},
		{Kind: Connect, Streams: 2},
		{Kind: Down, Block: 4096, Streams: 1, Extra: Extra{Idle: 5, Stalled: 1}},
	} {
		t.Run(fmt.Sprintf("%s/%d/%d/%d", j.Kind, j.Block, j.Streams, j.Extra.Idle), func(t *testing.T) {
			c := serve(t, &Server{Log: func(err error) {
				if j.Extra == (Extra{}) { // extra connections end without having done their task
					t.Error(err)
				}
			}})
			j.Time = 20 * time.Millisecond
			r, err := c.Run(t.Context(), j)
			if err != nil {
				t.Fatal(err)
			}
			if r.Elapsed < j.Time {
				t.Errorf("elapsed %v of %v", r.Elapsed, j.Time)
			}
			if j.Kind != Connect && (r.Bytes == 0 || r.Bytes%uint64(j.Block) != 0) {
				t.Errorf("%d bytes in blocks of %d", r.Bytes, j.Block)
			}
			if timed := j.Kind == Echo || j.Kind == Connect; timed != (r.Latency != nil) || timed != (r.Ops > 0) {
				t.Errorf("%d operations, latency %v", r.Ops, r.Latency)
			}
			if b, ops := c.Progress(); b+ops == 0 {
				t.Error("no progress was told")
			}
		})
	}
}
