// Package relay joins two connections.
package relay

import (
	"errors"
	"io"
	"net"
)

// Conn is a connection that can end its directions one by one.
type Conn interface {
	net.Conn
	CloseRead() error
	CloseWrite() error
}

// Join copies both ways until both directions have ended, and then closes both
// connections. The end of one direction is passed on, and the other goes on.
// An error in either ends both.
func Join(a, b Conn) error {
	errs := make(chan error, 2)
	go func() { errs <- pipe(a, b) }()
	go func() { errs <- pipe(b, a) }()
	err := <-errs
	if err != nil {
		_ = a.Close()
		_ = b.Close()
	}
	if err2 := <-errs; err == nil {
		err = err2
	}
	_ = a.Close()
	_ = b.Close()
	return err
}

// pipe copies from src to dst, and passes on the end. When dst takes no more, src
// is told so.
func pipe(dst, src Conn) error {
	_, err := io.Copy(dst, src)
	if err != nil {
		_ = src.CloseRead()
	}
	if cerr := dst.CloseWrite(); err == nil && !errors.Is(cerr, net.ErrClosed) {
		err = cerr
	}
	return err
}
