package guestmem

import (
	"errors"
	"fmt"
	"runtime/debug"
)

// ErrFault says that memory which was mapped is not there any more: its owner has
// truncated the file.
var ErrFault = errors.New("guestmem: the memory was taken away")

// Arm makes faults of this goroutine panic instead of ending the process, until
// Catch. Use the two at each way into code that touches shared memory:
//
//	defer guestmem.Catch(guestmem.Arm(), &err)
func Arm() (was bool) { return debug.SetPanicOnFault(true) }

// Catch undoes Arm, and turns the panic of a fault into an error. Any other panic
// goes on. It must be deferred itself.
func Catch(was bool, err *error) {
	debug.SetPanicOnFault(was)
	r := recover()
	if r == nil {
		return
	}
	fault, ok := r.(interface{ Addr() uintptr })
	if !ok {
		panic(r)
	}
	*err = fmt.Errorf("%w (address %#x)", ErrFault, fault.Addr())
}
