package vsock

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// moduleVersion is where the kernel tells the version of its module vsock, such as
// "1.0.2.0-k". A kernel with vsock built in may not.
const moduleVersion = "/sys/module/vsock/version"

func addressFamily() (int, error) { return unix.AF_VSOCK, nil }

func systemVersion() (uint32, error) {
	b, err := os.ReadFile(moduleVersion)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("vsock: version: no %s (is the kernel module vsock loaded?): %w", moduleVersion, ErrNotSupported)
	}
	if err != nil {
		return 0, fmt.Errorf("vsock: version: %w", err)
	}
	return parseVersion(string(b))
}

// parseVersion packs "epoch.major.minor..." as vm_sockets.h takes it apart.
func parseVersion(s string) (uint32, error) {
	var epoch, major uint8
	var minor uint16
	if _, err := fmt.Sscanf(s, "%d.%d.%d", &epoch, &major, &minor); err != nil {
		return 0, fmt.Errorf("vsock: version %q: %w", s, err)
	}
	return uint32(epoch)<<24 | uint32(major)<<16 | uint32(minor), nil
}
