//go:build unix

package main

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// passFile sends a file's descriptor over the Unix socket that to is, with a byte, as
// ssh wants it: OpenSSH's monitor_fdpass.c, mm_receive_fd.
func passFile(to, f *os.File) error {
	err := unix.Sendmsg(int(to.Fd()), []byte{0}, unix.UnixRights(int(f.Fd())), nil, 0)
	if err != nil {
		return fmt.Errorf("--fdpass: handing the connection over on standard output: %w; is ProxyUseFdpass yes in ssh's configuration?", err)
	}
	return nil
}
