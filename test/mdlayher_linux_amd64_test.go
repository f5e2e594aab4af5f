package test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"vsockets.dev/internal/guestpeer"
	"vsockets.dev/internal/testguest"
	"vsockets.dev/internal/transfer"
	"vsockets.dev/vsock"
)

// mdlayherPort is where the guest's program listens.
const mdlayherPort = 5432

// TestMdlayherVsock has a program in a guest use github.com/mdlayher/vsock, and one
// on the host ours. A transfer proves a half-close, too.
func TestMdlayherVsock(t *testing.T) {
	sw, guest := boot(t)
	path, err := testguest.Build(t.Context(), buildDir, "vsockets.dev/test/mdlayher")
	if err != nil {
		t.Fatal(err)
	}
	host := guestpeer.New(sw.Host())
	defer host.Close()

	t.Run("dials", func(t *testing.T) {
		port := serve(t, host, guestpeer.ServiceReceive)
		p := start(t, guest, "", path, "dial", strconv.Itoa(int(port)), strconv.Itoa(amount))
		// Linux says of the near end that its CID is any.
		if says, want := p.wait(), fmt.Sprintf(" host(2):%d\n", port); !strings.HasSuffix(says, want) {
			t.Errorf("its addresses are %q, want that of the other end to be %q", says, want)
		}
	})
	t.Run("listens", func(t *testing.T) {
		p := start(t, guest, "listening", path, "listen", strconv.Itoa(mdlayherPort), strconv.Itoa(amount))
		c, err := vsock.Dial(t.Context(), sw.Host(), vsock.Addr{CID: guestCID, Port: mdlayherPort})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := transfer.Send(c, amount, 1, nil); err != nil {
			t.Error(err)
		}
		want := fmt.Sprintf("vm(%d):%d host(2):%d\n", guestCID, mdlayherPort, c.LocalAddr().(vsock.Addr).Port)
		if says := p.wait(); says != want {
			t.Errorf("its addresses are %q, want %q", says, want)
		}
	})
}
