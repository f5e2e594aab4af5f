package main

import (
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"

	"github.com/alecthomas/kong"

	"vsockets.dev/internal/clidoc"
)

// completionCommand writes a shell's completion.
type completionCommand struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

// Help is what --help shows beside the flags.
func (*completionCommand) Help() string {
	return `Examples:

  vsock completion bash >/etc/bash_completion.d/vsock

  vsock completion zsh >~/.zfunc/_vsock

  vsock completion fish >~/.config/fish/completions/vsock.fish

` + exitHelp
}

// Run writes it.
func (c *completionCommand) Run(out io.Writer, k *kong.Context) error {
	return clidoc.Completion(out, k.Model, c.Shell)
}

// sourceDate is the day of the source's last change, if it was built from a repository:
// the same source gives the same pages.
func sourceDate() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.time" {
			day, _, _ := strings.Cut(s.Value, "T")
			return day
		}
	}
	return ""
}

// manCommand writes the manual pages.
type manCommand struct {
	Dir string `arg:"" type:"existingdir" help:"The folder."`
}

// Help is what --help shows beside the flags.
func (*manCommand) Help() string {
	return `Examples:

  vsock man /usr/local/share/man/man1

` + exitHelp
}

// Run writes them.
func (c *manCommand) Run(k *kong.Context) error {
	for _, p := range clidoc.Pages(k.Model, sourceDate()) {
		f, err := os.Create(filepath.Join(c.Dir, p.Name))
		if err != nil {
			return err
		}
		if err := p.Write(f); err != nil {
			_ = f.Close()
			return err
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	return nil
}
