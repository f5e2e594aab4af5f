package main

import (
	"io"
	"strings"
	"testing"

	"vsockets.dev/vsock"
	"vsockets.dev/vswitch"
)

func TestTalk(t *testing.T) {
	sw := vswitch.New(vswitch.Config{})
	defer sw.Close()
	guest, err := sw.AddContext(vswitch.ContextConfig{CID: 3})
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name  string
		serve func(io.ReadWriter)
		want  string
	}{
		{"echo", func(c io.ReadWriter) { _, _ = io.Copy(c, c) }, ""},
		{"nothing back", func(c io.ReadWriter) { _, _ = io.Copy(io.Discard, c) }, "0 other ones came back"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ln, err := vsock.Listen(t.Context(), sw.Host(), vsock.Addr{CID: vsock.CIDAny, Port: vsock.PortAny})
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			go func() {
				c, err := ln.Accept()
				if err != nil {
					return
				}
				tc.serve(c)
				_ = c.Close()
			}()
			var out strings.Builder
			err = talk(t.Context(), guest, ln.Addr().(vsock.Addr), &out)
			if tc.want == "" {
				if err != nil || !strings.HasSuffix(out.String(), "9000 bytes came back\n") {
					t.Errorf("%q, %v", out.String(), err)
				}
			} else if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v, want %q", err, tc.want)
			}
		})
	}
}
