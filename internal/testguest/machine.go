package testguest

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Machine is what runs a guest.
type Machine string

// Machines. What QEMU emulates has the kernel of a Debian cloud image.
//
// The two kernels are not alike to a vsock device: from Linux 6.2 on, a packet's
// header and payload lie in one buffer.
const (
	UML     Machine = ""          // User Mode Linux
	QEMU61  Machine = "qemu-6.1"  // QEMU with Linux 6.1
	QEMU612 Machine = "qemu-6.12" // QEMU with Linux 6.12
)

// EnvKernels is the folder of the kernels for QEMU. It has a folder for each
// series, "6.1" and "6.12", with the contents of Debian's package: boot/vmlinuz-RELEASE
// and lib/modules/RELEASE. If it is unset, the folder is vsockets/kernels in the user's
// cache folder. `make test` fills .cache/kernels, and sets the variable.
const EnvKernels = "VSOCKETS_KERNELS"

// EnvRequire tells Require what to do. "1": no guest may be missing. "0": boot none.
// Else: names of machines, by space, that may not be missing.
const EnvRequire = "VSOCKETS_REQUIRE_GUESTS"

// String gives the machine's name.
func (m Machine) String() string {
	if m == UML {
		return "uml"
	}
	return string(m)
}

// series gives which kernels may run on a machine of QEMU.
func (m Machine) series() string { return strings.TrimPrefix(string(m), "qemu-") }

func kernelsFolder() (string, error) {
	if dir := os.Getenv(EnvKernels); dir != "" {
		return dir, nil
	}
	dir, err := os.UserCacheDir()
	return filepath.Join(dir, "vsockets", "kernels"), err
}

// Available gives nil if User Mode Linux can be booted here, and else the reason
// and what to do.
func Available() error { return UML.Available() }

// TB is the part of testing.TB that Require uses. The package is in programs
// too, and they should not carry package testing.
type TB interface {
	Helper()
	Skipf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// Require skips the test, with the reason, where User Mode Linux cannot be
// booted, or fails it if EnvRequire says so.
func Require(t TB) {
	t.Helper()
	UML.Require(t)
}

// Require is like the function, for the machine.
func (m Machine) Require(t TB) {
	t.Helper()
	require := os.Getenv(EnvRequire)
	if require == "0" {
		t.Skipf("no guest is to be booted: %s=0", EnvRequire)
		return
	}
	err := m.Available()
	switch {
	case err == nil:
	case require == "1" || slices.Contains(strings.Fields(require), m.String()):
		t.Fatalf("%s=%s, but no guest can be booted: %v", EnvRequire, require, err)
	default:
		t.Skipf("no guest can be booted: %v", err)
	}
}
