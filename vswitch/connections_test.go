package vswitch_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"vsockets.dev/vsock"
	"vsockets.dev/vswitch"
)

func TestConnections(t *testing.T) {
	sw := vswitch.New(vswitch.Config{})
	defer sw.Close()
	ctx3, err := sw.AddContext(vswitch.ContextConfig{CID: 3})
	if err != nil {
		t.Fatal(err)
	}
	var want []vswitch.Connection
	for port := uint32(1024); port < 1027; port++ {
		l, err := vsock.Listen(t.Context(), sw.Host(), vsock.Addr{CID: vsock.CIDAny, Port: port})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		c, err := vsock.Dial(t.Context(), ctx3, vsock.Addr{CID: 2, Port: port})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		want = append(want, vswitch.Connection{From: c.LocalAddr().(vsock.Addr), To: vsock.Addr{CID: 2, Port: port}})
	}
	if d := cmp.Diff(want, sw.Connections()); d != "" {
		t.Error(d)
	}
}
