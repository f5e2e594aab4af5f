package guest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"vsockets.dev/internal/testguest/channel"
)

func agentMain() {
	// These are this process's alone, not those of the programs it will run.
	path := os.Getenv(EnvLine)
	for _, name := range []string{EnvRole, EnvLine} {
		if err := os.Unsetenv(name); err != nil {
			panic(err)
		}
	}
	line, err := openLine(path)
	if err == nil {
		a := &agent{
			conn:     channel.New(line, line, channel.WindowToHost, channel.WindowToGuest),
			cancels:  make(map[uint32]context.CancelFunc),
			programs: make(map[int]chan struct{}),
		}
		err = a.serve()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "agent:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// agent serves the control line. Every program and call has a goroutine of its
// own; they end with the process.
type agent struct {
	conn *channel.Conn

	mu       sync.Mutex
	cancels  map[uint32]context.CancelFunc // what is under way, by id
	programs map[int]chan struct{}         // those of it that are programs, by process group; closed when ended
}

// serve returns nil when the test asked for a power off.
func (a *agent) serve() error {
	hello, err := newHello()
	if err != nil {
		return err
	}
	if err := a.conn.SendJSON(channel.KindHello, 0, hello); err != nil {
		return err
	}
	for {
		m, err := a.conn.Receive()
		if err != nil {
			return err // io.EOF too: a line without a test is no reason to go on
		}
		switch m.Kind {
		case channel.KindRun:
			var c channel.Command
			if err := m.Decode(&c); err != nil {
				return err
			}
			a.start(m.ID, func(ctx context.Context) channel.Result { return a.run(ctx, m.ID, &c) })
		case channel.KindCall:
			var c channel.Call
			if err := m.Decode(&c); err != nil {
				return err
			}
			a.start(m.ID, func(ctx context.Context) channel.Result { return call(ctx, &c) })
		case channel.KindCancel:
			a.cancel(m.ID)
		case channel.KindExplain:
			go a.explain()
		case channel.KindPowerOff:
			return nil
		default:
			return fmt.Errorf("message of kind %d on the way to the guest", m.Kind)
		}
	}
}

func (a *agent) start(id uint32, f func(context.Context) channel.Result) {
	ctx, cancel := context.WithCancel(context.Background())
	a.mu.Lock()
	a.cancels[id] = cancel
	a.mu.Unlock()
	go func() {
		r := f(ctx)
		a.cancel(id)
		if err := a.conn.SendJSON(channel.KindResult, id, r); err != nil {
			// Too long, perhaps: the caller must hear of it. If it is the line
			// that failed, this fails too, and the agent ends anyway.
			_ = a.conn.SendJSON(channel.KindResult, id, channel.Result{Err: channel.NewError(err)})
		}
	}()
}

// cancel ends what has this id, if it is still under way.
func (a *agent) cancel(id uint32) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if cancel := a.cancels[id]; cancel != nil {
		cancel()
		delete(a.cancels, id)
	}
}

func call(ctx context.Context, c *channel.Call) channel.Result {
	handlersMu.Lock()
	h := handlers[c.Name]
	handlersMu.Unlock()
	if h == nil {
		return channel.Result{Err: channel.NewError(fmt.Errorf("no function %q is registered", c.Name))}
	}
	v, err := h(ctx, c.Args)
	if err != nil {
		return channel.Result{Err: channel.NewError(err)}
	}
	value, err := json.Marshal(v)
	return channel.Result{Value: value, Err: channel.NewError(err)}
}

func newHello() (channel.Hello, error) {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return channel.Hello{}, fmt.Errorf("uname: %w", err)
	}
	cid, err := localCID()
	return channel.Hello{Kernel: unix.ByteSliceToString(name.Release[:]), CID: cid}, err
}

// localCID gives the guest's context ID, 0 if there is none (yet).
func localCID() (uint32, error) {
	f, err := os.Open("/dev/vsock")
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer f.Close()
	cid, err := unix.IoctlGetUint32(int(f.Fd()), unix.IOCTL_VM_SOCKETS_GET_LOCAL_CID)
	if err != nil || cid == unix.VMADDR_CID_ANY {
		return 0, err
	}
	return cid, nil
}
