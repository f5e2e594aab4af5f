package vswitch

import (
	"io"
	"net"
	"testing"

	"vsockets.dev/vsock"
)

// BenchmarkStream moves blocks of a size over one connection, by path.
func BenchmarkStream(b *testing.B) {
	paths := map[string]func(*testing.B) (net.Conn, net.Conn){
		"inproc":      inprocPair,
		"attach-host": func(b *testing.B) (net.Conn, net.Conn) { return attachedPair(b, false) },
		"host-attach": func(b *testing.B) (net.Conn, net.Conn) { return attachedPair(b, true) },
		"unix":        unixPair,
	}
	for name, pair := range paths {
		for _, size := range []int{64, 4 << 10, 64 << 10} {
			b.Run(name+"/"+sizeName(size), func(b *testing.B) {
				src, dst := pair(b)
				go func() {
					_, _ = io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{dst}, make([]byte, 64<<10))
				}()
				buf := make([]byte, size)
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for b.Loop() {
					if _, err := src.Write(buf); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkRoundTrip sends a byte there and back.
func BenchmarkRoundTrip(b *testing.B) {
	for name, pair := range map[string]func(*testing.B) (net.Conn, net.Conn){
		"inproc":      inprocPair,
		"attach-host": func(b *testing.B) (net.Conn, net.Conn) { return attachedPair(b, false) },
		"unix":        unixPair,
	} {
		b.Run(name, func(b *testing.B) {
			src, dst := pair(b)
			go func() {
				buf := make([]byte, 1)
				for {
					if _, err := dst.Read(buf); err != nil {
						return
					}
					_, _ = dst.Write(buf)
				}
			}()
			buf := make([]byte, 1)
			b.ReportAllocs()
			for b.Loop() {
				_, _ = src.Write(buf)
				_, _ = src.Read(buf)
			}
		})
	}
}

func sizeName(n int) string {
	switch n {
	case 64:
		return "64B"
	case 4 << 10:
		return "4KiB"
	}
	return "64KiB"
}

func inprocPair(b *testing.B) (net.Conn, net.Conn) {
	sw := New(Config{})
	b.Cleanup(func() { _ = sw.Close() })
	ctx, err := sw.AddContext(ContextConfig{CID: 3})
	if err != nil {
		b.Fatal(err)
	}
	return mustConnect(b, sw, ctx)
}

func attachedPair(b *testing.B, reverse bool) (net.Conn, net.Conn) {
	sw := New(Config{})
	b.Cleanup(func() { _ = sw.Close() })
	a, _, err := joinSwitch(b, sw, AttachConfig{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = a.Close() })
	c1, c2 := mustConnect(b, sw, a)
	if reverse {
		return c2, c1
	}
	return c1, c2
}

func mustConnect(b *testing.B, sw *Switch, s vsock.Stack) (net.Conn, net.Conn) {
	c1, c2, err := connect(b, sw, from(b, s))
	if err != nil {
		b.Fatal(err)
	}
	return c1, c2
}

func unixPair(b *testing.B) (net.Conn, net.Conn) {
	l, err := net.Listen("unix", b.TempDir()+"/s")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	d, err := l.Accept()
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = c.Close(); _ = d.Close() })
	return c, d
}
