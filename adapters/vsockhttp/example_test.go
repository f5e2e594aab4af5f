package vsockhttp_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"

	"vsockets.dev/adapters/vsockhttp"
	"vsockets.dev/vsock"
	"vsockets.dev/vswitch"
)

// The server and the client are two contexts in one program here. With the zero
// vsock.Dialer and a nil stack, they are a guest and its host.
func Example() {
	ctx := context.Background()
	sw := vswitch.New(vswitch.Config{})
	defer sw.Close()
	guest, err := sw.AddContext(vswitch.ContextConfig{CID: 3})
	if err != nil {
		log.Fatal(err)
	}

	ln, err := vsock.Listen(ctx, guest, vsock.Addr{CID: vsock.CIDAny, Port: 1024})
	if err != nil {
		log.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "this is %s of the guest", r.URL.Path)
	})}
	defer srv.Close()
	go func() { _ = srv.Serve(ln) }()

	client := &http.Client{Transport: vsockhttp.NewTransport(&vsock.Dialer{Stack: sw.Host()})}
	defer client.CloseIdleConnections()
	resp, err := client.Get("vsock://3:1024/path")
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	fmt.Println(string(body), err)
	// Output: this is /path of the guest <nil>
}
