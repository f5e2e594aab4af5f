package test

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kernel/hypeman/lib/hypervisor/firecracker"

	"vsockets.dev/hybrid"
	"vsockets.dev/internal/guestpeer"
	"vsockets.dev/vsock"
)

// TestFirecrackerClient has the client of a manager of Firecracker's virtual machines
// connect to a guest that is none of Firecracker's.
func TestFirecrackerClient(t *testing.T) {
	sw, guest := boot(t)
	path := filepath.Join(t.TempDir(), "vsock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	server := hybrid.NewServer(hybrid.ServerConfig{
		Path: path,
		Dial: func(ctx context.Context, port uint32) (*vsock.Conn, error) {
			return vsock.Dial(ctx, sw.Host(), vsock.Addr{CID: guestCID, Port: port})
		},
	})
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	defer func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		if err := <-served; !errors.Is(err, hybrid.ErrServerClosed) {
			t.Error(err)
		}
	}()
	port := serve(t, guest, guestpeer.ServiceEcho)
	dialer := firecracker.NewVsockDialer(path, guestCID)

	t.Run("echo", func(t *testing.T) {
		c, err := dialer.DialVsock(t.Context(), int(port))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		// Its connection cannot end one direction, so the length is known.
		sent := make(chan [sha256.Size]byte, 1)
		go func() {
			data := make([]byte, amount)
			_, _ = rand.NewChaCha8([32]byte{2}).Read(data)
			if _, err := c.Write(data); err != nil {
				t.Error(err)
			}
			sent <- sha256.Sum256(data)
		}()
		sum := sha256.New()
		if n, err := io.CopyN(sum, c, amount); err != nil {
			t.Errorf("after %d bytes: %v", n, err)
		}
		if want := <-sent; [sha256.Size]byte(sum.Sum(nil)) != want {
			t.Error("what came back is not what was sent")
		}
	})
	t.Run("refused", func(t *testing.T) {
		c, err := dialer.DialVsock(t.Context(), 9)
		if err == nil {
			c.Close()
			t.Fatal("connected to a port where nobody listens")
		}
		if !strings.Contains(err.Error(), "handshake") {
			t.Error(err)
		}
	})
}
