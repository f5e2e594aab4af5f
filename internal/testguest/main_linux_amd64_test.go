package testguest

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"vsockets.dev/internal/testguest/guest"
)

// The test program is its guests' init as well, with the functions that
// TestMain registers. Under the name hangName it hangs, as an init or another
// program in the guest.
const hangName = "hang"

// envHold makes the test program boot a guest with the init of this path, say
// so on standard output, and wait to be killed.
const envHold = "TESTGUEST_HOLD"

// envHoldMachine names the machine of that guest.
const envHoldMachine = "TESTGUEST_HOLD_MACHINE"

// envSay makes the test program say something: as many lines as its value says on
// standard output, its arguments on standard error, and its exit status is 7.
const envSay = "TESTGUEST_SAY"

const hangText = "this hangs on purpose"

func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == hangName && (os.Getpid() == 1 || os.Getenv(guest.EnvGuest) != "") {
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
	guest.Handle("crash", func(context.Context, json.RawMessage) (any, error) {
		return nil, os.WriteFile("/proc/sysrq-trigger", []byte("c"), 0)
	})
	guest.Main()
	if lines, err := strconv.Atoi(os.Getenv(envSay)); err == nil {
		say(lines)
	}
	if path := os.Getenv(envHold); path != "" {
		hold(path)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		os.RemoveAll(buildDir)
		os.Exit(code)
	}))
}

func say(lines int) {
	w := bufio.NewWriter(os.Stdout)
	for i := range lines {
		fmt.Fprintln(w, i)
	}
	w.Flush()
	fmt.Fprintln(os.Stderr, os.Args[1:])
	os.Exit(7)
}

func hold(path string) {
	if _, err := Boot(context.Background(), Config{Machine: Machine(os.Getenv(envHoldMachine)), Init: path}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("up")
	<-time.After(DefaultTimeLimit)
	os.Exit(1)
}

// testInit gives the path of the test program, built to be the init of a guest of
// User Mode Linux.
func testInit(t testing.TB) string {
	t.Helper()
	return testInitOn(t, UML)
}

// testInitOn is like testInit, for any machine.
func testInitOn(t testing.TB, m Machine) string {
	t.Helper()
	m.Require(t)
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
