package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vsockets.dev/internal/testguest"
)

const (
	readmePath = "../../README.md"
	// readmeDir is the folder of the README's commands; a test has one of its own.
	readmeDir = "/tmp/vs"
	// shellPrompt is a line of its own, so that no output gets on the same one.
	shellPrompt = "prompt> "
)

// readmeCommand is a command of the README, and the lines that are shown below it.
type readmeCommand struct {
	text string
	want []string
}

// readmeSession takes the commands from the README's chapter about the tool.
func readmeSession(t *testing.T) []readmeCommand {
	t.Helper()
	text, err := os.ReadFile(readmePath)
	if err != nil {
		t.Fatal(err)
	}
	_, chapter, _ := strings.Cut(string(text), "\n## The tool\n")
	_, block, _ := strings.Cut(chapter, "\n```\n")
	block, _, ok := strings.Cut(block, "\n```\n")
	if !ok {
		t.Fatalf("%s has no chapter about the tool with commands", readmePath)
	}
	var all []readmeCommand
	for line := range strings.Lines(block) {
		line = strings.TrimSuffix(line, "\n")
		switch command, ok := strings.CutPrefix(line, "$ "); {
		case ok:
			all = append(all, readmeCommand{text: command})
		case line != "" && len(all) == 0:
			t.Fatalf("%q stands before the first command", line)
		case line != "":
			c := &all[len(all)-1]
			c.want = append(c.want, line)
		}
	}
	return all
}

// readmeVaries are the parts of a line that are another in each run: times, ports that
// the stack chooses, and how much was read when a packet left.
var readmeVaries = []struct{ part, pattern string }{
	{`[A-Z][a-z]{2} [A-Z][a-z]{2} +\d+ \d\d:\d\d:\d\d [A-Z]+ \d{4}`, `\w{3} \w{3} +\d+ \d\d:\d\d:\d\d \w+ \d{4}`},
	{`\d\d:\d\d:\d\d\.\d{6}`, `\d\d:\d\d:\d\d\.\d{6}`},
	{`\d+(\.\d+)?(ns|µs|ms)`, `\d+(\.\d+)?(ns|µs|ms|s)`},
	{`:\d{9,10}\b`, `:\d{4,10}`},
	{`fwd=\d+`, `fwd=\d+`},
}

// readmeLine gives the pattern of a line that the README shows.
func readmeLine(line string) *regexp.Regexp {
	pattern := regexp.QuoteMeta(line)
	for i, v := range readmeVaries {
		// In two steps: what one pattern has is not for the next one to find.
		pattern = regexp.MustCompile(strings.ReplaceAll(v.part, `\.`, `\\\.`)).ReplaceAllLiteralString(pattern, fmt.Sprintf("\x00%d\x00", i))
	}
	for i, v := range readmeVaries {
		pattern = strings.ReplaceAll(pattern, fmt.Sprintf("\x00%d\x00", i), v.pattern)
	}
	return regexp.MustCompile("^" + pattern + "$")
}

// terminalShell is a shell on a terminal, with whom a test talks as a person does.
type terminalShell struct {
	cmd  *exec.Cmd
	near *os.File

	mu      sync.Mutex
	prompts int
	lines   []string // that have been printed, and not been expected yet
}

// jobNotice is what the shell itself says of background jobs.
var jobNotice = regexp.MustCompile(`^\[\d+\][ +-]`)

