package vswitch

import "net"

// The CIDs of attached processes, where AttachConfig does not say otherwise.
const (
	DefaultAttachFirst = 1000
	DefaultAttachLast  = 1999
)

// DefaultPerUser is how many processes of one user may be attached by one socket, where
// AttachConfig does not say otherwise: about a quarter of the CIDs that there are, so that
// one user cannot have them all. Root, and the user of this process, are trusted, and may.
const DefaultPerUser = 256

// AttachConfig says how processes join.
type AttachConfig struct {
	// Socket is the path of the vhost-user socket that they connect to. It is
	// created in a folder that exists, with mode 0600, or 0666 if Users is set.
	Socket string

	// Listener, if there is one, is that socket, made by someone else: systemd's
	// socket activation. Socket is then its name only.
	Listener *net.UnixListener

	// First and Last are the CIDs that processes get: each the next free one.
	// Default: DefaultAttachFirst to DefaultAttachLast, 1000 to 1999.
	First, Last uint32

	// Users are the user ids whose processes may join. Nil: those that may open the
	// socket, which are this user's and root's.
	Users []uint32

	// PerUser is how many processes of one user may be attached at a time, also of root,
	// whose containers are if they have no user namespaces. Negative: as many as
	// there are CIDs. Default: that for root and for this process's user, and
	// DefaultPerUser, 256, for others.
	PerUser int

	// Groups are those that each of them is in, see Policy.
	Groups []string

	// Limits are what each of them may take of the switch.
	Limits Limits
}

// String names the socket in errors.
func (a *Attach) String() string { return "attach socket " + a.config.Socket }
