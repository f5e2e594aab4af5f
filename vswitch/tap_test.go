package vswitch_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"testing"

	"vsockets.dev/internal/packet"
	"vsockets.dev/vsock"
	"vsockets.dev/vswitch"
)

// capturedUntil takes packets until one has an operation.
func capturedUntil(t *testing.T, c *vswitch.Capture, op packet.Op) (all []vswitch.CapturedPacket) {
	t.Helper()
	for {
		all, _ = c.Next(all)
		for _, p := range all {
			if header(p).Op == op {
				return all
			}
		}
		select {
		case <-c.Ready():
		case <-t.Context().Done():
			t.Fatal("it was not captured")
		}
	}
}

func header(p vswitch.CapturedPacket) (h packet.Header) {
	h.Decode(&p.Header)
	return h
}

// ops names the operations of packets, with their directions.
func ops(all []vswitch.CapturedPacket) string {
	var s []string
	for _, p := range all {
		h := header(p)
		s = append(s, fmt.Sprintf("%d>%d %s %d", h.SrcCID, h.DstCID, h.Op, h.Len))
	}
	return strings.Join(s, ", ")
}

func capture(t *testing.T, sw *vswitch.Switch, cfg vswitch.CaptureConfig) *vswitch.Capture {
	t.Helper()
	c, err := sw.Capture(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestCapture(t *testing.T) {
	sw := vswitch.New(vswitch.Config{})
	defer sw.Close()
	ctx3, err := sw.AddContext(vswitch.ContextConfig{CID: 3})
	if err != nil {
		t.Fatal(err)
	}
	l, err := vsock.Listen(t.Context(), sw.Host(), vsock.Addr{CID: vsock.CIDAny, Port: 1024})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()

	whole := capture(t, sw, vswitch.CaptureConfig{})
	short := capture(t, sw, vswitch.CaptureConfig{SnapLen: 3, Filter: func(b *[packet.HeaderSize]byte) bool {
		var h packet.Header
		h.Decode(b)
		return h.Op == packet.OpRW
	}})
	none := capture(t, sw, vswitch.CaptureConfig{SnapLen: -1})
	c, err := vsock.Dial(t.Context(), ctx3, vsock.Addr{CID: 2, Port: 1024})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write([]byte("all of it")); err != nil {
		t.Fatal(err)
	}
	peer, err := l.AcceptConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := peer.Close(); err != nil {
		t.Fatal(err)
	}
	// The answer to a packet comes after it, though it is made while that is delivered.
	const want = "3>2 REQUEST 0, 2>3 RESPONSE 0, 3>2 RW 9, 2>3 SHUTDOWN 0, 3>2 RST 0"
	all := capturedUntil(t, whole, packet.OpReset)
	if got := ops(all); got != want {
		t.Fatalf("%s; want %s", got, want)
	}
	if got := string(all[2].Payload); got != "all of it" || all[2].Time.Before(all[0].Time) {
		t.Errorf("%q", got)
	}
	if all := capturedUntil(t, short, packet.OpRW); len(all) != 1 || string(all[0].Payload) != "all" || header(all[0]).Len != 9 {
		t.Errorf("%s: %q", ops(all), all[0].Payload)
	}
	if all := capturedUntil(t, none, packet.OpReset); len(all) != 5 || all[2].Payload != nil {
		t.Errorf("%s", ops(all))
	}

	// Refusals, of the other context and of the switch itself.
	for _, to := range []vsock.Addr{{CID: 2, Port: 9}, {CID: 7, Port: 9}} {
		if _, err := vsock.Dial(t.Context(), ctx3, to); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Fatal(err)
		}
		want := fmt.Sprintf("3>%d REQUEST 0, %d>3 RST 0", to.CID, to.CID)
		if got := ops(capturedUntil(t, whole, packet.OpReset)); got != want {
			t.Errorf("%s; want %s", got, want)
		}
	}

	whole.Close()
	if _, more := whole.Next(nil); more {
		t.Error("a closed capture goes on")
	}
	if err := sw.Close(); err != nil {
		t.Fatal(err)
	}
	<-none.Ready()
	if _, more := none.Next(nil); more {
		t.Error("the switch has ended, and the capture has not")
	}
	if _, err := sw.Capture(vswitch.CaptureConfig{}); !errors.Is(err, vswitch.ErrClosed) {
		t.Error(err)
	}
}

// TestCaptureLossy has nobody read a capture. That stops nobody.
func TestCaptureLossy(t *testing.T) {
	sw := vswitch.New(vswitch.Config{})
	defer sw.Close()
	ctx3, err := sw.AddContext(vswitch.ContextConfig{CID: 3})
	if err != nil {
		t.Fatal(err)
	}
	l, err := vsock.Listen(t.Context(), sw.Host(), vsock.Addr{CID: vsock.CIDAny, Port: 1024})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	tap := capture(t, sw, vswitch.CaptureConfig{})
	c, err := vsock.Dial(t.Context(), ctx3, vsock.Addr{CID: 2, Port: 1024})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	peer, err := l.AcceptConn()
	if err != nil {
		t.Fatal(err)
	}
	data := bytes.Repeat([]byte("0123456789abcdef"), 4<<20)
	go func() {
		_, _ = c.Write(data)
		_ = c.CloseWrite()
	}()
	if got, err := io.ReadAll(peer); err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	_ = peer.Close()
	all, _ := tap.Next(nil)
	var kept int
	for _, p := range all {
		kept += len(p.Payload)
	}
	if tap.Dropped() == 0 || len(all) == 0 || len(all) > vswitch.MaxCaptured || kept > 17<<20 {
		t.Errorf("%d packets with %d bytes kept, %d dropped", len(all), kept, tap.Dropped())
	}
}
