//go:build !race

package attack

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vsockets.dev/vswitch"
)

// waitLimit is when a test gives up.
const waitLimit = 20 * time.Second

// arena is a victim that was begun, and what an attacker needs to know of it.
type arena struct {
	t    *testing.T
	dir  string
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *json.Decoder
	over chan struct{} // closed when the process has ended
}

// newArena starts a victim, which ends with the test.
func newArena(t *testing.T) *arena {
	t.Helper()
	a := &arena{t: t, dir: t.TempDir(), over: make(chan struct{})}
	a.cmd = exec.Command(os.Args[0])
	a.cmd.Env = append(os.Environ(), victimEnv+"="+a.dir, "GOMAXPROCS="+strconv.Itoa(max(2, runtime.NumCPU()-1)), "GOTRACEBACK=all")
	a.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	log := new(tail)
	a.cmd.Stderr = log
	var err error
	if a.in, err = a.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := a.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	a.out = json.NewDecoder(bufio.NewReader(out))
	startApart(t, a.cmd)
	go func() {
		defer close(a.over)
		_ = a.cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = a.in.Close()
		select {
		case <-a.over:
		case <-time.After(waitLimit):
			t.Error("the switch does not end")
			_ = a.cmd.Process.Kill()
			<-a.over
		}
		if t.Failed() {
			t.Logf("the switch ended with %v, and said:\n%s", a.cmd.ProcessState, log)
		}
	})
	return a
}

// startApart starts a process on other processors than this one's first, which this
// process keeps for itself while the test runs. With a single one they share that.
func startApart(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var all unix.CPUSet
	if err := unix.SchedGetaffinity(os.Getpid(), &all); err != nil {
		t.Fatal(err)
	}
	own, others := split(&all)
	if err := unix.SchedSetaffinity(0, &others); err != nil { // the child has that of the thread that starts it
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pin(&own)
	t.Cleanup(func() { pin(&all) })
}

func split(all *unix.CPUSet) (own, others unix.CPUSet) {
	others = *all
	if all.Count() < 2 {
		return *all, *all
	}
	for cpu := 0; ; cpu++ {
		if all.IsSet(cpu) {
			own.Set(cpu)
			others.Clear(cpu)
			return own, others
		}
	}
}

// pin has all threads of this process run on these processors. Those that begin later
// have it from whoever begins them.
func pin(cpus *unix.CPUSet) {
	tasks, _ := os.ReadDir("/proc/self/task")
	for _, e := range tasks {
		if tid, err := strconv.Atoi(e.Name()); err == nil {
			_ = unix.SchedSetaffinity(tid, cpus) // one that has ended does not matter
		}
	}
}

// tail keeps the end of what is written to it.
type tail struct {
	mu sync.Mutex
	b  []byte
}

const tailSize = 64 << 10

func (l *tail) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.b = append(l.b, p...)
	if extra := len(l.b) - tailSize; extra > 0 {
		l.b = append(l.b[:0], l.b[extra:]...)
	}
	return len(p), nil
}

func (l *tail) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.b)
}

func (a *arena) socket(name string) string { return filepath.Join(a.dir, name) }

// ask has the victim tell how it is.
func (a *arena) ask(line string) status {
	a.t.Helper()
	limit := time.AfterFunc(waitLimit, func() { _ = a.cmd.Process.Signal(syscall.SIGQUIT) }) // it says where it hangs
	defer limit.Stop()
	var s status
	_, err := io.WriteString(a.in, line+"\n")
	if err = errors.Join(err, a.out.Decode(&s)); err != nil {
		a.t.Fatalf("the switch does not answer: %v", err)
	}
	if len(s.Errors) > 0 {
		a.t.Fatalf("honest contexts: %s", strings.Join(s.Errors, "; "))
	}
	return s
}

// counters are those of the attacking guest.
func (s status) counters() vswitch.Counters {
	for _, i := range s.Contexts {
		if i.CID == attackerCID {
			return i.Counters
		}
	}
	return vswitch.Counters{}
}

// memory is how much the victim has of its own: not what guests share with it.
func (a *arena) memory() int {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(a.cmd.Process.Pid) + "/status")
	if err != nil {
		return 0 // it has ended, which is noticed elsewhere
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "RssAnon:" {
			n, _ := strconv.Atoi(f[1])
			return n << 10
		}
	}
	return 0
}

// watch looks at the victim's memory until it is told to stop, and then tells the most
// that there was.
func (a *arena) watch() (stop func() int) {
	done, most := make(chan struct{}), make(chan int)
	go func() {
		look := time.NewTicker(10 * time.Millisecond)
		defer look.Stop()
		n := 0
		for {
			n = max(n, a.memory())
			select {
			case <-look.C:
			case <-done:
				most <- max(n, a.memory())
				return
			}
		}
	}()
	return func() int { close(done); return <-most }
}
