package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"vsockets.dev/internal/testguest"
)

// typed is a command line that is being written, and the words that can stand at its end.
type typed struct {
	line string // its last word is what has been written of one
	want []string
}

// typedLines are the beginnings of all command lines: each command's flags, the commands
// below it, and the values of flags of which there are few.
func typedLines(t *testing.T) []typed {
	t.Helper()
	parser, err := kong.New(new(commands), kong.Name("vsock"))
	if err != nil {
		t.Fatal(err)
	}
	var all []typed
	var walk func(n *kong.Node, line string)
	walk = func(n *kong.Node, line string) {
		below := typed{line: line}
		for _, child := range n.Children {
			if !child.Hidden {
				below.want = append(below.want, child.Name)
				walk(child, line+child.Name+" ")
			}
		}
		if len(below.want) > 0 {
			all = append(all, below)
			return
		}
		flags := typed{line: line + "--", want: []string{"--help"}}
		for _, f := range slices.Concat(n.AllFlags(false)...) {
			if f.Hidden || f.Name == "help" {
				continue
			}
			flags.want = append(flags.want, "--"+f.Name)
			if f.Enum != "" {
				all = append(all, typed{line + "--" + f.Name + " ", f.EnumSlice()})
			}
		}
		all = append(all, flags)
	}
	walk(parser.Model.Node, "vsock ")
	if len(all) < 25 {
		t.Fatalf("%d lines", len(all))
	}
	return all
}

// shellRuns has a shell run a script, whose arguments are the tool's completion and
// the lines. It answers each line with one of words.
func shellRuns(t *testing.T, shell string, flags []string, script string, lines []typed) [][]string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "_vsock")
	if err := os.WriteFile(path, []byte(runCommand(t, "completion", shell)), 0o600); err != nil {
		t.Fatal(err)
	}
	args := append(flags[:len(flags):len(flags)], script)
	if shell != "fish" {
		args = append(args, shell) // $0
	}
	args = append(args, path)
	for _, l := range lines {
		args = append(args, l.line)
	}
	cmd := exec.CommandContext(t.Context(), testguest.RequireProgram(t, "", shell), args...)
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var all [][]string
	for l := range strings.Lines(string(out)) {
		all = append(all, strings.Fields(l))
	}
	if len(all) != len(lines) {
		t.Fatalf("%d answers to %d lines: %s", len(all), len(lines), out)
	}
	return all
}

// TestShells has shells complete the beginnings of all command lines with what the
// tool writes for them.
func TestShells(t *testing.T) {
	lines := typedLines(t)
	for _, shell := range []struct {
		name   string
		flags  []string
		script string
	}{
		{"bash", []string{"--norc", "--noprofile", "-c"}, `source "$1"; shift
			for line; do
				read -ra COMP_WORDS <<<"$line"; case $line in *" ") COMP_WORDS+=("");; esac
				COMP_CWORD=$((${#COMP_WORDS[@]}-1)); _vsock; echo "${COMPREPLY[@]}"
			done`},
		// compadd is called with what can stand there; the shell chooses from that.
		{"zsh", []string{"-f", "-c"}, `compdef() { }; compadd() { shift; print -r -- $@ }; _files() { print files }
			source "$1"; shift
			for line; do words=(${=line}); [[ $line == *" " ]] && words+=(""); CURRENT=$#words; _vsock; done`},
		{"fish", []string{"--no-config", "-c"}, `source $argv[1]
			for line in $argv[2..]; echo (complete -C $line | string replace -r '\t.*' ''); end`},
	} {
		t.Run(shell.name, func(t *testing.T) {
			for i, got := range shellRuns(t, shell.name, shell.flags, shell.script, lines) {
				want := slices.Clone(lines[i].want)
				slices.Sort(want)
				slices.Sort(got)
				if !slices.Equal(got, want) {
					t.Errorf("%q: %q, want %q", lines[i].line, got, want)
				}
			}
		})
	}
}

// TestManualPages has mandoc look at each command's page: it is sound, and says what
// --help says of flags, examples and exit statuses.
func TestManualPages(t *testing.T) {
	mandoc := testguest.RequireProgram(t, "", "mandoc")
	dir := t.TempDir()
	runCommand(t, "man", dir)
	everyCommand(t, func(t *testing.T, words []string) {
		page := filepath.Join(dir, "vsock-"+strings.Join(words, "-")+".1")
		// Of a test's program, no source and so no date is known.
		out, _ := exec.CommandContext(t.Context(), mandoc, "-T", "lint", "-W", "warning", page).CombinedOutput()
		for l := range strings.Lines(string(out)) {
			if !strings.Contains(l, `missing date, using "": TH`) {
				t.Error(l)
			}
		}
		text, err := exec.CommandContext(t.Context(), mandoc, "-T", "utf8", "-O", "width=500", page).Output()
		if err != nil {
			t.Fatal(err)
		}
		plain := overstruck(string(text))
		help := runCommand(t, append(words[:len(words):len(words)], "--help")...)
		for _, want := range strings.Fields(help) {
			want = strings.TrimRight(want, ",.:;)=")
			if name, _, _ := strings.Cut(want, "="); strings.HasPrefix(name, "--") && !strings.Contains(plain, name) {
				t.Errorf("no %q in:\n%s", name, plain)
			}
		}
		for _, want := range []string{"Examples:", "Exit status:", "OPTIONS", "SYNOPSIS"} {
			if !strings.Contains(plain, want) {
				t.Errorf("no %q in:\n%s", want, plain)
			}
		}
	})
}

// overstruck gives a text without bold and underlined letters, each of which is written
// twice with a backspace between.
func overstruck(s string) string {
	var b []rune
	for _, r := range s {
		if r == '\b' && len(b) > 0 {
			b = b[:len(b)-1]
			continue
		}
		b = append(b, r)
	}
	return string(b)
}
