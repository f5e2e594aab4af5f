// Command guestinit is the init process and agent of guests whose kernel's
// sockets a test uses. See packages guestpeer and guest.
package main

import (
	"fmt"
	"os"

	"vsockets.dev/internal/guestpeer"
	"vsockets.dev/internal/testguest/guest"
	"vsockets.dev/vsock"
)

func main() {
	for name, h := range guestpeer.New(vsock.Kernel()).Handlers() {
		guest.Handle(name, h)
	}
	guest.Main()
	fmt.Fprintln(os.Stderr, "guestinit: this is the init process of a test's guest, started by package testguest")
	os.Exit(2)
}
