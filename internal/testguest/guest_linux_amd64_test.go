package testguest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"vsockets.dev/internal/testguest/guest"
)

// boot boots a guest that is closed at the end of the test.
func boot(t testing.TB, cfg Config) *Guest {
	t.Helper()
	cfg.Init = testInit(t)
	g, err := Boot(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	})
	return g
}

func TestBootAndPowerOff(t *testing.T) {
	start := time.Now()
	g := boot(t, Config{})
	t.Logf("kernel %s, hello after %v", g.Kernel(), time.Since(start))
	if !strings.HasPrefix(g.Kernel(), "6.") && !strings.HasPrefix(g.Kernel(), "7.") {
		t.Errorf("kernel release %q", g.Kernel())
	}
	if g.CID() != 0 {
		t.Errorf("context ID %d without a device", g.CID())
	}
	start = time.Now()
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	t.Logf("power off took %v", time.Since(start))
	if err := g.Wait(); err != nil {
		t.Errorf("Wait after power off: %v", err)
	}
	if _, err := g.Run(context.Background(), Command{Path: "/bin/true"}); !errors.Is(err, ErrEnded) {
		t.Errorf("Run after power off: %v, want ErrEnded", err)
	}
}

func TestRun(t *testing.T) {
	g := boot(t, Config{Loopback: true})
	tests := []struct {
		name           string
		cmd            Command
		exit           int
		stdout, stderr string
	}{
		{"output and status", sh(`echo out; echo err >&2; exit 7`), 7, "out\n", "err\n"},
		{"arguments", Command{Path: "/bin/echo", Args: []string{"a b", "", "c"}}, 0, "a b  c\n", ""},
		{"a name in PATH", Command{Path: "true"}, 0, "", ""},
		{"no input", sh(`cat; echo end`), 0, "end\n", ""},
		{"environment", Command{Path: "/bin/sh", Args: []string{"-c", `echo $X $HOME $VSOCKETS_ROLE`}, Env: []string{"X=1"}}, 0, "1 /tmp\n", ""},
		{"guest marker", sh(`echo $` + guest.EnvGuest), 0, "1\n", ""},
		{"working folder", Command{Path: "/bin/pwd", Dir: "/usr"}, 0, "/usr\n", ""},
		{"signal", sh(`kill -9 $$`), 128 + 9, "", ""},
		{"init is process 1", sh(`cat /proc/1/comm`), 0, "testguest.test\n", ""},
		{"modules", sh(`cut -d' ' -f1 /proc/modules | sort | grep vsock`), 0,
			"vmw_vsock_virtio_transport\nvmw_vsock_virtio_transport_common\nvsock\nvsock_loopback\n", ""},
		{"vsock device", sh(`test -c /dev/vsock`), 0, "", ""},
		{"loopback network", sh(`cut -d: -f1 /proc/net/dev | grep -w lo; cat /sys/class/net/lo/flags`), 0, "    lo\n0x9\n", ""},
		{"root is read-only", sh(`test ! -w /usr`), 0, "", ""},
		{"tmp is writable", sh(`echo hi > /tmp/x && cat /tmp/x /run/tmp/upper/x`), 0, "hi\nhi\n", ""},
		{"orphans are reaped", sh(`for i in 1 2 3; do (true &); done; for i in 1 2 3 4 5 6 7 8 9; do grep -qs '^State:.Z' /proc/[0-9]*/status || exit 0; done; exit 1`), 0, "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			tt.cmd.Stdout, tt.cmd.Stderr = &stdout, &stderr
			exit, err := g.Run(t.Context(), tt.cmd)
			if err != nil || exit != tt.exit {
				t.Errorf("exit status %d, %v; want %d", exit, err, tt.exit)
			}
			if stdout.String() != tt.stdout || stderr.String() != tt.stderr {
				t.Errorf("stdout %q, stderr %q; want %q and %q", &stdout, &stderr, tt.stdout, tt.stderr)
			}
		})
	}
	if _, err := os.Stat("/tmp/x"); err == nil {
		t.Error("what the guest wrote to /tmp is on the host")
	}
	t.Run("no such program", func(t *testing.T) {
		if _, err := g.Run(t.Context(), Command{Path: "/no/such"}); !errors.Is(err, syscall.ENOENT) {
			t.Errorf("error %v, want ENOENT", err)
		}
	})
	t.Run("an output that fails", func(t *testing.T) {
		cmd := sh(`echo x`)
		cmd.Stdout = failingWriter{}
		if _, err := g.Run(t.Context(), cmd); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("error %v, want the writer's", err)
		}
	})
	t.Run("canceled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		pid := make(chan string, 1)
		cmd := sh(`echo $$; exec sleep 1000`)
		cmd.Stdout = writerFunc(func(b []byte) { pid <- string(b); cancel() })
		if _, err := g.Run(ctx, cmd); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v, want context.Canceled", err)
		}
		gone := sh(`while kill -0 ` + strings.TrimSpace(<-pid) + ` 2>/dev/null; do :; done`)
		if exit, err := g.Run(t.Context(), gone); exit != 0 || err != nil {
			t.Errorf("wait for the end of the program: %d, %v", exit, err)
		}
	})
}

func sh(script string) Command { return Command{Path: "/bin/sh", Args: []string{"-c", script}} }

