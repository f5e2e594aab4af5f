package vsockhttp_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"

	"vsockets.dev/adapters/vsockhttp"
	"vsockets.dev/internal/leaktest"
	"vsockets.dev/vsock"
	"vsockets.dev/vsock/vsocktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// server is a server in the guest of a pair that is not started yet.
func server(t *testing.T, pair *vsocktest.Net, port uint32, h http.Handler) *httptest.Server {
	t.Helper()
	ln, err := vsock.Listen(t.Context(), pair.Guest, vsock.Addr{CID: vsock.CIDAny, Port: port})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(h)
	_ = srv.Listener.Close() // the TCP listener that it comes with
	srv.Listener = ln
	t.Cleanup(srv.Close)
	return srv
}

// client is one on the host of a pair.
func client(t *testing.T, pair *vsocktest.Net) (*http.Client, *http.Transport) {
	tr := vsockhttp.NewTransport(&vsock.Dialer{Stack: pair.Host})
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}, tr
}

func read(t *testing.T, resp *http.Response, err error) string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func TestURLs(t *testing.T) {
	pair := vsocktest.NewPair(t)
	h := http.NewServeMux()
	h.HandleFunc("/{path...}", func(w http.ResponseWriter, r *http.Request) {
		peer, err := vsock.ParseAddr(r.RemoteAddr)
		if err != nil || peer.CID != vsock.CIDHost {
			t.Errorf("a request from %q, %v", r.RemoteAddr, err)
		}
		fmt.Fprint(w, r.Host, r.URL)
	})
	h.HandleFunc("/away", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "home?x=1", http.StatusFound)
	})
	server(t, pair, 1024, h).Start()
	server(t, pair, 80, h).Start()
	c, _ := client(t, pair)
	for url, want := range map[string]string{
		"vsock://3:1024/a/b?q=1": "3:1024/a/b?q=1",
		"vsock://3:1024":         "3:1024/",
		"vsock://3/":             "3/",
		"http://3:1024/":         "3:1024/",
		"vsock://3:1024/away":    "3:1024/home?x=1",
	} {
		resp, err := c.Get(url)
		if got := read(t, resp, err); got != want {
			t.Errorf("%s: %q, want %q", url, got, want)
		}
		if got := resp.Request.URL.Scheme; got != strings.Split(url, ":")[0] {
			t.Errorf("%s: the response's request has scheme %q", url, got)
		}
	}
}

func TestErrors(t *testing.T) {
	pair := vsocktest.NewPair(t)
	c, _ := client(t, pair)
	for url, want := range map[string]string{
		"vsock:///path":          "write it as vsock://CID:port/path",
		"vsock:3:1024":           "write it as vsock://CID:port/path",
		"vsock://example.com/":   `"example.com" is not a CID`,
		"vsock://4294967296:1/":  "is not a CID",
		"ftp://3:1024/":          "unsupported protocol scheme",
		"vsock://3:4294967296/x": "is not a port",
	} {
		if resp, err := c.Get(url); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, %v, want %q", url, resp, err, want)
		}
	}
	if _, err := c.Get("vsock://3:9/"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("where nobody listens: %v", err)
	}
	body := &closed{Reader: strings.NewReader("x")}
	if _, err := c.Post("vsock:///", "text/plain", body); err == nil || !body.closed {
		t.Errorf("a body without an address is not closed: %v", err)
	}
}

type closed struct {
	io.Reader
	closed bool
}

func (c *closed) Close() error {
	c.closed = true
	return nil
}

// TestBodies sends much both ways at once, and keeps the connection.
func TestBodies(t *testing.T) {
	pair := vsocktest.NewPair(t)
	peers := make(map[string]bool) // requests come one by one
	server(t, pair, 1024, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		peers[r.RemoteAddr] = true
		if err := http.NewResponseController(w).EnableFullDuplex(); err != nil {
			t.Error(err)
		}
		_, _ = io.Copy(w, r.Body)
	})).Start()
	c, _ := client(t, pair)
	sent := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	for range 3 {
		resp, err := c.Post("vsock://3:1024/", "application/octet-stream", bytes.NewReader(sent))
		if got := read(t, resp, err); got != string(sent) {
			t.Errorf("%d bytes came back of %d", len(got), len(sent))
		}
	}
	if len(peers) != 1 {
		t.Errorf("%d connections for 3 requests", len(peers))
	}
}

// TestTLS has HTTP/2 over it, too.
func TestTLS(t *testing.T) {
	pair := vsocktest.NewPair(t)
	srv := server(t, pair, 1024, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Proto)
	}))
	srv.EnableHTTP2 = true
	srv.StartTLS()
	c, tr := client(t, pair)
	tr.TLSClientConfig = &tls.Config{
		RootCAs:    srv.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs,
		ServerName: "example.com", // what the certificate of httptest is for
	}
	resp, err := c.Get("https://3:1024/")
	if got := read(t, resp, err); got != "HTTP/2.0" {
		t.Errorf("the server speaks %q", got)
	}
}

// TestRegister has a client of TCP servers that takes URLs of vSockets as well.
func TestRegister(t *testing.T) {
	pair := vsocktest.NewPair(t)
	server(t, pair, 1024, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "vsock")
	})).Start()
	tcp := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "tcp")
	}))
	defer tcp.Close()
	_, inner := client(t, pair)
	tr := new(http.Transport)
	defer tr.CloseIdleConnections()
	tr.RegisterProtocol(vsockhttp.Scheme, inner)
	c := &http.Client{Transport: tr}
	for url, want := range map[string]string{"vsock://3:1024/": "vsock", tcp.URL: "tcp"} {
		resp, err := c.Get(url)
		if got := read(t, resp, err); got != want {
			t.Errorf("%s: %q, want %q", url, got, want)
		}
	}
}

// TestOtherDefault is for programs that put a RoundTripper of their own in place.
func TestOtherDefault(t *testing.T) {
	before := http.DefaultTransport
	defer func() { http.DefaultTransport = before }()
	http.DefaultTransport = http.NewFileTransport(http.Dir("."))
	if tr := vsockhttp.NewTransport(nil); tr.DialContext == nil {
		t.Error("no dialer")
	}
}
