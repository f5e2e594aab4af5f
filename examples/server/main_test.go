package main

import (
	"bufio"
	"io"
	"strings"
	"testing"

	"vsockets.dev/vsock"
	"vsockets.dev/vswitch"
)

// TestServe plays the client with the calls of package vsock; examples/client does
// the same step by step.
func TestServe(t *testing.T) {
	sw := vswitch.New(vswitch.Config{})
	defer sw.Close()
	guest, err := sw.AddContext(vswitch.ContextConfig{CID: 3})
	if err != nil {
		t.Fatal(err)
	}
	r, w := io.Pipe()
	served := make(chan error, 1)
	go func() { served <- serve(guest, defaultPort, w) }()
	lines := bufio.NewScanner(r)
	if !lines.Scan() || lines.Text() != "listening on 3:4050" {
		t.Fatalf("first line: %q", lines.Text())
	}
	rest := make(chan string)
	go func() {
		var all []string
		for range 2 {
			lines.Scan()
			all = append(all, lines.Text())
		}
		rest <- strings.Join(all, "\n")
	}()

	c, err := vsock.Dial(t.Context(), sw.Host(), vsock.Addr{CID: 3, Port: defaultPort})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	message := strings.Repeat("0123456789", 10000)
	go func() {
		_, _ = io.WriteString(c, message)
		_ = c.CloseWrite()
	}()
	if got, err := io.ReadAll(c); string(got) != message || err != nil {
		t.Errorf("%d bytes came back, %v", len(got), err)
	}
	if got := <-rest; !strings.HasPrefix(got, "client 2:") || !strings.HasSuffix(got, "\n100000 bytes returned") {
		t.Errorf("the server says %q", got)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
	if size, err := c.Socket().Option(vsock.BufferSize); size != 65536 || err != nil {
		t.Errorf("negotiated size %d, %v: the proposal is within the server's limits", size, err)
	}
}
