// Package confine has this process give up what it does not need any more, for good: the
// files outside of some folders, programs and TCP (landlock, Linux 5.13 and later), what
// programs with other rights would give it (no_new_privs), and capabilities.
//
// It is the last line: what keeps a guest out is that all it says is checked. This says
// how far somebody gets who found a way around that.
package confine

// Needs are what a process goes on using.
type Needs struct {
	// Sockets are folders in which, and below which, it makes and removes Unix sockets.
	// A path that is not there is left out, here and below.
	Sockets []string

	// Read are files, and folders whose files it reads.
	Read []string

	// TCP has it go on to listen and connect by TCP.
	TCP bool
}

// State is what a process has given up.
type State struct {
	// Landlock is the version of the kernel's landlock, 0 where it has none: then
	// files, programs and TCP are as they were.
	Landlock int `json:"landlock_abi"`

	// TCPClosed says that it cannot listen or connect by TCP any more, which is from
	// version 4 of landlock on.
	TCPClosed bool `json:"tcp_closed"`

	// NoNewPrivs says that no program gives it rights that it has not.
	NoNewPrivs bool `json:"no_new_privs"`

	// Capabilities are those that it has kept.
	Capabilities []string `json:"capabilities"`
}

// tcpVersion is the first version of landlock that knows of TCP (Linux 6.7).
const tcpVersion = 4
