// Command guestinit is the init process and agent of the guests that tests
// boot. See package guest.
package main

import (
	"fmt"
	"os"

	"vsockets.dev/internal/testguest/guest"
)

func main() {
	guest.Main()
	fmt.Fprintln(os.Stderr, "guestinit: this is the init process of a test's guest, started by package testguest")
	os.Exit(2)
}
