package guest

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"syscall"
	"time"

	"vsockets.dev/internal/testguest/channel"
)

// outputDelay is how long a program that has ended may leave its output open in
// the hands of others before the run ends without them.
const outputDelay = 2 * time.Second

// exitSignal is added to a signal's number to make an exit status, as shells do.
const exitSignal = 128

func (a *agent) run(ctx context.Context, id uint32, c *channel.Command) channel.Result {
	cmd := exec.CommandContext(ctx, c.Path, c.Args...)
	cmd.Dir = c.Dir
	cmd.Env = append(os.Environ(), c.Env...)
	cmd.Stdout = &output{a.conn, channel.KindStdout, id}
	cmd.Stderr = &output{a.conn, channel.KindStderr, id}
	cmd.WaitDelay = outputDelay
	// A group of its own, so that a cancel takes the program's children with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }

	err := a.runToEnd(cmd)
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return channel.Result{Err: channel.NewError(err)}
	}
	if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return channel.Result{Exit: exitSignal + int(ws.Signal())}
	}
	return channel.Result{Exit: cmd.ProcessState.ExitCode()}
}

func (a *agent) runToEnd(cmd *exec.Cmd) error {
	if err := cmd.Start(); err != nil {
		return err
	}
	group, ended := cmd.Process.Pid, make(chan struct{})
	a.mu.Lock()
	a.programs[group] = ended
	a.mu.Unlock()
	err := cmd.Wait()
	close(ended)
	a.mu.Lock()
	delete(a.programs, group)
	a.mu.Unlock()
	return err
}

// output streams what a program writes to the test.
type output struct {
	conn *channel.Conn
	kind channel.Kind
	id   uint32
}

func (o *output) Write(b []byte) (int, error) {
	if err := o.conn.Send(o.kind, o.id, b); err != nil {
		return 0, err
	}
	return len(b), nil
}
