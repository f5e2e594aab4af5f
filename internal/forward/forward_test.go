package forward

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
)

// TestManyClients has a hundred at once.
func TestManyClients(t *testing.T) {
	for _, pair := range [][2]Kind{{TCP, Vsock}, {Host, TCP}, {Unix, Vsock}, {Host, Unix}} {
		t.Run(fmt.Sprintf("%s-%s", pair[0], pair[1]), func(t *testing.T) {
			b := newBed(t)
			l, text := b.server(pair[1])
			b.serve(l)
			f := b.start(b.froms()[pair[0]] + "=" + text)
			data := pattern(100_000)
			var all sync.WaitGroup
			for range 100 {
				all.Go(func() {
					c, err := b.tryDial(f)
					if err == nil {
						err = echoed(c, data)
					}
					if err != nil {
						t.Error(err)
					}
				})
			}
			all.Wait()
			if err := f.Drain(t.Context()); err != nil {
				t.Fatal(err)
			}
			if c := f.Counters(); c.Accepted != 100 || c.Active != 0 || c.Sent != uint64(100*len(data)) {
				t.Errorf("%+v", c)
			}
		})
	}
}

// TestHTTP carries HTTP to a server in the guest, and to one outside.
func TestHTTP(t *testing.T) {
	for _, pair := range [][2]Kind{{TCP, Vsock}, {Host, TCP}} {
		t.Run(fmt.Sprintf("%s-%s", pair[0], pair[1]), func(t *testing.T) {
			b := newBed(t)
			l, text := b.server(pair[1])
			srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				all, err := io.ReadAll(r.Body)
				if err != nil {
					t.Error(err)
				}
				_, _ = w.Write(all)
			})}
			served := make(chan error, 1)
			go func() { served <- srv.Serve(l) }()
			f := b.start(b.froms()[pair[0]] + "=" + text)
			tr := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return b.tryDial(f) }}
			client := &http.Client{Transport: tr, Timeout: patience}
			data := pattern(200_000)
			var all sync.WaitGroup
			for range 10 {
				all.Go(func() {
					for range 5 {
						resp, err := client.Post("http://test/", "", bytes.NewReader(data))
						if err != nil {
							t.Error(err)
							return
						}
						got, err := io.ReadAll(resp.Body)
						_ = resp.Body.Close()
						if !bytes.Equal(got, data) || err != nil {
							t.Errorf("%d bytes, %v", len(got), err)
						}
					}
				})
			}
			all.Wait()
			tr.CloseIdleConnections()
			if err := f.Drain(t.Context()); err != nil {
				t.Error(err)
			}
			_ = srv.Close()
			if err := <-served; !errors.Is(err, http.ErrServerClosed) {
				t.Error(err)
			}
		})
	}
}
