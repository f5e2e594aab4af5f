package hybrid

import (
	"io"
	"net"
	"testing"

	"golang.org/x/net/nettest"
)

// BenchmarkRoundTrip sends a byte to the guest and back, through the protocol and,
// to compare, over a Unix socket alone.
func BenchmarkRoundTrip(b *testing.B) {
	for name, pair := range pairs {
		b.Run(name, func(b *testing.B) {
			near, far := pair(b)
			go echo(far)
			p := make([]byte, 1)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := near.Write(p); err != nil {
					b.Fatal(err)
				}
				if _, err := near.Read(p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkStream sends blocks of 64 KiB to the guest.
func BenchmarkStream(b *testing.B) {
	for name, pair := range pairs {
		b.Run(name, func(b *testing.B) {
			near, far := pair(b)
			go func() {
				_, _ = io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{far}, make([]byte, 64<<10))
			}()
			p := make([]byte, 64<<10)
			b.SetBytes(int64(len(p)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := near.Write(p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

var pairs = map[string]func(*testing.B) (near, far net.Conn){
	"hybrid": func(b *testing.B) (near, far net.Conn) {
		bed := newBed(b, ServerConfig{})
		return bed.connected(b)
	},
	"unix": func(b *testing.B) (near, far net.Conn) {
		l, err := nettest.NewLocalListener("unix")
		if err != nil {
			b.Fatal(err)
		}
		defer l.Close()
		if near, err = net.Dial("unix", l.Addr().String()); err != nil {
			b.Fatal(err)
		}
		if far, err = l.Accept(); err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = near.Close(); _ = far.Close() })
		return near, far
	},
}

func echo(c net.Conn) {
	p := make([]byte, 1)
	for {
		if _, err := c.Read(p); err != nil {
			return
		}
		if _, err := c.Write(p); err != nil {
			return
		}
	}
}
