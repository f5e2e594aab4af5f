package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"vsockets.dev/internal/forward"
	"vsockets.dev/internal/relay"
	"vsockets.dev/vsock"
)

// execGrace is how long a command may go on when its connection has ended, and how
// long what it started may hold its output open when it has ended itself.
const execGrace = 5 * time.Second

// exec joins the connection to a command's standard input and output. That the
// command fails is its own matter: what it wrote has been passed on.
func (s *session) exec(ctx context.Context, line string, stderr io.Writer) error {
	words, err := forward.SplitWords(line)
	if err != nil {
		return err
	}
	peer := s.conn.RemoteAddr().(vsock.Addr) //nolint:forcetypeassert // a Conn's are
	over, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	cmd := exec.CommandContext(over, words[0], words[1:]...)
	cmd.Env = append(os.Environ(), fmt.Sprintf("VSOCK_REMOTE_CID=%d", peer.CID), fmt.Sprintf("VSOCK_REMOTE_PORT=%d", peer.Port))
	cmd.Stderr = stderr
	cmd.WaitDelay = execGrace
	ownGroup(cmd)
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		_ = relay.Reset(s.conn)
		return fmt.Errorf("--exec: %w", err)
	}
	s.in, s.out = out, ignorant{in}
	err = s.run(ctx)
	if err != nil {
		end() // at once
	}
	late := time.AfterFunc(execGrace, end)
	defer late.Stop()
	_ = in.Close()
	_, _ = io.Copy(io.Discard, out)
	_ = cmd.Wait()
	return err
}

// ignorant is the input of a command that may not be interested in it: what it does
// not take is dropped, and is no error.
type ignorant struct{ io.WriteCloser }

// Write writes, or drops.
func (w ignorant) Write(p []byte) (int, error) {
	_, _ = w.WriteCloser.Write(p)
	return len(p), nil
}

// Close closes it, if the command's end has not.
func (w ignorant) Close() error {
	if err := w.WriteCloser.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return err
	}
	return nil
}
