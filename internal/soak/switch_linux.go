package soak

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"vsockets.dev/internal/switchd"
)

// readyLine is what `vsock switch` prints when everything listens.
const readyLine = "vsock switch: ready: "

// startLimit is for the start of the switch, endLimit for the end of a process that
// was asked to. The switch itself gives its forwards some seconds.
const (
	startLimit = 30 * time.Second
	endLimit   = 30 * time.Second
)

// switchProcess is the switch, which the soak is about.
type switchProcess struct {
	*switchd.Client
	cmd *exec.Cmd
}

// startSwitch starts `vsock switch`, and returns when everything listens.
func (s *soak) startSwitch(args ...string) error {
	cmd := exec.Command(s.Tool, append([]string{"switch"}, args...)...)
	cmd.Stderr, cmd.SysProcAttr = s.output, diesWithUs()
	// A race that a tool with the race detector finds is an end with this status.
	cmd.Env = append(os.Environ(), "GORACE=exitcode=66")
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("soak: the switch: %w", err)
	}
	started, _ := limit(startLimit, func() { _ = cmd.Process.Kill() })
	line, err := bufio.NewReader(out).ReadString('\n')
	started()
	if err != nil || !strings.HasPrefix(line, readyLine) {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return fmt.Errorf("soak: the switch is not ready within %v: it prints %q, %w; see %s", startLimit, line, err, s.output.Name())
	}
	s.sw = &switchProcess{switchd.NewClient(s.control), cmd}
	return nil
}

// end asks the switch to end, which must go well.
func (p *switchProcess) end() error {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	ended, stuck := limit(endLimit, func() { _ = p.cmd.Process.Kill() })
	err := p.cmd.Wait()
	ended()
	if stuck() {
		return fmt.Errorf("it did not end within %v of SIGTERM", endLimit)
	}
	return err
}

// dump has the switch show all its goroutines in its log, and end by that.
func (p *switchProcess) dump() { _ = p.cmd.Process.Signal(syscall.SIGQUIT) }

// add joins a guest.
func (p *switchProcess) add(ctx context.Context, g switchd.GuestSpec) error {
	_, err := p.AddGuest(ctx, g)
	return err
}

// limit calls f unless it is stopped in time; stuck tells whether it was called.
func limit(d time.Duration, f func()) (stop func(), stuck func() bool) {
	var late atomic.Bool
	t := time.AfterFunc(d, func() {
		late.Store(true)
		f()
	})
	return func() { t.Stop() }, late.Load
}

// closeAll closes what can be closed.
func closeAll(all ...io.Closer) {
	for _, c := range all {
		_ = c.Close()
	}
}
