package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"vsockets.dev/internal/capture"
	"vsockets.dev/vsock"
)

// jsonCommands are ways to call each command that has --json, so that it succeeds. In
// them, $ stands for a folder with a switch, at which CID 20 has an echo on port 7 and
// CID 21 a vsock cp --serve on port 8. Those that serve are ended when they have said a
// line. Of one that boots guests, only the failure is tried.
var jsonCommands = map[string]struct {
	args     string
	document bool // in place of lines
	serves   bool
	boots    bool   // guests
	fails    string // arguments with which it fails
	status   int
}{
	"demo":          {args: "--in-process --size 1", fails: "--in-process --size 0", status: exitUsage},
	"bench serve":   {args: "unix:$/bench", serves: true, fails: "host:1 --max-conns 0", status: exitUsage},
	"bench run":     {args: "unix:$/server --sizes 64 --time 5ms", fails: "unix:$/none", status: exitUnreachable},
	"bench compare": {args: "--only inproc --rounds 1 --time 5ms", document: true, fails: "--rounds 0", status: exitUsage},
	"bench scale":   {args: "--contexts 1 --conns 10 --streams 2 --rounds 1 --time 5ms --idle-time 5ms", document: true, fails: "--streams 1", status: exitUsage},
	"bench relay":   {args: "--rounds 1 --time 5ms", document: true, fails: "--rounds 0", status: exitUsage},
	"bench guest":   {boots: true, fails: "--rounds 0", status: exitUsage},
	"ps":            {fails: "--control $/none", status: exitUnreachable},
	"guest add":     {args: "cid=6,socket=$/6", fails: "cid=2,socket=$/7", status: exitUsage},
	"guest set":     {args: "5 --groups x", fails: "5", status: exitUsage},
	"cp":            {args: "--wait 5s $/file 21:8:/x", fails: "host:9:/x $/y", status: exitUnreachable},
	"capture":       {args: "-r $/trace", fails: "-r $/none", status: exitFailed},
	"top":           {fails: "--control $/none", status: exitUnreachable},
	"ping":          {args: "-c 2 -i 1ms 20:7", fails: "-c 1 host:9", status: exitUnreachable},
	"info":          {fails: "more", status: exitUsage},
	"doctor":        {fails: "--cid 1", status: exitFailed},
}

// withoutJSON are the commands that have no --json; the help says why.
var withoutJSON = []string{
	"bench render", "switch", "guest rm", "connect", "listen", "forward", "ssh-proxy", "completion", "man",
}

