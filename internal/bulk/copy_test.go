package bulk

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
)

// pattern gives bytes of which no two neighbouring lines are alike.
func pattern(n int) []byte {
	r := rand.New(rand.NewPCG(1, uint64(n)))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// TestCopy has all that lies at any offsets be copied, and nothing around it be touched.
func TestCopy(t *testing.T) {
	offsets := []int{0, 1, 7, 15, 44, 63, 64, 4095}
	for _, n := range []int{0, 1, 44, least - 1, least, least + 1, 4096, 16<<10 - 44, 64 << 10, 1<<20 + 3} {
		src := pattern(n + 8192)
		for _, from := range offsets {
			for _, to := range offsets {
				before := pattern(n + 8193)[:n+8192]
				dst := bytes.Clone(before)
				if got := Copy(dst[to:to+n], src[from:from+n]); got != n {
					t.Fatalf("%d bytes: Copy says %d", n, got)
				}
				if !bytes.Equal(dst[to:to+n], src[from:from+n]) {
					t.Fatalf("%d bytes from offset %d to %d: not what was there", n, from, to)
				}
				if !bytes.Equal(dst[:to], before[:to]) || !bytes.Equal(dst[to+n:], before[to+n:]) {
					t.Fatalf("%d bytes from offset %d to %d: others have changed", n, from, to)
				}
			}
		}
	}
}

// The shorter of the two slices says how much, as it is with the builtin.
func TestCopyShorter(t *testing.T) {
	for _, tc := range []struct{ dst, src, want int }{
		{0, 5000, 0},
		{5000, 0, 0},
		{100, 5000, 100},
		{5000, 100, 100},
		{4000, 5000, 4000},
		{5000, 4000, 4000},
	} {
		dst, src := make([]byte, tc.dst), pattern(tc.src)
		if got := Copy(dst, src); got != tc.want {
			t.Errorf("%d bytes to %d: Copy says %d", tc.src, tc.dst, got)
		}
		if !bytes.Equal(dst[:tc.want], src[:tc.want]) || !bytes.Equal(dst[tc.want:], make([]byte, tc.dst-tc.want)) {
			t.Errorf("%d bytes to %d: not copied", tc.src, tc.dst)
		}
	}
	if got := Copy(nil, nil); got != 0 {
		t.Errorf("nothing to nothing: Copy says %d", got)
	}
}

// BenchmarkCopy copies within one processor. What Copy is for needs two, see `vsock bench compare`.
func BenchmarkCopy(b *testing.B) {
	for _, n := range []int{1 << 10, 2 << 10, 4 << 10, 16 << 10, 64 << 10} {
		for name, f := range map[string]func(dst, src []byte) int{
			"builtin": func(dst, src []byte) int { return copy(dst, src) },
			"bulk":    Copy,
		} {
			b.Run(fmt.Sprintf("%d/%s", n, name), func(b *testing.B) {
				const blocks = 16
				dst, src := make([]byte, blocks*n), pattern(n)
				b.SetBytes(int64(n))
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					f(dst[i%blocks*n:][:n], src)
				}
			})
		}
	}
}
