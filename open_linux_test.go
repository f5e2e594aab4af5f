package vsockets_test

import (
	"errors"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	vsockets "vsockets.dev"
	"vsockets.dev/internal/leaktest"
	"vsockets.dev/vsock"
	"vsockets.dev/vswitch"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

func TestOpenSwitch(t *testing.T) {
	sw := vswitch.New(vswitch.Config{})
	defer sw.Close()
	path := filepath.Join(t.TempDir(), "s")
	if _, err := sw.AddAttach(vswitch.AttachConfig{Socket: path, First: 7, Last: 8}); err != nil {
		t.Fatal(err)
	}
	var stacks []vsockets.Stack
	for want := range uint32(2) {
		s, err := vsockets.Open("switch:" + path)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if cid, err := s.LocalCID(); cid != 7+want || err != nil {
			t.Errorf("CID %d, %v; want %d", cid, err, 7+want)
		}
		stacks = append(stacks, s)
	}
	if s, err := vsockets.Open("switch:" + path); err == nil {
		_ = s.Close()
		t.Error("more processes attach than there are CIDs")
	}

	l, err := vsock.Listen(t.Context(), sw.Host(), vsock.Addr{CID: vsock.CIDAny, Port: 1024})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := vsock.Dial(t.Context(), stacks[0], vsock.Addr{CID: vsock.CIDHost, Port: 1024})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := sw.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("reading when the switch has gone: %v", err)
	}
	if _, err := vsock.Dial(t.Context(), stacks[0], vsock.Addr{CID: 2, Port: 1}); !errors.Is(err, syscall.ENETDOWN) {
		t.Errorf("connecting when the switch has gone: %v", err)
	}
}

func TestOpenErrors(t *testing.T) {
	dir := t.TempDir()
	for uri, want := range map[string]string{
		"":                     "no stack",
		"kernel":               "",
		"kernel:x":             "no stack",
		"switch:":              "no stack",
		"tcp:1":                "no stack",
		"switch:" + dir + "/s": "does a switch serve that socket?",
	} {
		s, err := vsockets.Open(uri)
		switch {
		case want == "" && err == nil:
			_ = s.Close()
		case err == nil || want == "" || !strings.Contains(err.Error(), want):
			t.Errorf("%q: %v, want %q", uri, err, want)
		}
	}
}
