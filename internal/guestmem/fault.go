package guestmem

import (
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
)

// ErrFault says that memory which was mapped is not there any more: its owner has
// truncated the file.
var ErrFault = errors.New("guestmem: the memory was taken away")

// Arm makes faults of this goroutine panic instead of ending the process, until
// Catch. Use the two at each way into code that touches shared memory:
//
//	defer m.Catch(guestmem.Arm(), &err)
func Arm() (was bool) { return debug.SetPanicOnFault(true) }

// Catch undoes Arm, and turns the panic of a fault in m into an error. Any other
// panic goes on, so that nobody answers for what another did: a packet's payload
// may lie in memory that is not m, and the use of a nil pointer, which tells no
// address, is a mistake of ours. It must be deferred itself, or else it would
// recover nothing.
func (m *Memory) Catch(was bool, err *error) {
	debug.SetPanicOnFault(was)
	r := recover()
	if r == nil {
		return
	}
	fault, ok := r.(interface {
		runtime.Error
		Addr() uintptr
	})
	if !ok || !m.holds(fault.Addr()) {
		panic(r)
	}
	*err = fmt.Errorf("%w (address %#x)", ErrFault, fault.Addr())
}
