package guestmem

import (
	"errors"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"vsockets.dev/internal/bulk"
)

// guarded is how an entry point that touches guest memory looks.
func guarded(m *Memory, f func()) (err error) {
	defer m.Catch(Arm(), &err)
	f()
	return nil
}

// A front-end may truncate its file while we use it. Each kind of access must
// survive that, and so must the process. (A copy that overlaps itself need not:
// there is none here, and on a 386 the runtime does not survive it.)
func TestFault(t *testing.T) {
	const size = 16 << 10
	private := make([]byte, size)
	for name, touch := range map[string]func(shared []byte){
		"read":        func(b []byte) { private[0] = b[0] },
		"write":       func(b []byte) { b[size-1] = 1 },
		"copy from":   func(b []byte) { copy(private, b) },
		"copy to":     func(b []byte) { copy(b, private) },
		"short copy":  func(b []byte) { copy(private, b[:44]) },
		"bulk from":   func(b []byte) { bulk.Copy(private, b) },
		"bulk to":     func(b []byte) { bulk.Copy(b, private) },
		"bulk from 5": func(b []byte) { bulk.Copy(private, b[5:]) },
		"bulk to 5":   func(b []byte) { bulk.Copy(b[5:], private) },
		"clear":       func(b []byte) { clear(b) },
		"atomic load": func(b []byte) { w, _ := WordAt(b, 0); w.Load() },
		"atomic store": func(b []byte) {
			w, _ := WordAt(b, 4096)
			w.Store(1)
		},
		"compare and swap": func(b []byte) { w, _ := WordAt(b, 0); w.CompareAndSwap(0, 1) },
	} {
		t.Run(name, func(t *testing.T) {
			fd := memfd(t, size)
			m := mustMap(t, []Region{{Size: size}}, []int{fd})
			b, _ := m.Slice(0, size)
			if err := guarded(m, func() { touch(b) }); err != nil {
				t.Fatalf("while the memory is there: %v", err)
			}
			if err := unix.Ftruncate(fd, 0); err != nil {
				t.Fatal(err)
			}
			err := guarded(m, func() { touch(b) })
			if !errors.Is(err, ErrFault) {
				t.Fatalf("got %v, want ErrFault", err)
			}
			if !strings.Contains(err.Error(), "0x") {
				t.Errorf("%q tells no address", err)
			}
		})
	}
}

// What is taken away may be the end of what is copied.
func TestFaultWithin(t *testing.T) {
	const size = 64 << 10
	private := make([]byte, size)
	for name, touch := range map[string]func(shared []byte){
		"copy from": func(b []byte) { copy(private, b) },
		"copy to":   func(b []byte) { copy(b, private) },
		"bulk from": func(b []byte) { bulk.Copy(private, b) },
		"bulk to":   func(b []byte) { bulk.Copy(b, private) },
	} {
		t.Run(name, func(t *testing.T) {
			fd := memfd(t, size)
			m := mustMap(t, []Region{{Size: size}}, []int{fd})
			b, _ := m.Slice(0, size)
			if err := unix.Ftruncate(fd, size/2); err != nil {
				t.Fatal(err)
			}
			if err := guarded(m, func() { touch(b[:size/2]) }); err != nil {
				t.Errorf("what is left: %v", err)
			}
			if err := guarded(m, func() { touch(b) }); !errors.Is(err, ErrFault) {
				t.Errorf("got %v, want ErrFault", err)
			}
		})
	}
}

// What the guard does not know is not its business.
func TestOtherPanicsGoOn(t *testing.T) {
	fd := memfd(t, 4096)
	m := mustMap(t, []Region{{Size: 4096}}, []int{fd})
	errOther := errors.New("other")
	var nowhere *int
	isRuntime := func(r any) bool { _, ok := r.(runtime.Error); return ok }
	for name, c := range map[string]struct {
		f    func()
		want func(r any) bool
	}{
		"a value":               {func() { panic("text") }, func(r any) bool { return r == "text" }},
		"an error":              {func() { panic(errOther) }, func(r any) bool { err, ok := r.(error); return ok && errors.Is(err, errOther) }},
		"out of range":          {func() { _ = make([]byte, 1)[len(t.Name())] }, isRuntime},
		"nil pointer":           {func() { *nowhere = 1 }, isRuntime},
		"address, but no fault": {func() { panic(notAFault{}) }, func(r any) bool { return r == notAFault{} }},
	} {
		t.Run(name, func(t *testing.T) {
			var err error
			defer func() {
				if r := recover(); !c.want(r) {
					t.Errorf("recovered %v", r)
				}
				if err != nil {
					t.Errorf("error %v", err)
				}
			}()
			err = guarded(m, c.f)
			t.Error("the panic was swallowed")
		})
	}
}

type notAFault struct{}

func (notAFault) Addr() uintptr { return 0x1000 }

// Guests answer for their own memory: a packet's payload may lie in that of another.
func TestFaultOfAnother(t *testing.T) {
	mine := mustMap(t, []Region{{Size: 8192}}, []int{memfd(t, 8192)})
	fd := memfd(t, 8192)
	other := mustMap(t, []Region{{Size: 4096}, {GuestAddr: 1 << 20, UserAddr: 1 << 20, Size: 4096, MmapOffset: 4096}}, []int{fd, fd})
	if err := unix.Ftruncate(fd, 0); err != nil {
		t.Fatal(err)
	}
	to, _ := mine.Slice(0, 8192)
	for _, addr := range []uint64{0, 4095, 1 << 20, 1<<20 + 4095} {
		from, ok := other.Slice(addr, 1)
		if !ok {
			t.Fatal(addr)
		}
		var inner error
		outer := guarded(other, func() {
			inner = guarded(mine, func() { copy(to, from) })
			t.Error("went on behind the fault")
		})
		if inner != nil || !errors.Is(outer, ErrFault) {
			t.Errorf("at %#x: error %v where the payload was copied to, %v where it came from", addr, inner, outer)
		}
	}
}

// The state of the goroutine is as before, whichever way the guarded code ends.
func TestGuardRestores(t *testing.T) {
	armed := func() bool {
		was := debug.SetPanicOnFault(false)
		debug.SetPanicOnFault(was)
		return was
	}
	fd := memfd(t, 4096)
	m := mustMap(t, []Region{{Size: 4096}}, []int{fd})
	b, _ := m.Slice(0, 4096)
	if err := unix.Ftruncate(fd, 0); err != nil {
		t.Fatal(err)
	}
	fault := func() { b[0] = 1 }

	_ = guarded(m, func() {
		if !armed() {
			t.Error("not armed inside")
		}
	})
	if armed() {
		t.Error("armed after the end")
	}
	_ = guarded(m, fault)
	if armed() {
		t.Error("armed after a fault")
	}
	func() {
		defer func() { _ = recover() }()
		_ = guarded(m, func() { panic("other") })
	}()
	if armed() {
		t.Error("armed after another panic")
	}
	err := guarded(m, func() {
		if err := guarded(m, fault); !errors.Is(err, ErrFault) {
			t.Errorf("inner: %v", err)
		}
		if !armed() {
			t.Error("the inner guard disarmed the outer")
		}
		fault()
	})
	if !errors.Is(err, ErrFault) {
		t.Errorf("outer: %v", err)
	}
}

func BenchmarkGuard(b *testing.B) {
	m := mustMap(b, []Region{{Size: 4096}}, []int{memfd(b, 4096)})
	entry := func() (err error) {
		defer m.Catch(Arm(), &err)
		return nil
	}
	b.ReportAllocs()
	for b.Loop() {
		_ = entry()
	}
}
