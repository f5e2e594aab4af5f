// Package clidoc makes completions for shells and manual pages from a command line
// that kong describes, so that they say what --help says.
package clidoc

import (
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// command is a command with what is inherited from those above it.
type command struct {
	path  []string // without the program's name
	node  *kong.Node
	flags []*kong.Flag
}

// name is the program's and the command's, joined.
func (c command) name(app, sep string) string {
	return strings.Join(append([]string{app}, c.path...), sep)
}

// commands gives all, the program itself first.
func commands(app *kong.Application) []command {
	var all []command
	var walk func(n *kong.Node, path []string, flags []*kong.Flag)
	walk = func(n *kong.Node, path []string, flags []*kong.Flag) {
		flags = slices.Clone(flags)
		for _, f := range n.Flags {
			if !f.Hidden {
				flags = append(flags, f)
			}
		}
		all = append(all, command{path, n, flags})
		for _, child := range visible(n) {
			walk(child, append(slices.Clone(path), child.Name), flags)
		}
	}
	walk(app.Node, nil, nil)
	return all
}

// visible gives the commands below one that help shows.
func visible(n *kong.Node) []*kong.Node {
	var all []*kong.Node
	for _, child := range n.Children {
		if child.Type == kong.CommandNode && !child.Hidden {
			all = append(all, child)
		}
	}
	return all
}

// firstSentence is the short form of a help text.
func firstSentence(s string) string {
	if i := strings.Index(s, ". "); i >= 0 {
		s = s[:i]
	}
	return strings.TrimSuffix(s, ".")
}

// takesValue says whether a flag has a value, and which there are, if they are few.
func takesValue(f *kong.Flag) (takes bool, values []string) {
	if f.IsBool() {
		return false, nil
	}
	for _, v := range f.EnumSlice() {
		if v != "" {
			values = append(values, v)
		}
	}
	return true, values
}
