// Command rpc serves and calls a function by net/rpc over vSockets.
//
//	rpc serve [CID:port]       what to listen on, any:4060 by default
//	rpc add CID:port 20 22     has the server add, and prints the sum
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/rpc"
	"os"
	"strconv"

	"vsockets.dev/vsock"
)

const defaultAddress = "any:4060"

// Sum is what the server can do.
type Sum struct{}

// Add adds. Its shape is what net/rpc asks for.
func (Sum) Add(numbers []int, sum *int) error {
	if len(numbers) == 0 {
		return errors.New("nothing to add")
	}
	for _, n := range numbers {
		*sum += n
	}
	return nil
}

func main() {
	if err := run(context.Background(), os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "rpc:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	switch {
	case len(args) == 1 && args[0] == "serve":
		args = append(args, defaultAddress)
		fallthrough
	case len(args) == 2 && args[0] == "serve":
		a, err := vsock.ParseAddr(args[1])
		if err != nil {
			return err
		}
		ln, err := vsock.Listen(ctx, nil, a)
		if err != nil {
			return err
		}
		fmt.Fprintln(out, "listening on", ln.Addr())
		return serve(ln)
	case len(args) > 1 && args[0] == "add":
		var numbers []int
		for _, arg := range args[2:] {
			n, err := strconv.Atoi(arg)
			if err != nil {
				return err
			}
			numbers = append(numbers, n)
		}
		sum, err := add(ctx, &vsock.Dialer{}, args[1], numbers)
		if err == nil {
			fmt.Fprintln(out, sum)
		}
		return err
	}
	return errors.New("usage: rpc serve [CID:port] | add CID:port NUMBERS")
}

// serve serves until the listener fails or is closed. rpc.Accept would do too, if the
// program never ended.
func serve(ln net.Listener) error {
	srv := rpc.NewServer()
	if err := srv.Register(Sum{}); err != nil {
		return err
	}
	for {
		c, err := ln.Accept()
		if err != nil {
			return err
		}
		go srv.ServeConn(c)
	}
}

// add has the server at an address add.
func add(ctx context.Context, d *vsock.Dialer, address string, numbers []int) (sum int, err error) {
	c, err := d.DialContext(ctx, "vsock", address)
	if err != nil {
		return 0, err
	}
	client := rpc.NewClient(c)
	defer client.Close()
	err = client.Call("Sum.Add", numbers, &sum)
	return sum, err
}
