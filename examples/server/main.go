// Command server is the server of the vSockets guide, step by step in the guide's
// order ("Preparing the Server for a Connection"). It serves one client, which
// examples/client is.
//
//	server [port]
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"syscall"
	"time"

	"vsockets.dev/vsock"
)

const (
	bufSize     = 4096 // the guide's BUFSIZE
	backlog     = 5
	defaultPort = 4050
	waitClient  = time.Minute
)

func main() {
	port := uint64(defaultPort)
	if len(os.Args) > 1 {
		var err error
		if port, err = strconv.ParseUint(os.Args[1], 10, 32); err != nil {
			fmt.Fprintf(os.Stderr, "server: port %q is no number below 2^32\n", os.Args[1])
			os.Exit(2)
		}
	}
	// VMCISock_GetAFValue: the address family. Go needs no number for it, since a
	// Stack makes the sockets, but a system without one has no vSockets.
	af, err := vsock.AddressFamily()
	if err != nil {
		fmt.Fprintln(os.Stderr, "server: address family:", err)
		os.Exit(1)
	}
	fmt.Println("address family:", af)
	if err := serve(vsock.Kernel(), uint32(port), os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "server:", err)
		os.Exit(1)
	}
}

// serve is the guide's server on any stack.
func serve(stack vsock.Stack, port uint32, out io.Writer) error {
	// socket()
	listener, err := stack.Socket(vsock.Stream)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	defer listener.Close() // close(); on Windows this is closesocket()

	// setsockopt() and getsockopt(): halve the buffers from 65536 to 32768, and
	// verify that it took effect. Before listen(), so that it applies to all
	// connections. The values are 64 bits wide by their type.
	const setBuf = 32768
	if err := listener.SetOption(vsock.BufferSize, setBuf); err != nil {
		return fmt.Errorf("setsockopt: %w", err)
	}
	getBuf, err := listener.Option(vsock.BufferSize)
	if err != nil {
		return fmt.Errorf("getsockopt: %w", err)
	}
	if getBuf != setBuf {
		return errors.New("SO_VMCI_BUFFER_SIZE not set to size requested")
	}

	// bind(): VMADDR_CID_ANY is replaced with our own CID.
	if err := listener.Bind(vsock.Addr{CID: vsock.CIDAny, Port: port}); err != nil {
		return fmt.Errorf("bind: %w", err)
	}

	// getsockname(): what bind made of it.
	me, err := listener.LocalAddr()
	if err != nil {
		return fmt.Errorf("getsockname: %w", err)
	}

	// listen()
	if err := listener.Listen(backlog); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	fmt.Fprintln(out, "listening on", me)

	// select(): sleep until a client comes, or the timeout passes.
	read := []vsock.Socket{listener}
	if n := vsock.Select(&read, nil, nil, waitClient); n == 0 {
		return fmt.Errorf("select: no client within %v: %w", waitClient, syscall.ETIMEDOUT)
	}

	// accept(): a new socket for this client, and who it is.
	conn, client, err := listener.Accept()
	if err != nil {
		return fmt.Errorf("accept: %w", err)
	}
	defer conn.Close()
	fmt.Fprintln(out, "client", client)

	// recv() until the client shuts down its sending side, and
	// send() the same bytes back.
	var buf [bufSize]byte
	total := 0
	for {
		n, _, err := conn.Recv(buf[:], 0)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("recv: %w", err)
		}
		if _, err := conn.Send(buf[:n], 0); err != nil {
			return fmt.Errorf("send: %w", err)
		}
		total += n
	}

	// shutdown(): like close(), but the socket can still be asked.
	if err := conn.Shutdown(vsock.ShutWrite); err != nil {
		return fmt.Errorf("shutdown: %w", err)
	}
	fmt.Fprintln(out, total, "bytes returned")
	return nil
}
