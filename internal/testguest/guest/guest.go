// Package guest is the guest's side of testguest: what a program needs to be
// the init process and the agent of a guest that a test boots.
//
// The program is static, calls [Main] first, and may register functions with
// [Handle] before that; the test calls them by name. The same program has three
// more roles, which Main recognizes: on the host it is the supervisor of the
// guest's processes (package supervise), in the guest it is init, which sets up
// the system, reaps orphans and powers off, and the agent, which serves the
// test over the control line (package channel). Init and agent are two
// processes, so that reaping orphans cannot take a result away from the agent,
// and so that a panic of the agent powers the guest off in order.
//
// The package knows nothing of sockets: which kernel modules it loads is the
// test's choice.
package guest

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"

	"vsockets.dev/internal/testguest/supervise"
)

// EnvGuest is the guard of tests that use the kernel's vsock: it is "1" for
// everything that runs in a guest that testguest booted, and set nowhere else.
// Without it such a test must skip, since on the host it would talk to a
// hypervisor that is none of its business.
const EnvGuest = "VSOCKETS_GUEST"

// Parameters on the guest's kernel command line. The kernel hands them to init
// as environment variables.
const (
	EnvRole       = "VSOCKETS_ROLE"        // RoleInit
	EnvModuleRoot = "VSOCKETS_MODULE_ROOT" // folder with a folder of modules for each kernel release
	EnvModules    = "VSOCKETS_MODULES"     // modules to load, in order: paths below that folder, by comma
	EnvLine       = "VSOCKETS_LINE"        // the control line: a serial port's device file
	EnvRoot       = "VSOCKETS_ROOT"        // RootOfHost, if the root is the host's and read-only
)

// Values of EnvRole.
const (
	RoleInit  = "init"
	roleAgent = "agent"
)

// RootOfHost is the value of EnvRoot.
const RootOfHost = "host"

// Handler is a function that the test can call. The value it gives, encoded as
// JSON, is the result. The context ends when the caller gives up.
type Handler func(ctx context.Context, args json.RawMessage) (any, error)

var (
	handlersMu sync.Mutex
	handlers   = make(map[string]Handler)
)

// Handle registers a function. It panics if the name is taken.
func Handle(name string, h Handler) {
	handlersMu.Lock()
	defer handlersMu.Unlock()
	if _, taken := handlers[name]; taken {
		panic(fmt.Sprintf("guest: function %q is registered twice", name))
	}
	handlers[name] = h
}

// Main takes the role that the program was started in, and never returns then.
// Otherwise it returns at once.
func Main() {
	supervise.Main()
	guestMain()
}
