package relay

import (
	"errors"
	"io"
	"net"
	"path/filepath"
	"testing"
)

// pair gives the two ends of a Unix connection.
func pair(t *testing.T) (a, b *net.UnixConn) {
	t.Helper()
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	d, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(); _ = d.Close() })
	return c.(*net.UnixConn), d.(*net.UnixConn)
}

// TestHalfClose ends one direction and uses the other after it.
func TestHalfClose(t *testing.T) {
	client, ra := pair(t)
	rb, server := pair(t)
	joined := make(chan error)
	go func() { joined <- Join(ra, rb) }()

	if _, err := io.WriteString(client, "question"); err != nil {
		t.Fatal(err)
	}
	if err := client.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(server); string(got) != "question" || err != nil {
		t.Fatalf("server got %q, %v", got, err)
	}
	if _, err := io.WriteString(server, "answer"); err != nil {
		t.Fatal(err)
	}
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(client); string(got) != "answer" || err != nil {
		t.Fatalf("client got %q, %v", got, err)
	}
	if err := <-joined; err != nil {
		t.Errorf("Join: %v", err)
	}
}

// TestPeerGone has one side vanish while the other still sends.
func TestPeerGone(t *testing.T) {
	client, ra := pair(t)
	rb, server := pair(t)
	joined := make(chan error)
	go func() { joined <- Join(ra, rb) }()
	_ = server.Close()
	for {
		if _, err := client.Write(make([]byte, 1<<10)); err != nil {
			break
		}
	}
	if err := <-joined; err == nil || errors.Is(err, net.ErrClosed) {
		t.Errorf("Join: %v, want the reason", err)
	}
}