type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

type writerFunc func([]byte)

func (f writerFunc) Write(b []byte) (int, error) { f(b); return len(b), nil }

// TestBigOutput has more under way than the line holds, in several runs at once.
func TestBigOutput(t *testing.T) {
	g := boot(t, Config{})
	const size = 1 << 20
	var want bytes.Buffer
	for i := 0; want.Len() < size; i++ {
		fmt.Fprintln(&want, i)
	}
	start := time.Now()
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			hash, n := sha256.New(), &countWriter{}
			exit, err := g.Run(t.Context(), Command{
				Path: "/bin/sh", Args: []string{"-c", fmt.Sprintf("seq 0 1000000 | head -c %d", want.Len())},
				Stdout: io.MultiWriter(hash, n),
			})
			if exit != 0 || err != nil {
				t.Errorf("exit %d, %v", exit, err)
			}
			if n.n != want.Len() || !bytes.Equal(hash.Sum(nil), sum(want.Bytes())) {
				t.Errorf("%d bytes, not the %d that were written", n.n, want.Len())
			}
		})
	}
	wg.Wait()
	t.Logf("3 x %d bytes in %v", want.Len(), time.Since(start))
}

// TestBinaryOutput: every byte value passes the line as it is.
func TestBinaryOutput(t *testing.T) {
	g := boot(t, Config{})
	want := make([]byte, 64<<10)
	for i := range want {
		want[i] = byte(i + i>>8)
	}
	path := filepath.Join(t.TempDir(), "bytes")
	if err := os.WriteFile(path, want, 0o600); err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if exit, err := g.Run(t.Context(), Command{Path: "/bin/cat", Args: []string{path}, Stdout: &got}); exit != 0 || err != nil {
		t.Fatalf("exit %d, %v", exit, err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Errorf("%d bytes came, not the %d that were written", got.Len(), len(want))
	}
}

func sum(b []byte) []byte { s := sha256.Sum256(b); return s[:] }

type countWriter struct{ n int }

func (w *countWriter) Write(b []byte) (int, error) { w.n += len(b); return len(b), nil }

func TestCall(t *testing.T) {
	g := boot(t, Config{})
	t.Run("round trip", func(t *testing.T) {
		numbers := make([]int, 50_000) // more than the window to the guest
		for i := range numbers {
			numbers[i] = i
		}
		var got int
		if err := g.Call(t.Context(), "sum", numbers, &got); err != nil || got != 50_000*49_999/2 {
			t.Errorf("sum = %d, %v", got, err)
		}
	})
	t.Run("many at once", func(t *testing.T) {
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() {
				var got int
				if err := g.Call(t.Context(), "sum", []int{i, i}, &got); err != nil || got != 2*i {
					t.Errorf("sum(%d, %d) = %d, %v", i, i, got, err)
				}
			})
		}
		wg.Wait()
	})
	t.Run("errno", func(t *testing.T) {
		err := g.Call(t.Context(), "errno", nil, nil)
		if !errors.Is(err, syscall.ECONNRESET) || !strings.Contains(err.Error(), "made up: connect: ") {
			t.Errorf("error %v, want ECONNRESET with its text", err)
		}
	})
	t.Run("bad arguments", func(t *testing.T) {
		if err := g.Call(t.Context(), "sum", "x", nil); err == nil {
			t.Error("no error")
		}
	})
	t.Run("unknown", func(t *testing.T) {
		if err := g.Call(t.Context(), "nope", nil, nil); err == nil || !strings.Contains(err.Error(), `"nope"`) {
			t.Errorf("error %v", err)
		}
	})
	t.Run("result too long", func(t *testing.T) {
		if err := g.Call(t.Context(), "long", nil, nil); err == nil || !strings.Contains(err.Error(), "at most") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("canceled", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if err := g.Call(ctx, "wait", nil, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v, want DeadlineExceeded", err)
		}
	})
	t.Run("panic of the agent", func(t *testing.T) {
		if err := g.Call(t.Context(), "panic", nil, nil); !errors.Is(err, ErrEnded) {
			t.Errorf("error %v, want ErrEnded", err)
		}
		_ = g.Wait()
		if end := g.instance.console.end(); !strings.Contains(end, "panic: on purpose") {
			t.Errorf("the console does not show the panic; %s", end)
		}
	})
}

func TestTwoGuests(t *testing.T) {
	init := testInit(t)
	var wg sync.WaitGroup
	for i := range 2 {
		wg.Go(func() {
			g, err := Boot(t.Context(), Config{Init: init})
			if err != nil {
				t.Error(err)
				return
			}
			var out bytes.Buffer
			cmd := sh(fmt.Sprintf("echo %d > /tmp/same && cat /tmp/same", i))
			cmd.Stdout = &out
			if exit, err := g.Run(t.Context(), cmd); exit != 0 || err != nil || out.String() != fmt.Sprintln(i) {
				t.Errorf("guest %d: %q, exit %d, %v", i, &out, exit, err)
			}
			if err := g.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func BenchmarkBoot(b *testing.B) {
	init := testInit(b)
	b.ReportAllocs()
	for b.Loop() {
		g, err := Boot(context.Background(), Config{Init: init})
		if err != nil {
			b.Fatal(err)
		}
		if err := g.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
