package winsock

// A Family is an address family of Winsock that carries vSockets: how its addresses
// are written, and what it calls the options. CIDs and ports are those of package
// vsock, and so are the numbers of types and options.
type Family interface {
	// Number is the address family, and Protocol what sockets of it are made with.
	Number() (int, error)
	Protocol() int

	// LocalCID is the CID of this system.
	LocalCID() (uint32, error)

	// BindAddress and PeerAddress write the address of the socket itself and of
	// another: any CID and any port may mean other things.
	BindAddress(cid, port uint32) ([]byte, error)
	PeerAddress(cid, port uint32) ([]byte, error)

	// ParseAddress reads an address.
	ParseAddress(sa []byte) (cid, port uint32, err error)

	// Option tells how an option is set and read.
	Option(o int) (opt Option, ok bool)
}

// Option is an option of the system.
type Option struct {
	Level, Name int
	Size        int  // of the value, 4 or 8 bytes, little-endian
	Millis      bool // the value is in milliseconds, and ours in nanoseconds
}
