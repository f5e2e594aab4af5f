package main

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vsockets.dev/internal/cp"
)

// attachWithin is how long a process that attaches may say nothing: vswitch.attachTimeout.
const attachWithin = 10 * time.Second

// TestServersWithoutDescriptors leaves a command that serves no descriptor. Who connects waits,
// and is served when there are some; the log says so in one line; and the command goes on.
func TestServersWithoutDescriptors(t *testing.T) {
	for _, tc := range []struct {
		name, args, file string // as socketKinds has them; ^ is a folder that has a file
		use              func(c net.Conn, dir string) error
	}{
		{"cp", "cp --stack hybrid:@/s --serve ^ --quiet", "s_6077", func(c net.Conn, dir string) error {
			_, err := cp.Receive(c, "file", filepath.Join(dir, "copy"), new(copyBar))
			return err
		}},
		{"listen", "listen --stack hybrid:@/s any:52 --keep-open --exec cat", "s_52", func(c net.Conn, _ string) error {
			_, err := io.WriteString(c, "echo")
			if err == nil {
				_, err = io.ReadFull(c, make([]byte, 4))
			}
			return err
		}},
		{"bench", "bench serve unix:@/s", "s", func(c net.Conn, _ string) error {
			// What is no request ends its connection.
			_, err := c.Write(make([]byte, 1024))
			if err == nil {
				_, _ = io.ReadAll(c)
			}
			return err
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir, files := t.TempDir(), t.TempDir()
			if err := os.WriteFile(filepath.Join(files, "file"), []byte("text"), 0o600); err != nil {
				t.Fatal(err)
			}
			cmd, _ := toolIn(t, strings.ReplaceAll(tc.args, "^", files), dir)
			var stderr lockedBuffer
			cmd.Stderr = &stderr
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			p := &switchProcess{t: t, dir: dir, cmd: cmd}
			t.Cleanup(func() {
				if cmd.ProcessState == nil {
					_ = cmd.Process.Kill()
					_ = cmd.Wait()
				}
			})
			dial := func() (c net.Conn) {
				eventually(t, "it listens", func() (ok bool) {
					var err error
					c, err = net.Dial("unix", filepath.Join(dir, tc.file))
					return err == nil
				})
				_ = c.SetDeadline(time.Now().Add(switchLimit))
				return c
			}
			use := func(when string, c net.Conn) {
				defer c.Close()
				if err := tc.use(c, t.TempDir()); err != nil {
					t.Errorf("%s: %v", when, err)
				}
			}
			use("before", dial())
			was := p.limit(unix.RLIMIT_NOFILE, 3) // it has more, so that there is none left
			c := dial()
			eventually(t, "the log says that connections wait", func() bool { return strings.Contains(stderr.String(), "connections wait") })
			p.limit(unix.RLIMIT_NOFILE, was)
			use("the one that waited", c)
			use("after that", dial())
			if n := strings.Count(stderr.String(), "connections wait"); n != 1 {
				t.Errorf("logged %d times: %s", n, &stderr)
			}
			if err := p.end(syscall.SIGTERM); err != nil {
				t.Errorf("it ends with %v: %s", err, &stderr)
			}
		})
	}
}

// TestSilentEnds has a process connect to an attach socket and say nothing: its time is up,
// and its CID is another's. One that has begun stays.
func TestSilentEnds(t *testing.T) {
	p := startSwitch(t, switchFolder(t), "--attach", "$/attach,cids=1000-1001")
	stays := openContext(t, p.path("attach"))
	begun := time.Now()
	silent, err := net.Dial("unix", p.path("attach"))
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	_ = silent.SetReadDeadline(begun.Add(attachWithin + goneWithin))
	n, err := silent.Read(make([]byte, 1))
	if took := time.Since(begun); n != 0 || os.IsTimeout(err) || took < attachWithin {
		t.Errorf("it reads %d bytes, %v after %v", n, err, took)
	}
	eventually(t, "the log says why", func() bool { return p.logged("has not set up its device") == 1 })
	next := openContext(t, p.path("attach"))
	if cid, err := next.LocalCID(); cid != 1001 || err != nil {
		t.Errorf("the next one is %d, %v", cid, err)
	}
	if cid, err := stays.LocalCID(); cid != 1000 || err != nil {
		t.Errorf("the first one is %d, %v", cid, err)
	}
}
