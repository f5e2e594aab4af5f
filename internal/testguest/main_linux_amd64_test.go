package testguest

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"vsockets.dev/internal/testguest/guest"
)

// The test program is its guests' init as well, with the functions that
// TestMain registers. Under the name hangName it is an init that hangs.
const hangName = "hang"

// envHold makes the test program boot a guest with the init of this path, say
// so on standard output, and wait to be killed.
const envHold = "TESTGUEST_HOLD"

const hangText = "this init hangs on purpose"

func TestMain(m *testing.M) {
	if os.Getpid() == 1 && filepath.Base(os.Args[0]) == hangName {
		fmt.Fprintln(os.Stderr, hangText)
		for {
			_ = unix.Pause()
		}
	}
	guest.Handle("sum", func(_ context.Context, args json.RawMessage) (any, error) {
		var numbers []int
		err := json.Unmarshal(args, &numbers)
		sum := 0
		for _, n := range numbers {
			sum += n
		}
		return sum, err
	})
	guest.Handle("errno", func(context.Context, json.RawMessage) (any, error) {
		return nil, fmt.Errorf("made up: %w", os.NewSyscallError("connect", unix.ECONNRESET))
	})
	guest.Handle("long", func(context.Context, json.RawMessage) (any, error) {
		return make([]byte, 2<<20), nil
	})
	guest.Handle("wait", func(ctx context.Context, _ json.RawMessage) (any, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	})
	guest.Handle("panic", func(context.Context, json.RawMessage) (any, error) {
		panic("on purpose")
	})
	guest.Main()
	if path := os.Getenv(envHold); path != "" {
		hold(path)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		os.RemoveAll(buildDir)
		os.Exit(code)
	}))
}

func hold(path string) {
	if _, err := Boot(context.Background(), Config{Init: path}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("up")
	<-time.After(DefaultTimeLimit)
	os.Exit(1)
}

// testInit gives the path of the test program, built to be a guest's init.
func testInit(t testing.TB) string {
	t.Helper()
	Require(t)
	path, err := buildInit()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// buildDir is made by buildInit and removed by TestMain.
var buildDir string

var buildInit = sync.OnceValues(func() (string, error) {
	var err error
	if buildDir, err = os.MkdirTemp("", "vsockets-testguest-"); err != nil {
		return "", err
	}
	return BuildTest(context.Background(), buildDir, "vsockets.dev/internal/testguest")
})
