// Command client is the client to examples/server: the calls of the vSockets guide
// on the connecting side.
//
//	client [CID:port]
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"vsockets.dev/vsock"
)

const (
	bufSize       = 4096
	defaultServer = "host:4050"
)

func main() {
	address := defaultServer
	if len(os.Args) > 1 {
		address = os.Args[1]
	}
	server, err := vsock.ParseAddr(address)
	if err != nil {
		fmt.Fprintln(os.Stderr, "client:", err)
		os.Exit(2)
	}
	if err := talk(context.Background(), vsock.Kernel(), server, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "client:", err)
		os.Exit(1)
	}
}

// talk sends a message to the server and checks that the same comes back.
func talk(ctx context.Context, stack vsock.Stack, server vsock.Addr, out io.Writer) error {
	// VMCISock_GetLocalCID(): the CID that we connect from.
	cid, err := stack.LocalCID()
	if err != nil {
		return fmt.Errorf("local CID: %w", err)
	}

	// socket()
	s, err := stack.Socket(vsock.Stream)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	defer s.Close()

	// setsockopt(): before connect(). The server's limits decide what comes of it.
	if err := s.SetOption(vsock.BufferSize, 32768); err != nil {
		return fmt.Errorf("setsockopt: %w", err)
	}

	// connect(): VMADDR_CID_ANY and VMADDR_PORT_ANY are filled in for us.
	if err := s.Connect(ctx, server); err != nil {
		return fmt.Errorf("connect to %v: %w", server, err)
	}

	// getsockname() and getpeername()
	me, err := s.LocalAddr()
	if err != nil {
		return fmt.Errorf("getsockname: %w", err)
	}
	peer, err := s.RemoteAddr()
	if err != nil {
		return fmt.Errorf("getpeername: %w", err)
	}
	fmt.Fprintf(out, "CID %d: %v -> %v\n", cid, me, peer)

	// send(), then shutdown() our direction: the server's recv() loop ends.
	message := bytes.Repeat([]byte("vSockets "), 1000)
	if _, err := s.Send(message, 0); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	if err := s.Shutdown(vsock.ShutWrite); err != nil {
		return fmt.Errorf("shutdown: %w", err)
	}

	// recv() until the server has closed.
	var answer []byte
	var buf [bufSize]byte
	for {
		n, _, err := s.Recv(buf[:], 0)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("recv: %w", err)
		}
		answer = append(answer, buf[:n]...)
	}
	if !bytes.Equal(answer, message) {
		return fmt.Errorf("sent %d bytes, %d other ones came back", len(message), len(answer))
	}
	fmt.Fprintln(out, len(answer), "bytes came back")
	return nil
}
