// Command mdlayher makes connections with github.com/mdlayher/vsock: a test runs it
// in a guest.
package main

import (
	"fmt"
	"os"
	"strconv"

	"github.com/mdlayher/vsock"

	"vsockets.dev/internal/transfer"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "mdlayher:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 3 {
		return fmt.Errorf("usage: mdlayher dial|listen PORT BYTES")
	}
	port, err := strconv.ParseUint(args[1], 10, 32)
	if err != nil {
		return err
	}
	amount, err := strconv.ParseInt(args[2], 10, 64)
	if err != nil {
		return err
	}
	if args[0] == "dial" {
		return dial(uint32(port), amount)
	}
	return listen(uint32(port), amount)
}

// dial sends to the host.
func dial(port uint32, amount int64) error {
	c, err := vsock.Dial(vsock.Host, port, nil)
	if err != nil {
		return err
	}
	defer c.Close()
	fmt.Println(c.LocalAddr(), c.RemoteAddr())
	return transfer.Send(c, amount, 1, nil)
}

// listen takes one connection, and what comes.
func listen(port uint32, amount int64) error {
	l, err := vsock.Listen(port, nil)
	if err != nil {
		return err
	}
	defer l.Close()
	fmt.Fprintln(os.Stderr, "listening")
	c, err := l.Accept()
	if err != nil {
		return err
	}
	defer c.Close()
	fmt.Println(c.LocalAddr(), c.RemoteAddr())
	n, err := transfer.Receive(c.(*vsock.Conn), nil)
	if err == nil && n != amount {
		err = fmt.Errorf("%d bytes came, not %d", n, amount)
	}
	return err
}
