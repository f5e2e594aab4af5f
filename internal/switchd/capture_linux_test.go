package switchd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"vsockets.dev/internal/capture"
	"vsockets.dev/internal/packet"
	"vsockets.dev/vsock"
)

const captureBed = "control='$/control'\n[[attach]]\nsocket='$/attach'\n"

func TestCapture(t *testing.T) {
	b := &bed{t: t, dir: t.TempDir()}
	var err error
	if b.d, err = Start(b.parse(captureBed), Options{}); err != nil { // which is closed below
		t.Fatal(err)
	}
	c := NewClient(b.path("control"))
	echo(t, b.d.sw.Host(), 1024)
	file, err := c.Capture(t.Context(), "op rw", 4)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	process := boot(t, b.path("attach"))
	conn, err := vsock.Dial(t.Context(), process, vsock.Addr{CID: vsock.CIDHost, Port: 1024})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ask(t, conn)
	r := capture.NewReader(file)
	for _, src := range []uint64{1000, 2} {
		p, err := r.Next()
		if err != nil || p.SrcCID != src || p.Op != packet.OpRW || p.Len != 8 || string(p.Payload) != "ques" {
			t.Errorf("%s %q, %v", p.Line(), p.Payload, err)
		}
	}
	all, err := c.Connections(t.Context())
	if err != nil || len(all) != 1 || all[0].From != conn.LocalAddr() || all[0].To != (vsock.Addr{CID: 2, Port: 1024}) || all[0].HalfOpen {
		t.Errorf("%+v, %v", all, err)
	}

	// The end of the switch is that of the capture, and is not held up by it.
	start := time.Now()
	closed := make(chan error, 1)
	go func() {
		over, cancel := context.WithCancel(context.Background())
		cancel()
		closed <- b.d.Close(over)
	}()
	for err = nil; err == nil; _, err = r.Next() {
	}
	if !errors.Is(err, io.EOF) {
		t.Errorf("the capture ends with %v", err)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
	if took := time.Since(start); took >= controlEndTime {
		t.Errorf("the end took %v", took)
	}
}

func TestCaptureRefused(t *testing.T) {
	b := newBed(t, captureBed)
	c := NewClient(b.path("control"))
	get := func(query string) (int, string) {
		client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", b.path("control"))
		}}}
		r, err := client.Get("http://switch/v1/capture?" + query)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		text, _ := io.ReadAll(r.Body)
		return r.StatusCode, string(text)
	}
	for query, want := range map[string]string{
		"filter=host":    "missing at the end",
		"filter=host+3":  "use cid",
		"snaplen=-1":     "no number",
		"snaplen=x":      "no number",
		"snap=1":         "use snaplen and filter",
		"filter=cid+99x": "no CID",
	} {
		if status, text := get(query); status != http.StatusBadRequest || !strings.Contains(text, want) {
			t.Errorf("%s: %d %s", query, status, text)
		}
	}
	if _, err := c.Capture(t.Context(), "nonsense 3", 0); !errors.Is(err, ErrInvalid) {
		t.Error(err)
	}

	var running []io.Closer
	for range maxCaptures {
		file, err := c.Capture(t.Context(), "", 0)
		if err != nil {
			t.Fatal(err)
		}
		running = append(running, file)
	}
	if _, err := c.Capture(t.Context(), "", 0); err == nil || !strings.Contains(err.Error(), fmt.Sprint(maxCaptures)) {
		t.Errorf("one too many: %v", err)
	}
	for _, file := range running {
		_ = file.Close()
	}
	for over := time.Now().Add(limit); ; { // until the switch has seen that they are gone
		file, err := c.Capture(t.Context(), "", 0)
		if err == nil {
			_ = file.Close()
			return
		}
		if time.Now().After(over) {
			t.Fatal(err)
		}
	}
}
