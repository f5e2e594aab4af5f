package testguest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestQEMU(t *testing.T) {
	tests := []struct {
		machine Machine
		end     func(*testing.T, *Guest)
	}{
		{QEMU61, powerOff},
		{QEMU612, crash},
	}
	for _, tt := range tests {
		t.Run(tt.machine.String(), func(t *testing.T) {
			dir := ownTempOn(t, tt.machine)
			program := testInitOn(t, tt.machine)
			start := time.Now()
			g, err := Boot(t.Context(), Config{Machine: tt.machine, Init: program, Files: []string{program}, Loopback: true})
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("kernel %s, hello after %v", g.Kernel(), time.Since(start))
			if !strings.HasPrefix(g.Kernel(), tt.machine.series()+".") {
				t.Errorf("kernel release %q", g.Kernel())
			}
			if g.CID() != 1 {
				t.Errorf("context ID %d, want the one of vsock_loopback: are the modules loaded?", g.CID())
			}
			t.Run("Run", func(t *testing.T) { testSay(t, g, program) })
			t.Run("Call", func(t *testing.T) { testSum(t, g) })
			tt.end(t, g)
			checkNothingLeft(t, dir)
		})
	}
}

// testSay runs a program that is in the guest because it is among its Files, and
// that says more than the line holds.
func testSay(t *testing.T, g *Guest, program string) {
	const lines = 30_000
	var want, stdout, stderr bytes.Buffer
	for i := range lines {
		fmt.Fprintln(&want, i)
	}
	start := time.Now()
	exit, err := g.Run(t.Context(), Command{
		Path: program, Args: []string{"a b", "c"}, Env: []string{fmt.Sprintf("%s=%d", envSay, lines)},
		Stdout: &stdout, Stderr: &stderr,
	})
	if exit != 7 || err != nil {
		t.Errorf("exit %d, %v", exit, err)
	}
	if !bytes.Equal(stdout.Bytes(), want.Bytes()) {
		t.Errorf("%d bytes of output, not the %d that were written", stdout.Len(), want.Len())
	}
	if got := stderr.String(); got != "[a b c]\n" {
		t.Errorf("standard error %q", got)
	}
	t.Logf("%d bytes in %v", want.Len(), time.Since(start))
}

func testSum(t *testing.T, g *Guest) {
	numbers := make([]int, 10_000) // more than the window to the guest
	for i := range numbers {
		numbers[i] = i
	}
	var got int
	if err := g.Call(t.Context(), "sum", numbers, &got); err != nil || got != 10_000*9_999/2 {
		t.Errorf("sum = %d, %v", got, err)
	}
}

func powerOff(t *testing.T, g *Guest) {
	start := time.Now()
	if err := g.Close(); err != nil {
		t.Error(err)
	}
	if err := g.Wait(); err != nil {
		t.Errorf("Wait after power off: %v", err)
	}
	t.Logf("power off took %v", time.Since(start))
}

// crash makes the guest's kernel panic.
func crash(t *testing.T, g *Guest) {
	if err := g.Call(t.Context(), "crash", nil, nil); !errors.Is(err, ErrEnded) {
		t.Errorf("Call: %v, want ErrEnded", err)
	}
	if err := g.Wait(); !errors.Is(err, errPanic) {
		t.Errorf("Wait: %v, want %v", err, errPanic)
	}
}

func TestQEMUBootFails(t *testing.T) {
	dir := ownTempOn(t, QEMU61)
	init := testInitOn(t, QEMU61)
	tests := []struct {
		name  string
		cfg   Config
		is    error
		holds string
	}{
		{"no such machine", Config{Machine: "x"}, nil, `no machine "x"`},
		{"no such file", Config{Machine: QEMU61, Files: []string{"/no/such"}}, os.ErrNotExist, "/no/such"},
		{"a file without its folder", Config{Machine: QEMU61, Files: []string{"such"}}, nil, "absolute"},
		{"no device", Config{Machine: QEMU61, Device: "/no/such"}, os.ErrNotExist, "device socket"},
		{"device is no socket", Config{Machine: QEMU61, Device: init}, nil, "vsock"},
		{"too little memory", Config{Machine: QEMU61, Memory: 16}, nil, "console"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.cfg.Init = init
			g, err := Boot(t.Context(), tt.cfg)
			if err == nil {
				g.Kill()
				t.Fatal("no error")
			}
			if tt.is != nil && !errors.Is(err, tt.is) || !strings.Contains(err.Error(), tt.holds) {
				t.Errorf("error %v, want %v with %q in its text", err, tt.is, tt.holds)
			}
			checkNothingLeft(t, dir)
		})
	}
}

func TestFindKernel(t *testing.T) {
	dir := t.TempDir()
	t.Setenv(EnvKernels, dir)
	if _, err := findKernel(QEMU61); err == nil || !strings.Contains(err.Error(), EnvKernels) {
		t.Errorf("an empty folder: %v", err)
	}
	write := func(name, content string) {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("6.1/boot/vmlinuz-6.12.1", "") // another series, in the wrong folder
	if _, err := findKernel(QEMU61); err == nil {
		t.Error("Linux 6.12 was taken for 6.1")
	}
	write("6.1/boot/vmlinuz-6.1.0-1", "")
	if _, err := findKernel(QEMU61); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no modules: %v", err)
	}
	const modules = "6.1/lib/modules/6.1.0-1/"
	write(modules+"modules.builtin", "kernel/a.ko\nkernel/ab.ko\n")
	write(modules+"kernel/b.ko", "")
	write(modules+"kernel/c.ko.xz", "")
	k, err := findKernel(QEMU61)
	if err != nil {
		t.Fatal(err)
	}
	got, err := k.find([]string{"kernel/b.ko", "kernel/a.ko", "kernel/c.ko"})
	if want := "[kernel/b.ko kernel/c.ko.xz]"; err != nil || fmt.Sprint(got) != want {
		t.Errorf("modules %v, %v; want %s", got, err, want)
	}
	if got, err := k.find([]string{"kernel/d.ko"}); err == nil {
		t.Errorf("a module that is not there: %v", got)
	}
}
