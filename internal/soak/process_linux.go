package soak

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"

	"vsockets.dev/internal/guestpeer"
)

// child is a process, which does as it is told by its standard input.
type child struct {
	cmd    *exec.Cmd
	client *guestpeer.Client
	in     *os.File
}

// spawn starts this program again, as a process with a stack.
func (s *soak) spawn(stack string) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	inR, inW, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	outR, outW, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, inR.Close(), inW.Close())
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), EnvChild+"="+stack)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = inR, outW, s.output
	cmd.SysProcAttr = diesWithUs()
	err = cmd.Start()
	_, _ = inR.Close(), outW.Close()
	if err != nil {
		return nil, errors.Join(err, inW.Close(), outR.Close())
	}
	return &child{cmd: cmd, client: guestpeer.NewClient(pipes{outR, inW}), in: inW}, nil
}

// diesWithUs has no process outlive a soak that is killed.
func diesWithUs() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }

// kill ends it as a crash would.
func (c *child) kill() {
	_ = c.cmd.Process.Kill()
	_ = c.cmd.Wait()
	_ = c.client.Close()
}

// leave has it end in good order.
func (c *child) leave() error {
	_ = c.in.Close()
	ended, stuck := limit(endLimit, func() { _ = c.cmd.Process.Kill() })
	err := c.cmd.Wait()
	ended()
	_ = c.client.Close()
	if stuck() {
		return fmt.Errorf("it did not end within %v of the end of its input", endLimit)
	}
	return err
}

// pipes are the two ends of a process's standard input and output.
type pipes struct{ r, w *os.File }

func (p pipes) Read(b []byte) (int, error)  { return p.r.Read(b) }
func (p pipes) Write(b []byte) (int, error) { return p.w.Write(b) }
func (p pipes) Close() error {
	_ = p.w.Close() // may be closed already
	return p.r.Close()
}
