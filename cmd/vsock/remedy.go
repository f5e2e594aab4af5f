package main

import (
	"errors"
	"fmt"
	"syscall"
)

// remedyListen adds what to do about an address that cannot be listened on.
func remedyListen(err error) error {
	for _, r := range []struct {
		errno syscall.Errno
		text  string
	}{
		{syscall.EADDRINUSE, "choose another port, or stop what listens there"},
		{syscall.EACCES, "choose a port from 1024 on, or run it with the right to lower ones"},
		{syscall.EADDRNOTAVAIL, "that CID is not one of this side's; any listens on all of them"},
		{syscall.EAFNOSUPPORT, "this system has no vsock; vsock doctor tells why"},
	} {
		if errors.Is(err, r.errno) {
			return fmt.Errorf("%w; %s", err, r.text)
		}
	}
	return err
}
