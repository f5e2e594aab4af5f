package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	vsockets "vsockets.dev"
	"vsockets.dev/vsock"
)

// This file has the processes that faults are done to, and those that must not notice:
// servers that echo, and clients that send blocks and compare what comes back.

// loadVar has the test program be such a process: "serve URI" or "call URI CID:PORT".
const loadVar = "VSOCKETS_TEST_LOAD"

const (
	loadPort   = 2000
	loadBlock  = 192 << 10 // more than a connection buffers
	loadRounds = 4         // blocks of a connection
)

func init() {
	if args := strings.Fields(os.Getenv(loadVar)); len(args) > 0 {
		if err := runLoad(args); err != nil {
			fmt.Println("failed", err)
			os.Exit(exitFailed)
		}
		os.Exit(exitOK)
	}
}

func runLoad(args []string) error {
	s, err := vsockets.Open(args[1])
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	cid, err := s.LocalCID()
	if err != nil {
		return err
	}
	if args[0] == "serve" {
		return serveLoad(s, cid)
	}
	to, err := vsock.ParseAddr(args[2])
	if err != nil {
		return err
	}
	fmt.Println("ready", cid)
	for {
		if err := callLoad(s, to); err != nil {
			return err
		}
		fmt.Println("done")
	}
}

// serveLoad echoes, and says of each connection that ends early how.
func serveLoad(s vsock.Stack, cid uint32) error {
	l, err := vsock.Listen(context.Background(), s, vsock.Addr{CID: vsock.CIDAny, Port: loadPort})
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	fmt.Println("ready", cid)
	for {
		c, err := l.Accept()
		if err != nil {
			return fmt.Errorf("accept: %s", errorName(err))
		}
		go func() {
			defer c.Close()
			if _, err := io.Copy(c, c); err != nil {
				fmt.Println("ended", errorName(err))
			}
		}()
	}
}

// callLoad makes one connection and has blocks of random bytes be echoed.
func callLoad(s vsock.Stack, to vsock.Addr) error {
	c, err := vsock.Dial(context.Background(), s, to)
	if err != nil {
		return fmt.Errorf("dial: %s", errorName(err))
	}
	defer c.Close()
	sent, got := make([]byte, loadBlock), make([]byte, loadBlock)
	for range loadRounds {
		_, _ = rand.Read(sent)
		written := make(chan error, 1)
		go func() {
			_, err := c.Write(sent)
			written <- err
		}()
		if _, err := io.ReadFull(c, got); err != nil {
			return fmt.Errorf("read: %s", errorName(err))
		}
		if err := <-written; err != nil {
			return fmt.Errorf("write: %s", errorName(err))
		}
		if !bytes.Equal(sent, got) {
			return errors.New("compare: what came back is not what was sent")
		}
	}
	return nil
}

// errorName is an error's number by name, or else its text.
func errorName(err error) string {
	var number syscall.Errno
	switch {
	case errors.As(err, &number):
		return unix.ErrnoName(number)
	case errors.Is(err, net.ErrClosed):
		return "closed"
	}
	return err.Error()
}

// load is such a process, as its test sees it.
type load struct {
	t    *testing.T
	name string
	cmd  *exec.Cmd
	cid  string

	mu    sync.Mutex
	lines []string
	done  int
	more  chan struct{} // closed, and replaced, with each line
}

// startLoad starts one, and waits until it is ready.
func startLoad(t *testing.T, name string, args ...string) *load {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	l := &load{t: t, name: name, cmd: exec.CommandContext(t.Context(), self), more: make(chan struct{})}
	l.cmd.Env = append(os.Environ(), loadVar+"="+strings.Join(args, " "))
	l.cmd.Stderr = os.Stderr
	out, err := l.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := l.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		for s := bufio.NewScanner(out); s.Scan(); {
			l.add(s.Text())
		}
		l.add("over")
	}()
	t.Cleanup(func() {
		_ = l.cmd.Process.Kill()
		<-read
		_ = l.cmd.Wait()
	})
	l.cid = strings.TrimPrefix(l.await("ready"), "ready ")
	return l
}

func (l *load) add(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if line == "done" {
		l.done++
	} else {
		l.lines = append(l.lines, line)
	}
	close(l.more)
	l.more = make(chan struct{})
}

// until waits until something holds of what it said, which is asked under mu.
func (l *load) until(what string, within time.Duration, holds func() bool) {
	l.t.Helper()
	late := time.NewTimer(within)
	defer late.Stop()
	for {
		l.mu.Lock()
		ok, more := holds(), l.more
		l.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-more:
		case <-late.C:
			l.mu.Lock()
			defer l.mu.Unlock()
			l.t.Fatalf("%s: after %v, not: %s; %d done, %q", l.name, within, what, l.done, l.lines)
		}
	}
}

// await waits for a line that begins with a word.
func (l *load) await(word string) (line string) {
	l.t.Helper()
	l.until(word, switchLimit, func() bool {
		for _, line = range l.lines {
			if strings.HasPrefix(line, word) {
				return true
			}
		}
		return false
	})
	return line
}

// progress waits for some transfers more.
func (l *load) progress(n int) {
	l.t.Helper()
	l.mu.Lock()
	to := l.done + n
	l.mu.Unlock()
	l.until(fmt.Sprintf("%d transfers", to), switchLimit, func() bool { return l.done >= to })
}

// fails waits until it has failed in one of some ways.
func (l *load) fails(within time.Duration, ways ...string) {
	l.t.Helper()
	var line string
	l.until("failed", within, func() bool {
		for _, line = range l.lines {
			if strings.HasPrefix(line, "failed ") {
				return true
			}
		}
		return false
	})
	for _, w := range ways {
		if strings.HasPrefix(line, "failed "+w) {
			return
		}
	}
	l.t.Errorf("%s: %q, want one of %q", l.name, line, ways)
}

// well holds it to have had no fault at all.
func (l *load) well() {
	l.t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.lines) != 1 {
		l.t.Errorf("%s: %q", l.name, l.lines)
	}
}

func (l *load) kill() {
	l.t.Helper()
	if err := l.cmd.Process.Kill(); err != nil {
		l.t.Fatal(err)
	}
}