func startShell(t *testing.T, path, dir string) *terminalShell {
	t.Helper()
	near, far := pty(t)
	// What is typed is not shown again.
	mode, err := unix.IoctlGetTermios(int(far.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	mode.Lflag &^= unix.ECHO
	mode.Oflag &^= unix.OPOST
	if err := unix.IoctlSetTermios(int(far.Fd()), unix.TCSETS, mode); err != nil {
		t.Fatal(err)
	}
	over := context.WithoutCancel(t.Context()) // it is ended below, with what it has started
	s := &terminalShell{near: near, cmd: exec.CommandContext(over, testguest.RequireProgram(t, "", "bash"), "--norc", "--noprofile", "--noediting", "-i")}
	s.cmd.Dir = dir
	s.cmd.Env = append(os.Environ(), toolVar+"=1", "TERM=dumb", "LC_ALL=C", "TZ=UTC", "HISTFILE=", "PS1="+shellPrompt+`\n`,
		"PATH="+path+string(filepath.ListSeparator)+os.Getenv("PATH"), "VSOCK_STACK=switch:"+filepath.Join(dir, "nowhere"))
	s.cmd.Stdin, s.cmd.Stdout, s.cmd.Stderr = far, far, far
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = far.Close() // so that the terminal's end is that of its last process
	read := make(chan struct{})
	go func() {
		defer close(read)
		for l := bufio.NewScanner(near); l.Scan(); {
			s.take(l.Text())
		}
	}()
	t.Cleanup(func() {
		// What is in the foreground is interrupted, and the rest is killed.
		_, _ = near.WriteString("\x03\nkill -KILL $(jobs -p) 2>/dev/null; exit\n")
		stuck := time.AfterFunc(switchLimit, func() { _ = s.cmd.Process.Kill() })
		defer stuck.Stop()
		_ = s.cmd.Wait()
		<-read
	})
	return s
}

func (s *terminalShell) take(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		rest, ok := strings.CutPrefix(line, shellPrompt)
		if !ok {
			break
		}
		s.prompts++
		line = rest
	}
	if line != "" && !jobNotice.MatchString(line) {
		s.lines = append(s.lines, line)
	}
}

// prompted says whether the shell has asked for so many commands.
func (s *terminalShell) prompted(n int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.prompts >= n
}

// expect takes a line away that has been printed, if there is one.
func (s *terminalShell) expect(want *regexp.Regexp) (line string, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.lines, want.MatchString)
	if i < 0 {
		return "", false
	}
	line = s.lines[i]
	s.lines = slices.Delete(s.lines, i, i+1)
	return line, true
}

// unexpected are the lines that are left.
func (s *terminalShell) unexpected() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.lines)
}

// TestReadme types the commands of the README's chapter about the tool into a shell, as
// a person does who waits for what is shown there. All of that appears, and nothing else.
// Its log, go test -v, is what the README shows.
func TestReadme(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	bin, dir := t.TempDir(), filepath.Join(t.TempDir(), "vs")
	if err := os.Symlink(self, filepath.Join(bin, "vsock")); err != nil {
		t.Fatal(err)
	}
	s := startShell(t, bin, bin)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the shell shows also: %q", s.unexpected())
		}
	})
	session := readmeSession(t)
	if len(session) < 10 {
		t.Fatalf("the README has %d commands", len(session))
	}
	for i, c := range session {
		eventually(t, "a prompt", func() bool { return s.prompted(i + 1) })
		if _, err := s.near.WriteString(strings.ReplaceAll(c.text, readmeDir, dir) + "\n"); err != nil {
			t.Fatal(err)
		}
		t.Log("$ " + c.text)
		for _, line := range c.want {
			want := readmeLine(strings.ReplaceAll(line, readmeDir, dir))
			eventually(t, fmt.Sprintf("%q below %q", line, c.text), func() bool {
				got, ok := s.expect(want)
				if ok {
					t.Log(strings.ReplaceAll(got, dir, readmeDir))
				}
				return ok
			})
		}
		eventually(t, "the prompt after "+c.text, func() bool { return s.prompted(i + 2) })
		if left := s.unexpected(); len(left) > 0 {
			t.Errorf("%s: the README does not have %q", c.text, left)
		}
	}
}

// TestReadmeDemo wants the README to have the steps that the demonstration shows.
func TestReadmeDemo(t *testing.T) {
	text, err := os.ReadFile(readmePath)
	if err != nil {
		t.Fatal(err)
	}
	var out, stderr bytes.Buffer
	if status := run(t.Context(), []string{"demo", "--in-process", "--size", "1"}, &out, &stderr); status != exitOK {
		t.Fatalf("status %d: %s", status, &stderr)
	}
	step := regexp.MustCompile(`(?m)^ ?\d+\. (.* ok)$`)
	shown := step.FindAllStringSubmatch(string(text), -1)
	steps := step.FindAllStringSubmatch(out.String(), -1)
	const boots = 2 // steps that the demonstration lacks without guests
	if len(steps) < 10 || len(shown) != len(steps)+boots {
		t.Fatalf("%d steps in the README, and %d without guests", len(shown), len(steps))
	}
	for i, s := range steps {
		if got := shown[boots+i][1]; got != s[1] {
			t.Errorf("the README has %q, not %q", got, s[1])
		}
	}
	if all := fmt.Sprintf("All %d steps held.", len(shown)); !strings.Contains(string(text), all) {
		t.Errorf("the README lacks %q", all)
	}
}
