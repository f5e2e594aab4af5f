package forward

import (
	"bytes"
	"fmt"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestPairs joins each kind to each other: a question, the end of it, an answer;
// and the other way about. The data is enough for the kernel to copy it.
func TestPairs(t *testing.T) {
	data := pattern(1<<20 + 17)
	for _, from := range []Kind{TCP, Unix, Vsock, Kernel, Host} {
		for _, to := range []Kind{TCP, Unix, Vsock, Kernel, Host} {
			t.Run(fmt.Sprintf("%s-%s", from, to), func(t *testing.T) {
				b := newBed(t)
				l, text := b.server(to)
				f := b.start(b.froms()[from] + "=" + text)
				for _, clientFirst := range []bool{true, false} {
					client := b.dial(f)
					server := b.accept(l)
					first, second := client, server
					if !clientFirst {
						first, second = server, client
					}
					sent := make(chan error, 1)
					go func() {
						_, err := first.Write(data)
						if err == nil {
							err = first.CloseWrite()
						}
						sent <- err
					}()
					if got, err := io.ReadAll(second); !bytes.Equal(got, data) || err != nil {
						t.Fatalf("client first %v: %d bytes, %v; want the %d sent", clientFirst, len(got), err, len(data))
					}
					if err := <-sent; err != nil {
						t.Fatal(err)
					}
					// The other direction has not ended.
					if _, err := io.WriteString(second, "answer"); err != nil {
						t.Fatal(err)
					}
					if err := second.Close(); err != nil {
						t.Fatal(err)
					}
					if got, err := io.ReadAll(first); string(got) != "answer" || err != nil {
						t.Fatalf("client first %v: answer %q, %v", clientFirst, got, err)
					}
					_ = first.Close()
				}
				if err := f.Drain(t.Context()); err != nil {
					t.Error(err)
				}
				each := uint64(len(data) + len("answer"))
				want := Counters{Accepted: 2, Sent: each, Received: each}
				if d := cmp.Diff(want, f.Counters()); d != "" {
					t.Errorf("counters (-want +got):\n%s", d)
				}
			})
		}
	}
}

// TestToExec has a command at the far end of each kind.
func TestToExec(t *testing.T) {
	for _, from := range []Kind{TCP, Unix, Vsock, Kernel, Host} {
		t.Run(string(from), func(t *testing.T) {
			b := newBed(t)
			f := b.start(b.froms()[from] + "=exec:cat")
			if err := echoed(b.dial(f), pattern(300_000)); err != nil {
				t.Error(err)
			}
		})
	}
}
