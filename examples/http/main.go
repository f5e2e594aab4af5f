// Command http serves and fetches HTTP over vSockets.
//
//	http serve [CID:port]            what to listen on, any:8080 by default
//	http get vsock://3:8080/path     prints what is there
//
// Under systemd it serves the sockets that systemd listens on for it, and is started
// when the first request comes:
//
//	# /etc/systemd/system/hello.socket
//	[Socket]
//	ListenStream=vsock::8080
//	[Install]
//	WantedBy=sockets.target
//
//	# /etc/systemd/system/hello.service
//	[Service]
//	ExecStart=/usr/local/bin/http serve
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"vsockets.dev/adapters/vsockhttp"
	"vsockets.dev/vsock"
)

const (
	defaultAddress = "any:8080"

	// getTimeout is for one request with all that it fetches.
	getTimeout = 30 * time.Second

	// headerTimeout is how long a client may take to say what it wants.
	headerTimeout = 5 * time.Second
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "http:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	switch {
	case len(args) == 1 && args[0] == "serve":
		return serveAll(ctx, defaultAddress, out)
	case len(args) == 2 && args[0] == "serve":
		return serveAll(ctx, args[1], out)
	case len(args) == 2 && args[0] == "get":
		return get(ctx, &vsock.Dialer{}, args[1], out)
	}
	return errors.New("usage: http serve [CID:port] | get vsock://CID:port/path")
}

// serveAll serves what systemd listens on, or else an address of our own.
func serveAll(ctx context.Context, address string, out io.Writer) error {
	lns, err := vsock.SystemdListeners()
	if err != nil {
		return err
	}
	if len(lns) == 0 {
		a, err := vsock.ParseAddr(address)
		if err != nil {
			return err
		}
		ln, err := vsock.Listen(ctx, nil, a)
		if err != nil {
			return err
		}
		lns = append(lns, ln)
	}
	served := make(chan error, len(lns))
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for _, ln := range lns {
		go func() { served <- serve(ctx, ln, out) }()
	}
	err = <-served
	cancel() // one that fails ends the others
	for range len(lns) - 1 {
		err = errors.Join(err, <-served)
	}
	return err
}

// serve serves one listener until the context ends.
func serve(ctx context.Context, ln net.Listener, out io.Writer) error {
	srv := &http.Server{Handler: http.HandlerFunc(hello), ReadHeaderTimeout: headerTimeout}
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() })
	defer stop()
	fmt.Fprintln(out, "listening on", ln.Addr())
	if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// hello says who asks. Nobody can write another CID into it than their own.
func hello(w http.ResponseWriter, r *http.Request) {
	peer, err := vsock.ParseAddr(r.RemoteAddr)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	fmt.Fprintf(w, "hello CID %d, this is %s\n", peer.CID, r.URL.Path)
}

// get prints what is at a URL.
func get(ctx context.Context, d *vsock.Dialer, url string, out io.Writer) error {
	t := vsockhttp.NewTransport(d)
	defer t.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(ctx, getTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := (&http.Client{Transport: t}).Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, resp.Status)
	}
	_, err = io.Copy(out, resp.Body)
	return err
}
