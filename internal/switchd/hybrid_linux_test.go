package switchd

import (
	"bufio"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// TestHybrid reaches a guest by the Firecracker protocol, which a reload takes away.
func TestHybrid(t *testing.T) {
	b := newBed(t, "[[guest]]\ncid=3\nsocket='$/3'\nhybrid='$/h'")
	if c, _ := b.context(3); c.Hybrid != b.path("h") {
		t.Errorf("%+v", c)
	}
	echo(t, boot(t, b.path("3")), 1024)
	c, err := net.Dial("unix", b.path("h"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(limit))
	if _, err := io.WriteString(c, "CONNECT 1024\n"); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(c)
	if line, err := r.ReadString('\n'); err != nil || !strings.HasPrefix(line, "OK ") {
		t.Fatalf("%q, %v", line, err)
	}
	ask(t, c)
	b.reload("[[guest]]\ncid=3\nsocket='$/3'")
	if c, err := net.Dial("unix", b.path("h")); err == nil {
		_ = c.Close()
		t.Error("it is still served")
	}
	if c, _ := b.context(3); c.Hybrid != "" || c.Socket == "" {
		t.Errorf("%+v", c)
	}
}
