package forward

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"sync"
	"time"
)

// processGrace is how long a command may go on after its connection has ended in
// good order, until it is killed. It is for what it still has to write to a disk.
const processGrace = 5 * time.Second

// process is a command's standard input and output as a connection.
type process struct {
	noDeadlines
	cmd    *exec.Cmd
	in     *os.File // to its standard input
	out    *os.File // from its standard output
	exited chan struct{}

	closeIn  func() error // once each, since a file says that it is closed already
	closeOut func() error
	hurry    chan struct{} // closed: it has no grace
	hurried  sync.Once
}

// startProcess runs a command line. What it writes to standard error goes to
// errors.
func startProcess(line string, stderr io.Writer) (_ *process, err error) {
	words, err := SplitWords(line)
	if err != nil {
		return nil, err
	}
	var files []*os.File
	defer func() {
		for _, f := range files {
			_ = f.Close()
		}
	}()
	childIn, in, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("a pipe to the command: %w", err)
	}
	files = append(files, childIn, in)
	out, childOut, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("a pipe from the command: %w", err)
	}
	files = append(files, out, childOut)

	cmd := exec.Command(words[0], words[1:]...)
	// Files, so that exec makes no pipes and goroutines of its own.
	cmd.Stdin, cmd.Stdout, cmd.Stderr = childIn, childOut, stderr
	cmd.WaitDelay = processGrace // where a child of the command keeps stderr open
	ownGroup(cmd)
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("%w; is it installed, and does its name need a path?", err)
	}
	files = []*os.File{childIn, childOut} // these are the command's now
	p := &process{
		noDeadlines: noDeadlines{Exec}, cmd: cmd, in: in, out: out,
		exited: make(chan struct{}), hurry: make(chan struct{}),
		closeIn: sync.OnceValue(in.Close), closeOut: sync.OnceValue(out.Close),
	}
	go func() {
		_ = cmd.Wait() // how it ended is its own matter: what it wrote has been passed on
		close(p.exited)
	}()
	return p, nil
}

func (p *process) Read(b []byte) (int, error) {
	n, err := p.out.Read(b)
	return n, closedError(err)
}

func (p *process) Write(b []byte) (int, error) {
	n, err := p.in.Write(b)
	return n, closedError(err)
}

// closedError makes a closed file a closed connection.
func closedError(err error) error {
	if errors.Is(err, os.ErrClosed) {
		return net.ErrClosed
	}
	return err
}

// CloseWrite ends the command's input.
func (p *process) CloseWrite() error { return p.closeIn() }

// CloseRead makes the command's writes fail.
func (p *process) CloseRead() error { return p.closeOut() }

// SetLinger is that of a TCP connection: after SetLinger(0), Close kills at once.
func (p *process) SetLinger(sec int) error {
	if sec == 0 {
		p.hurried.Do(func() { close(p.hurry) })
	}
	return nil
}

// Close ends both directions, waits a little for the command to end, and kills it
// and what it started. The output is the first: that the command ends when its input
// does must not look as if it had said all.
func (p *process) Close() error {
	_ = p.closeOut()
	_ = p.closeIn()
	grace := time.NewTimer(processGrace)
	defer grace.Stop()
	select {
	case <-p.exited:
		return nil
	case <-p.hurry:
	case <-grace.C:
	}
	killGroup(p.cmd)
	<-p.exited
	return nil
}
