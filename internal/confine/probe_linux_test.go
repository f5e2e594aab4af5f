package confine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
	libcap "kernel.org/pub/linux/libs/security/libcap/cap"
)

// tries are what a probe can try, by name.
type tries map[string]string

// report is what a probe has found out.
type report struct {
	State State
	Cgo   bool // it is built with cgo

	// Before and After are what came of each try: "ok", or an error's name.
	Before, After tries

	// Threads are what each of some threads, which were there before, may do after:
	// read a file elsewhere, get rights by a program, the capabilities.
	Threads []string
}

// place is a tree of files to try things on.
type place struct {
	served, read, other string // folders
	tcp                 string // an address that listens
}

func newPlace(dir string) (*place, error) {
	p := &place{filepath.Join(dir, "served"), filepath.Join(dir, "read"), filepath.Join(dir, "other"), ""}
	for _, d := range []string{filepath.Join(p.served, "below"), p.read, p.other} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return nil, err
		}
	}
	for _, f := range []string{filepath.Join(p.read, "file"), filepath.Join(p.other, "file")} {
		if err := os.WriteFile(f, []byte("text"), 0o600); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// try tries everything, in the order of a program's life: what is made is removed.
func (p *place) try() tries {
	name := func(dir, file string) string { return filepath.Join(dir, file) }
	read := func(file string) error { _, err := os.ReadFile(file); return err }
	socket := func(dir string) error {
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: name(dir, "socket"), Net: "unix"})
		if err != nil {
			return err
		}
		l.SetUnlinkOnClose(false)
		defer l.Close()
		if err := os.Chmod(name(dir, "socket"), 0o600); err != nil {
			return err
		}
		c, err := net.Dial("unix", name(dir, "socket"))
		if err != nil {
			return err
		}
		return errors.Join(c.Close(), os.Remove(name(dir, "socket")))
	}
	single := new(net.Dialer) // a plain socket
	single.SetMultipathTCP(false)
	plain := new(net.ListenConfig)
	plain.SetMultipathTCP(false)
	t := make(tries)
	for what, f := range map[string]func() error{
		"read":               func() error { return read(name(p.read, "file")) },
		"read elsewhere":     func() error { return read(name(p.other, "file")) },
		"write":              func() error { return os.WriteFile(name(p.read, "file"), nil, 0o600) },
		"write elsewhere":    func() error { return os.WriteFile(name(p.other, "new"), nil, 0o600) },
		"write where served": func() error { return os.WriteFile(name(p.served, "new"), nil, 0o600) },
		"truncate elsewhere": func() error { return os.Truncate(name(p.other, "file"), 1) },
		"remove elsewhere": func() error {
			f := name(p.other, "file")
			if err := syscall.Unlink(f); err != nil {
				return err
			}
			return os.WriteFile(f, []byte("text"), 0o600)
		},
		"list elsewhere":   func() error { _, err := os.ReadDir(p.other); return err },
		"socket":           func() error { return socket(p.served) },
		"socket below":     func() error { return socket(name(p.served, "below")) },
		"socket elsewhere": func() error { return socket(p.other) },
		"run": func() error {
			cmd := exec.Command("/proc/self/exe")
			cmd.Env = []string{nothingVar + "=1"}
			return cmd.Run()
		},
		"connect by TCP": func() error {
			c, err := single.Dial("tcp", p.tcp)
			if err == nil {
				_ = c.Close()
			}
			return err
		},
		"listen by TCP": func() error {
			l, err := plain.Listen(context.Background(), "tcp", "127.0.0.1:0")
			if err == nil {
				_ = l.Close()
			}
			return err
		},
	} {
		var number syscall.Errno
		switch err := f(); {
		case err == nil:
			t[what] = "ok"
		case errors.As(err, &number):
			t[what] = unix.ErrnoName(number)
		default:
			t[what] = err.Error()
		}
	}
	return t
}

// probe applies it in this process, and tells what that has changed.
func probe(tcp bool) error {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		return err
	}
	p, err := newPlace(dir)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	p.tcp = l.Addr().String()
	r := report{Cgo: builtWithCgo, Before: p.try()}

	var ready, ended sync.WaitGroup
	applied := make(chan struct{})
	r.Threads = make([]string, 8)
	for i := range r.Threads {
		ready.Add(1)
		ended.Go(func() {
			runtime.LockOSThread() // not unlocked: this thread ends too
			ready.Done()
			<-applied
			_, err := os.ReadFile(filepath.Join(p.other, "file"))
			set, perr := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)
			r.Threads[i] = fmt.Sprintf("%v no_new_privs=%d %v %s", errors.Is(err, syscall.EACCES), set, perr, libcap.GetProc())
		})
	}
	ready.Wait()
	r.State, err = Apply(Needs{Sockets: []string{p.served, filepath.Join(dir, "none")}, Read: []string{p.read}, TCP: tcp})
	if err != nil {
		return err
	}
	close(applied)
	ended.Wait()
	r.After = p.try()
	return json.NewEncoder(os.Stdout).Encode(r)
}
