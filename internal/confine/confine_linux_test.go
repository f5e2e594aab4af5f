package confine

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	ll "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"

	"vsockets.dev/internal/leaktest"
	"vsockets.dev/internal/testguest"
)

const (
	// probeVar has this program apply it to itself: with TCP, or without.
	probeVar = "VSOCKETS_CONFINE_PROBE"

	// refusedVar has it do so where landlock fails with the error of this number.
	refusedVar = "VSOCKETS_CONFINE_REFUSED"

	// nothingVar has it do nothing, successfully.
	nothingVar = "VSOCKETS_CONFINE_NOTHING"

	// probeLimit is for a probe to end.
	probeLimit = 30 * time.Second

	// guestLimit is for the life of a guest.
	guestLimit = 2 * time.Minute
)

func TestMain(m *testing.M) {
	if os.Getenv(nothingVar) != "" {
		return
	}
	if number := os.Getenv(refusedVar); number != "" {
		applyRefused(number)
		return
	}
	if tcp := os.Getenv(probeVar); tcp != "" {
		if err := probe(tcp == "tcp"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	leaktest.Main(m)
}

// want is what comes of each try with a version of landlock.
func want(abi int, tcp bool) tries {
	const no = "EACCES"
	w := tries{
		"read": "ok", "read elsewhere": no, "write": no, "write elsewhere": no, "write where served": no,
		"truncate elsewhere": no, "remove elsewhere": no, "list elsewhere": no,
		"socket": "ok", "socket below": "ok", "socket elsewhere": no, "run": no,
		"connect by TCP": no, "listen by TCP": no,
	}
	if abi < 3 {
		w["truncate elsewhere"] = "ok"
	}
	if abi < tcpVersion || tcp {
		w["connect by TCP"], w["listen by TCP"] = "ok", "ok"
	}
	if abi == 0 {
		for what := range w {
			w[what] = "ok"
		}
	}
	return w
}

// check holds a report against what is to come of landlock's version.
func check(t *testing.T, out []byte, abi int, tcp bool) (r report) {
	t.Helper()
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Logf("%+v", r.State)
	if r.State.Landlock != abi || !r.State.NoNewPrivs || r.State.TCPClosed != (abi >= tcpVersion && !tcp) {
		t.Errorf("%+v; want version %d", r.State, abi)
	}
	if free := want(0, true); !maps.Equal(r.Before, free) {
		t.Errorf("before: %v", r.Before)
	}
	w := want(abi, tcp)
	for what := range w {
		if r.After[what] != w[what] {
			t.Errorf("%s: %s, want %s", what, r.After[what], w[what])
		}
	}
	caps := strings.Join(r.State.Capabilities, ",")
	if os.Getuid() == 0 && caps != "cap_dac_override,cap_net_bind_service" {
		t.Errorf("capabilities: %q", caps)
	}
	held := "="
	if caps != "" {
		held = caps + "=ep"
	}
	for i, got := range r.Threads {
		if want := fmt.Sprintf("%v no_new_privs=1 <nil> %s", abi > 0, held); got != want {
			t.Errorf("thread %d: %s, want %s", i, got, want)
		}
	}
	return r
}

// TestApply has a process confine itself, on this machine's kernel: one that is built without
// cgo, as the tool is, and one that is built as this one is. What holds for all threads is
// done in another way with cgo.
func TestApply(t *testing.T) {
	abi, err := ll.LandlockGetABIVersion()
	if err != nil {
		abi = 0
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	static, err := testguest.BuildTest(t.Context(), t.TempDir(), "vsockets.dev/internal/confine")
	if err != nil {
		t.Fatal(err)
	}
	for _, program := range []struct {
		name, path string
		cgo        bool
	}{{"as the tool", static, false}, {"as this", self, builtWithCgo}} {
		for _, tcp := range []string{"tcp", "no"} {
			t.Run(program.name+"/"+tcp, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), probeLimit)
				defer cancel()
				cmd := exec.CommandContext(ctx, program.path)
				var out, stderr bytes.Buffer
				cmd.Env = append(os.Environ(), probeVar+"="+tcp, "TMPDIR="+t.TempDir())
				cmd.Stdout, cmd.Stderr = &out, &stderr
				if err := cmd.Run(); err != nil {
					t.Fatalf("%v: %s", err, &stderr)
				}
				r := check(t, out.Bytes(), abi, tcp == "tcp")
				if r.Cgo != program.cgo {
					t.Errorf("it is built with cgo: %v", r.Cgo)
				}
			})
		}
	}
}

// TestApplyInGuests does the same on kernels whose landlock is known: User Mode Linux has
// none, Linux 6.1 version 2, and 6.12 version 6, which knows of TCP.
func TestApplyInGuests(t *testing.T) {
	for _, tc := range []struct {
		machine testguest.Machine
		abi     int
	}{{testguest.UML, 0}, {testguest.QEMU61, 2}, {testguest.QEMU612, 6}} {
		t.Run(tc.machine.String(), func(t *testing.T) {
			tc.machine.Require(t)
			dir := t.TempDir()
			init, err := testguest.Build(t.Context(), dir, testguest.InitPackage)
			if err != nil {
				t.Fatal(err)
			}
			program, err := testguest.BuildTest(t.Context(), dir, "vsockets.dev/internal/confine")
			if err != nil {
				t.Fatal(err)
			}
			// Not the test's context: that ends before the guest is powered off.
			g, err := testguest.Boot(context.Background(), testguest.Config{
				Machine: tc.machine, Init: init, Files: []string{program}, TimeLimit: guestLimit,
			})
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := g.Close(); err != nil {
					t.Error(err)
				}
			}()
			for _, tcp := range []string{"tcp", "no"} {
				var out, stderr bytes.Buffer
				exit, err := g.Run(t.Context(), testguest.Command{
					Path: program, Env: []string{probeVar + "=" + tcp}, Stdout: &out, Stderr: &stderr,
				})
				if exit != 0 || err != nil {
					t.Fatalf("exit status %d, %v: %s", exit, err, &stderr)
				}
				check(t, out.Bytes(), tc.abi, tcp == "tcp")
			}
		})
	}
}

// applyRefused applies it where landlock's version cannot be had, and says what came of it.
func applyRefused(number string) {
	n, err := strconv.Atoi(number)
	if err == nil {
		err = refuse(unix.SYS_LANDLOCK_CREATE_RULESET, unix.Errno(n))
	}
	if err != nil {
		fmt.Println("not tried:", err)
		return
	}
	s, err := Apply(Needs{})
	fmt.Println(s.Landlock, err)
}

// TestApplyVersionRefused takes for a kernel without landlock what is one, and nothing else:
// a process that cannot be told of its landlock is not to run on without.
func TestApplyVersionRefused(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		errno unix.Errno
		want  string
	}{
		{unix.ENOSYS, "0 <nil>"},     // a kernel that is too old
		{unix.EOPNOTSUPP, "0 <nil>"}, // one that was booted without
		{unix.EPERM, "0 landlock: its version: operation not permitted"},
		{unix.ENOMEM, "0 landlock: its version: cannot allocate memory"},
	} {
		t.Run(unix.ErrnoName(tc.errno), func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), probeLimit)
			defer cancel()
			cmd := exec.CommandContext(ctx, self)
			cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d", refusedVar, int(tc.errno)))
			if out, err := cmd.CombinedOutput(); err != nil || strings.TrimSpace(string(out)) != tc.want {
				t.Errorf("%q, %v; want %q", out, err, tc.want)
			}
		})
	}
}
