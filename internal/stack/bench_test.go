package stack

import (
	"testing"
	"time"

	"vsockets.dev/vsock"
)

// BenchmarkConnection opens connections within a stack, asks and answers by each, with
// deadlines, and closes it.
func BenchmarkConnection(b *testing.B) {
	st := New(Config{CID: 2, Out: newWire()})
	defer st.Close()
	l, addr := listen(b, st, 1), vsock.Addr{CID: vsock.CIDLocal, Port: 1024}
	var buf [8]byte
	b.ReportAllocs()
	for b.Loop() {
		client, err := st.Socket(vsock.Stream)
		if err != nil {
			b.Fatal(err)
		}
		if err := client.Connect(b.Context(), addr); err != nil {
			b.Fatal(err)
		}
		server, _, err := l.Accept()
		if err != nil {
			b.Fatal(err)
		}
		both := []vsock.Socket{client, server}
		for _, s := range both {
			_ = s.SetReadDeadline(time.Now().Add(time.Minute))
			_ = s.SetWriteDeadline(time.Now().Add(time.Minute))
		}
		for i, s := range both {
			if _, err := s.Write(buf[:]); err != nil {
				b.Fatal(err)
			}
			if n, err := both[1-i].Read(buf[:]); n != len(buf) || err != nil {
				b.Fatal(n, err)
			}
		}
		_ = client.Close()
		_ = server.Close()
	}
}
