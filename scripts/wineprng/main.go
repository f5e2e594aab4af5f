// Command wineprng writes a DLL that Wine lacks and Go programs need.
//
//	wineprng .../drive_c/windows/system32/bcryptprimitives.dll
//
// Go's runtime for Windows takes its random numbers from ProcessPrng, a function of
// bcryptprimitives.dll, and does not start without it. The Wine of Debian 12, Wine 8,
// has no such DLL. So this one forwards the function to RtlGenRandom, which takes the
// same arguments and does the same, and whose name in advapi32.dll is SystemFunction036.
package main

import (
	"fmt"
	"os"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: wineprng FILE.dll")
		os.Exit(2)
	}
	dll := forwardingDLL("bcryptprimitives.dll", "ProcessPrng", "advapi32.SystemFunction036")
	if err := os.WriteFile(os.Args[1], dll, 0o644); err != nil {
		fmt.Fprintln(os.Stderr, "wineprng:", err)
		os.Exit(1)
	}
}
