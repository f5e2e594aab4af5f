package clidoc

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"vsockets.dev/internal/testguest"
)

type listenCmd struct {
	Addr string `arg:"" help:"Where to listen."`
	Type string `short:"t" enum:"stream,dgram" default:"stream" help:"The type. There are two."`
	File string `env:"TOOL_FILE" help:"A file's name."`
	Keep bool   `help:"It's kept: .dots and \\slashes."`
}

func (listenCmd) Help() string { return "Listens.\n.Not a macro.\n\nExamples:\n\n  tool listen 'x'" }

type secretCmd struct{}

type cli struct {
	Listen listenCmd `cmd:"" help:"Take connections."`
	Guest  struct {
		Add listenCmd `cmd:"" help:"Add one."`
		Rm  struct{}  `cmd:"" help:"Remove one."`
	} `cmd:"" help:"Guests."`
	Secret secretCmd `cmd:"" hidden:"" help:"Not shown."`
}

func model(t *testing.T) *kong.Application {
	t.Helper()
	k, err := kong.New(new(cli), kong.Name("tool"), kong.Description("A tool."))
	if err != nil {
		t.Fatal(err)
	}
	return k.Model
}

func script(t *testing.T, shell string) (path, text string) {
	t.Helper()
	var b bytes.Buffer
	if err := Completion(&b, model(t), shell); err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), "_tool")
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path, b.String()
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), testguest.RequireProgram(t, "", name), args...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", name, err, out)
	}
	return strings.TrimSpace(string(out))
}

// completions are words, the last of which is being written, and what can stand there.
var completions = []struct{ line, want string }{
	{"l", "listen"},
	{"guest ''", "add rm"},
	{"guest add --k", "--keep"},
	{"listen -t ''", "stream dgram"},
	{"listen --type d", "dgram"},
}

func TestBash(t *testing.T) {
	path, text := script(t, "bash")
	if strings.Contains(text, "secret") {
		t.Error("it shows what is hidden")
	}
	for _, tc := range completions {
		got := run(t, "bash", "--norc", "-c", `source "$1"; eval "COMP_WORDS=(tool $2)"; COMP_CWORD=$((${#COMP_WORDS[@]}-1)); _tool; echo "${COMPREPLY[@]}"`, "bash", path, tc.line)
		if got != tc.want {
			t.Errorf("%s: %q, want %q", tc.line, got, tc.want)
		}
	}
}

func TestZsh(t *testing.T) {
	path, _ := script(t, "zsh")
	for _, tc := range completions {
		// compadd is called with what can stand there; the shell chooses from that.
		got := run(t, "zsh", "-f", "-c", `compdef() { }; compadd() { shift; print -r -- $@ }; _files() { }
			source "$1"; eval "words=(tool $2)"; CURRENT=$#words; _tool`, "zsh", path, tc.line)
		if !strings.Contains(" "+got+" ", " "+strings.Fields(tc.want)[0]+" ") {
			t.Errorf("%s: %q, want %q", tc.line, got, tc.want)
		}
	}
}

func TestFish(t *testing.T) {
	path, _ := script(t, "fish")
	for _, tc := range completions {
		line := "tool " + strings.ReplaceAll(tc.line, "''", "")
		var got []string
		for _, l := range strings.Split(run(t, "fish", "--no-config", "-c", "source $argv[1]; complete -C $argv[2]", path, line), "\n") {
			word, _, _ := strings.Cut(l, "\t")
			got = append(got, word)
		}
		for _, want := range strings.Fields(tc.want) {
			if !strings.Contains(" "+strings.Join(got, " ")+" ", " "+want+" ") {
				t.Errorf("%s: %q, want %q", line, got, want)
			}
		}
	}
}

func TestUnknownShell(t *testing.T) {
	if err := Completion(new(bytes.Buffer), model(t), "csh"); err == nil || !strings.Contains(err.Error(), "bash, zsh, fish") {
		t.Error(err)
	}
}

func TestPages(t *testing.T) {
	dir := t.TempDir()
	var names []string
	for _, p := range Pages(model(t), "2026-01-02") {
		var b bytes.Buffer
		if err := p.Write(&b); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, p.Name), b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		names = append(names, p.Name)
	}
	if got := strings.Join(names, " "); got != "tool.1 tool-listen.1 tool-guest.1 tool-guest-add.1 tool-guest-rm.1" {
		t.Error(got)
	}
	page := filepath.Join(dir, "tool-listen.1")
	text := run(t, "mandoc", "-T", "ascii", page)
	for _, want := range []string{"Take connections", ".Not a macro.", "tool listen 'x'", "It's kept: .dots and \\slashes.", "TOOL_FILE"} {
		if !strings.Contains(text, want) && !strings.Contains(plain(text), want) {
			t.Errorf("no %q in:\n%s", want, plain(text))
		}
	}
	if out := run(t, "mandoc", "-T", "lint", "-W", "warning", page); out != "" {
		t.Error(out)
	}
}

// plain takes the bold and underlined off: each is a character, a backspace and
// another one.
func plain(s string) string {
	var b []rune
	for _, r := range s {
		if r == '\b' {
			b = b[:len(b)-1]
			continue
		}
		b = append(b, r)
	}
	return string(b)
}
