package vsock

import (
	"errors"
	"os"

	"vsockets.dev/vsock"
)

// Config has the options of a Conn or Listener. The zero value is ready to use, and so
// is a nil pointer.
type Config struct {
	// Stack is where sockets come from. Default: the system's own, vsock.Kernel().
	Stack vsock.Stack
}

func (c *Config) stack() vsock.Stack {
	if c == nil || c.Stack == nil {
		return vsock.Kernel()
	}
	return c.Stack
}

// ContextID gives the context ID of this system. An error says that it cannot use
// vSockets: the kernel's module is not loaded, or access to it denied (an
// *os.PathError), or it has none.
func ContextID() (uint32, error) { return contextID(vsock.Kernel()) }

func contextID(s vsock.Stack) (uint32, error) {
	cid, err := s.LocalCID()
	var pe *os.PathError
	if errors.As(err, &pe) {
		err = pe // bare, for os.IsNotExist and os.IsPermission
	}
	return cid, err
}
