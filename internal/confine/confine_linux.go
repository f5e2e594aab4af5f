package confine

import (
	"errors"
	"fmt"
	"time"

	"github.com/landlock-lsm/go-landlock/landlock"
	ll "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"
	libcap "kernel.org/pub/linux/libs/security/libcap/cap"
)

// kept are the capabilities that a process keeps if it has them: to connect to sockets of
// other users, and to listen on ports below 1024.
var kept = []libcap.Value{libcap.DAC_OVERRIDE, libcap.NET_BIND_SERVICE}

// What landlock allows in a folder of sockets: to make them, and to remove them.
const socketRights = ll.AccessFSMakeSock | ll.AccessFSRemoveFile

// devVsock tells the local CID, by an ioctl.
const devVsock = "/dev/vsock"

// Apply gives up everything but what is needed. It holds for all threads, and for all
// programs that they run, until they end.
func Apply(n Needs) (State, error) {
	// The zone of the log's times is read from a file, once.
	_, _ = time.Now().Zone()

	var s State
	if err := ll.AllThreadsPrctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return s, fmt.Errorf("no_new_privs: %w", err)
	}
	s.NoNewPrivs = true
	var err error
	if s.Capabilities, err = dropCapabilities(); err != nil {
		return s, fmt.Errorf("capabilities: %w", err)
	}
	landlockVersion, err := ll.LandlockGetABIVersion()
	switch {
	case errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EOPNOTSUPP): // none, or not enabled at boot
		return s, nil
	case err != nil:
		return s, fmt.Errorf("landlock: its version: %w", err)
	}
	s.Landlock = landlockVersion
	if err := restrict(n); err != nil {
		return s, fmt.Errorf("landlock: %w", err)
	}
	s.TCPClosed = !n.TCP && s.Landlock >= tcpVersion
	return s, nil
}

// restrict restricts as much as the kernel can. Version 5 of landlock is the last that
// adds a right which this knows how to give back.
func restrict(n Needs) error {
	c := landlock.Config{HandledAccessFS: landlock.V5.HandledAccessFS}
	if !n.TCP {
		c.HandledAccessNet = landlock.V5.HandledAccessNet
	}
	return c.BestEffort().Restrict(
		landlock.PathAccess(socketRights, n.Sockets...).IgnoreIfMissing(),
		landlock.PathAccess(ll.AccessFSReadFile, n.Read...).IgnoreIfMissing(),
		landlock.PathAccess(ll.AccessFSReadFile|ll.AccessFSIoctlDev, devVsock).IgnoreIfMissing(),
	)
}

// dropCapabilities gives those that are left.
func dropCapabilities() ([]string, error) {
	have, want := libcap.GetProc(), libcap.NewSet()
	names := []string{}
	for _, v := range kept {
		if on, err := have.GetFlag(libcap.Permitted, v); err != nil || !on {
			continue
		}
		for _, f := range []libcap.Flag{libcap.Permitted, libcap.Effective} {
			if err := want.SetFlag(f, true, v); err != nil {
				return nil, err
			}
		}
		names = append(names, v.String())
	}
	return names, want.SetProc()
}
