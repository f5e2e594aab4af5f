//go:build !unix

package unixsocket

import "net"

// Listener listens on a path that it made, and removes it in the end.
type Listener struct{ *net.UnixListener }

// Listen makes a socket. Who may connect is up to the folder that it is in: these
// systems have no owners and modes to check.
func Listen(path string) (*Listener, error) {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, err
	}
	return &Listener{l}, nil
}

// ListenForAll makes a socket, as Listen does.
func ListenForAll(path string) (*Listener, error) { return Listen(path) }
