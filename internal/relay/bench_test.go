package relay_test

import (
	"io"
	"net"
	"testing"

	"vsockets.dev/internal/relay"
	"vsockets.dev/vsock"
	"vsockets.dev/vswitch"
)

// BenchmarkRelay moves blocks through two joined connections, by Join and by a
// plain io.Copy each way.
func BenchmarkRelay(b *testing.B) {
	for _, path := range []struct {
		name string
		a, b func(testing.TB) (relay.Conn, relay.Conn)
	}{
		{"vsock-tcp", vsockPair, tcpPair},
		{"tcp-vsock", tcpPair, vsockPair},
		{"vsock-unix", vsockPair, unixPair},
		{"unix-vsock", unixPair, vsockPair},
		{"tcp-tcp", tcpPair, tcpPair},
		{"tcp-unix", tcpPair, unixPair},
		{"unix-tcp", unixPair, tcpPair},
		{"unix-unix", unixPair, unixPair},
		{"vsock-vsock", vsockPair, vsockPair},
	} {
		for _, how := range []struct {
			name string
			join func(a, b relay.Conn)
		}{
			{"join", func(a, b relay.Conn) { _ = relay.Join(a, b) }},
			{"copy", copyBoth},
		} {
			b.Run(path.name+"/"+how.name+"/64KiB", func(b *testing.B) {
				client, server := joined(b, path.a, path.b, how.join)
				go func() {
					_, _ = io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{server}, make([]byte, 64<<10))
				}()
				p := make([]byte, 64<<10)
				b.SetBytes(int64(len(p)))
				b.ReportAllocs()
				for b.Loop() {
					if _, err := client.Write(p); err != nil {
						b.Fatal(err)
					}
				}
			})
			b.Run(path.name+"/"+how.name+"/roundtrip", func(b *testing.B) {
				client, server := joined(b, path.a, path.b, how.join)
				go func() {
					p := make([]byte, 1)
					for {
						if _, err := server.Read(p); err != nil {
							return
						}
						_, _ = server.Write(p)
					}
				}()
				p := make([]byte, 1)
				b.ReportAllocs()
				for b.Loop() {
					_, _ = client.Write(p)
					if _, err := client.Read(p); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkJoin makes the link of a short connection: what each one costs.
func BenchmarkJoin(b *testing.B) {
	sw := vswitch.New(vswitch.Config{})
	b.Cleanup(func() { _ = sw.Close() })
	connect := connector(b, sw)
	b.ReportAllocs()
	for b.Loop() {
		client, near := connect(b)
		far, server := connect(b)
		done := make(chan error, 1)
		go func() { done <- relay.Join(near, far) }()
		_ = client.Close()
		_ = server.Close()
		if err := <-done; err != nil {
			b.Fatal(err)
		}
	}
}

func copyBoth(a, b relay.Conn) {
	done := make(chan struct{})
	go func() { _, _ = io.Copy(b, a); _ = b.CloseWrite(); close(done) }()
	_, _ = io.Copy(a, b)
	_ = a.CloseWrite()
	<-done
	_ = a.Close()
	_ = b.Close()
}

// joined gives the outer ends of two connections.
func joined(b *testing.B, x, y func(testing.TB) (relay.Conn, relay.Conn), join func(a, b relay.Conn)) (client, server relay.Conn) {
	client, near := x(b)
	far, server := y(b)
	done := make(chan struct{})
	go func() { join(near, far); close(done) }()
	b.Cleanup(func() {
		_ = client.Close()
		_ = server.Close()
		<-done
	})
	return client, server
}

func vsockPair(t testing.TB) (relay.Conn, relay.Conn) {
	sw := vswitch.New(vswitch.Config{})
	t.Cleanup(func() { _ = sw.Close() })
	return connector(t, sw)(t)
}

// connector makes connections of a guest's context to the host's.
func connector(t testing.TB, sw *vswitch.Switch) func(testing.TB) (relay.Conn, relay.Conn) {
	guest, err := sw.AddContext(vswitch.ContextConfig{CID: 3})
	if err != nil {
		t.Fatal(err)
	}
	l, err := vsock.Listen(t.Context(), sw.Host(), vsock.Addr{CID: vsock.CIDAny, Port: vsock.PortAny})
	if err != nil {
		t.Fatal(err)
	}
	return func(t testing.TB) (relay.Conn, relay.Conn) {
		c, err := vsock.Dial(t.Context(), guest, l.Addr().(vsock.Addr))
		if err != nil {
			t.Fatal(err)
		}
		d, err := l.AcceptConn()
		if err != nil {
			t.Fatal(err)
		}
		return c, d
	}
}

func tcpPair(t testing.TB) (relay.Conn, relay.Conn) { return netPair(t, "tcp", "127.0.0.1:0") }

func unixPair(t testing.TB) (relay.Conn, relay.Conn) { return netPair(t, "unix", t.TempDir()+"/s") }

func netPair(t testing.TB, network, address string) (relay.Conn, relay.Conn) {
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial(network, l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	d, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return c.(relay.Conn), d.(relay.Conn)
}
