package vswitch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vsockets.dev/internal/testguest"
	"vsockets.dev/vsock"
)

const (
	// clockVar has this program set the clock of the machine that it runs on, which
	// is to be a guest.
	clockVar = "VSOCKETS_TEST_CLOCK"

	clockJumps = 20
	clockWait  = 200 * time.Millisecond

	// clockLate is how late a timer may be in a guest that has to share its processor.
	clockLate = 2 * time.Second

	clockGuestLimit = time.Minute
)

// TestClockJumps sets the clock of a guest back and forth while a switch in it is at work.
// No connection notices, and what waits does so for its time by the clock that never jumps.
func TestClockJumps(t *testing.T) {
	testguest.UML.Require(t)
	dir := t.TempDir()
	init, err := testguest.Build(t.Context(), dir, testguest.InitPackage)
	if err != nil {
		t.Fatal(err)
	}
	program, err := testguest.BuildTest(t.Context(), dir, "vsockets.dev/vswitch")
	if err != nil {
		t.Fatal(err)
	}
	// Not the test's context: that ends before the guest is powered off.
	g, err := testguest.Boot(context.Background(), testguest.Config{
		Machine: testguest.UML, Init: init, Files: []string{program}, TimeLimit: clockGuestLimit,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	}()
	var out bytes.Buffer
	exit, err := g.Run(t.Context(), testguest.Command{
		Path: program, Env: []string{clockVar + "=1"}, Stdout: &out, Stderr: &out,
	})
	if exit != 0 || err != nil || out.String() != "all is well\n" {
		t.Errorf("exit status %d, %v: %s", exit, err, &out)
	}
}

func init() {
	if os.Getenv(clockVar) == "" {
		return
	}
	if err := jumpClock(); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("all is well")
	os.Exit(0)
}

// jumpClock is what the guest runs.
func jumpClock() error {
	if os.Getenv("VSOCKETS_GUEST") == "" {
		return errors.New("this is no guest, and its clock stays as it is")
	}
	sw := New(Config{})
	defer sw.Close()
	near, err := sw.AddContext(ContextConfig{CID: 3, Groups: []string{"a"}})
	if err != nil {
		return err
	}
	far, err := sw.AddContext(ContextConfig{CID: 4, Groups: []string{"a"}})
	if err != nil {
		return err
	}
	l, err := vsock.Listen(context.Background(), far, vsock.Addr{CID: vsock.CIDAny, Port: 1024})
	if err != nil {
		return err
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(c, c)
				_ = c.Close()
			}()
		}
	}()
	failed, transfers := make(chan error, 1), make(chan int)
	go func() {
		for n := 1; ; n++ {
			if err := echoBlock(near); err != nil {
				failed <- err
				return
			}
			select {
			case transfers <- n:
			default:
			}
		}
	}()
	for i := range clockJumps {
		// Up and down, always ten years: never before 1970.
		jump := 10 * 365 * 24 * time.Hour
		if i%2 == 1 {
			jump = -jump
		}
		if err := waitAcross(near, jump); err != nil {
			return fmt.Errorf("jump %d: %w", i, err)
		}
		select {
		case err := <-failed:
			return fmt.Errorf("jump %d: the load: %w", i, err)
		case <-transfers:
		case <-time.After(clockLate):
			return fmt.Errorf("jump %d: the load stands still", i)
		}
	}
	return nil
}

// echoBlock has a block be echoed by a connection of its own.
func echoBlock(s vsock.Stack) error {
	c, err := vsock.Dial(context.Background(), s, vsock.Addr{CID: 4, Port: 1024})
	if err != nil {
		return err
	}
	defer c.Close()
	sent := bytes.Repeat([]byte("clock"), 10000)
	got := make([]byte, len(sent))
	if _, err := c.Write(sent); err != nil {
		return err
	}
	if _, err := io.ReadFull(c, got); err != nil {
		return err
	}
	if !bytes.Equal(sent, got) {
		return errors.New("other bytes came back")
	}
	return nil
}

// waitAcross has a Read with a deadline, an Accept with one and a Poll wait while the clock
// jumps.
func waitAcross(s vsock.Stack, jump time.Duration) error {
	c, err := vsock.Dial(context.Background(), s, vsock.Addr{CID: 4, Port: 1024})
	if err != nil {
		return err
	}
	defer c.Close()
	l, err := vsock.Listen(context.Background(), s, vsock.Addr{CID: vsock.CIDAny, Port: vsock.PortAny})
	if err != nil {
		return err
	}
	defer l.Close()
	begun := time.Now() // with the monotonic clock
	waits := map[string]func() error{
		"read": func() error {
			_ = c.SetReadDeadline(begun.Add(clockWait))
			_, err := c.Read(make([]byte, 1))
			return err
		},
		"accept": func() error {
			_ = l.SetDeadline(begun.Add(clockWait))
			_, err := l.Accept()
			return err
		},
		"poll": func() error {
			if n := vsock.Poll([]vsock.PollFD{{Socket: l.Socket(), Events: vsock.PollIn}}, clockWait); n != 0 {
				return fmt.Errorf("%d are ready", n)
			}
			return os.ErrDeadlineExceeded
		},
	}
	ended := make(chan error)
	for name, wait := range waits {
		go func() {
			err := wait()
			took := time.Since(begun)
			if errors.Is(err, os.ErrDeadlineExceeded) && took >= clockWait && took < clockWait+clockLate {
				err = nil
			} else {
				err = fmt.Errorf("%s ended after %v: %w", name, took, err)
			}
			ended <- err
		}()
	}
	var now unix.Timespec
	err = unix.ClockGettime(unix.CLOCK_REALTIME, &now)
	if err == nil {
		now = unix.NsecToTimespec(now.Nano() + int64(jump))
		err = unix.ClockSettime(unix.CLOCK_REALTIME, &now)
	}
	// It has jumped, by the time of day.
	if late := time.Until(time.Unix(now.Unix())); err == nil && late.Abs() > clockLate {
		err = fmt.Errorf("the clock is %v off where it was set to", late)
	}
	for range waits {
		err = errors.Join(err, <-ended)
	}
	return err
}
