package vswitch

import (
	"net"
	"path/filepath"
	"strings"
	"testing"
)

// TestGuestSocket has a socket that cannot be made: which and whose is said, and the
// CID stays free.
func TestGuestSocket(t *testing.T) {
	sw := New(Config{})
	defer sw.Close()
	good := filepath.Join(t.TempDir(), "s")
	bad := filepath.Join(t.TempDir(), "none", "s")
	for _, c := range []GuestConfig{{CID: 3, Socket: bad}, {CID: 3, Socket: good, Hybrid: bad}} {
		_, err := sw.AddGuest(c)
		if err == nil || !strings.Contains(err.Error(), "guest 3") || !strings.Contains(err.Error(), bad[:len(bad)-2]) {
			t.Errorf("%+v: %v", c, err)
		}
	}
	if _, err := sw.AddGuest(GuestConfig{CID: 3, Socket: good}); err != nil {
		t.Error(err)
	}
}

// TestNotVhostUser has a client that speaks something else.
func TestNotVhostUser(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	sw := New(Config{})
	defer sw.Close()
	if _, err := sw.AddGuest(GuestConfig{CID: 3, Socket: path}); err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("CONNECT 1024\n and more than a header")); err != nil {
		t.Fatal(err)
	}
	if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("answered with %d bytes, %v", n, err)
	}
	a, err := net.Dial("unix", path) // the socket serves on
	if err != nil {
		t.Fatal(err)
	}
	_ = a.Close()
}