// TestEveryCommandJSON has each command that has --json write it, and fail with it. A new
// command is in one of the two lists.
func TestEveryCommandJSON(t *testing.T) {
	parser, err := kong.New(new(commands), kong.Name("vsock"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range withoutJSON {
		words := strings.Fields(name) // the help names what is below bench and guest by both
		if _, why, _ := strings.Cut(parser.Model.Detail, "Without --json:"); !strings.Contains(why, words[len(words)-1]) {
			t.Errorf("the help does not say why vsock %s has no --json", name)
		}
	}
	b := newJSONBed(t)
	seen := 0
	for _, leaf := range parser.Model.Leaves(true) {
		name := strings.Join(strings.Fields(leaf.Path()), " ")
		has := slices.ContainsFunc(leaf.Flags, func(f *kong.Flag) bool { return f.Name == "json" })
		c, listed := jsonCommands[name]
		if has != listed || has == slices.Contains(withoutJSON, name) {
			t.Errorf("vsock %s: --json %v, in the list of those that have it %v, of those that have none %v",
				name, has, listed, slices.Contains(withoutJSON, name))
		}
		if !has {
			continue
		}
		seen++
		t.Run(name, func(t *testing.T) {
			if !c.boots {
				b.succeeds(t, name, c.args, c.document, c.serves)
			}
			stdout, stderr, status := b.run(t.Context(), t, name, c.fails)
			if status != c.status {
				t.Errorf("%s: status %d, want %d", c.fails, status, c.status)
			}
			jsonLines(t, stdout, 0)
			oneLine(t, stderr, "")
		})
	}
	if seen != len(jsonCommands) {
		t.Errorf("%d commands have --json, and %d are listed", seen, len(jsonCommands))
	}
}

// jsonBed is what the commands talk to.
type jsonBed struct{ dir string }

func newJSONBed(t *testing.T) *jsonBed {
	t.Helper()
	sw := startSwitch(t, switchFolder(t), "--attach", "$/a,cids=20-60,groups=all", "--guest", "cid=5,socket=$/g", "--control", "$/control")
	b := &jsonBed{sw.dir}
	t.Setenv(toolVar, "1") // of the far ends of bench
	t.Setenv("VSOCK_STACK", "switch:"+sw.path("a"))
	t.Setenv("VSOCK_CONTROL", sw.path("control"))
	l, err := vsock.Listen(t.Context(), openContext(t, sw.path("a")), vsock.Addr{CID: vsock.CIDAny, Port: 7})
	if err != nil {
		t.Fatal(err)
	}
	echoOn(t, l)
	startServer(t, "unix:"+sw.path("server"))
	if err := os.Mkdir(sw.path("served"), 0o700); err != nil {
		t.Fatal(err)
	}
	b.serve(t, "cp --serve $/served --port 8 -q")
	if err := os.WriteFile(sw.path("file"), []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	var trace bytes.Buffer
	w, err := capture.NewWriter(&trace, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write(&capture.Packet{Time: time.Unix(1, 0)}); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(sw.path("trace"), trace.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return b
}

// words are a command's, with --json.
func (b *jsonBed) words(name, args string) []string {
	return append(strings.Fields(name+" "+strings.ReplaceAll(args, "$", b.dir)), "--json")
}

func (b *jsonBed) run(ctx context.Context, t *testing.T, name, args string) (stdout, stderr *bytes.Buffer, status int) {
	t.Helper()
	stdout, stderr = new(bytes.Buffer), new(bytes.Buffer)
	return stdout, stderr, run(ctx, b.words(name, args), stdout, stderr)
}

// serve runs a command until the test ends.
func (b *jsonBed) serve(t *testing.T, args string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan int, 1)
	var stderr bytes.Buffer
	go func() {
		ended <- run(ctx, strings.Fields(strings.ReplaceAll(args, "$", b.dir)), new(bytes.Buffer), &stderr)
	}()
	t.Cleanup(func() {
		cancel()
		if status := <-ended; status != exitOK {
			t.Errorf("%s: status %d: %s", args, status, &stderr)
		}
	})
}

func (b *jsonBed) succeeds(t *testing.T, name, args string, document, serves bool) {
	t.Helper()
	if serves {
		p := startTool(t, b.words(name, args)...)
		line, err := bufio.NewReader(p.out).ReadBytes('\n')
		if err != nil {
			t.Fatal(err)
		}
		jsonLines(t, bytes.NewBuffer(line), 1)
		if err := p.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		p.ends(t, exitOK, "")
		return
	}
	stdout, stderr, status := b.run(t.Context(), t, name, args)
	// Whether a machine has a vsock is not the matter here.
	if status != exitOK && (name != "doctor" || status != exitFailed) {
		t.Fatalf("status %d: %s", status, stderr)
	}
	if document {
		if !json.Valid(stdout.Bytes()) {
			t.Errorf("no JSON: %s", stdout)
		}
		return
	}
	jsonLines(t, stdout, 1)
}

// jsonLines wants each line to be JSON, and so many at least.
func jsonLines(t *testing.T, out *bytes.Buffer, atLeast int) {
	t.Helper()
	n := 0
	for line := range bytes.Lines(out.Bytes()) {
		n++
		if !json.Valid(line) {
			t.Errorf("no JSON: %q", line)
		}
	}
	if n < atLeast {
		t.Errorf("%d lines, want %d", n, atLeast)
	}
}
