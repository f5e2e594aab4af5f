package main

import (
	"fmt"
	"io"
	"os"

	"vsockets.dev/internal/bench/compare"
)

// benchRender shows measurements that are stored.
type benchRender struct {
	File  string `arg:"" help:"What compare --json printed."`
	Scale string `help:"What scale --json printed." placeholder:"FILE"`
	Relay string `help:"What relay --json printed." placeholder:"FILE"`
	Guest string `help:"What guest --json printed." placeholder:"FILE"`
	SVG   string `name:"svg" help:"Write a picture here." placeholder:"FILE"`
	Doc   string `help:"Write tables between the markers of this Markdown file." placeholder:"FILE"`
}

// Help is what --help shows beside the flags.
func (*benchRender) Help() string {
	return `Examples:

  vsock bench render report.json

  vsock bench render report.json --svg picture.svg

` + exitHelp
}

// Run renders.
func (b *benchRender) Run(out io.Writer) error {
	rep, err := parseFile(b.File, compare.ParseReport)
	if err != nil {
		return err
	}
	parts, err := b.parts()
	if err != nil {
		return err
	}
	if b.SVG == "" && b.Doc == "" {
		text := rep.Table()
		for _, p := range parts {
			text += "\n" + p.Table()
		}
		_, err = io.WriteString(out, text)
		return err
	}
	if b.SVG != "" {
		if err := os.WriteFile(b.SVG, rep.SVG(), 0o644); err != nil {
			return err
		}
	}
	if b.Doc != "" {
		return rewriteDoc(b.Doc, append([]part{rep}, parts...))
	}
	return nil
}

// part is a report that has tables of its own.
type part interface {
	Table() string
	Rewrite(doc []byte) ([]byte, error)
}

// parts are the reports beside the comparison.
func (b *benchRender) parts() (all []part, err error) {
	for _, p := range []struct {
		path  string
		parse func(path string) (part, error)
	}{
		{b.Scale, func(path string) (part, error) { return parseFile(path, compare.ParseScale) }},
		{b.Relay, func(path string) (part, error) { return parseFile(path, compare.ParseRelay) }},
		{b.Guest, func(path string) (part, error) { return parseFile(path, compare.ParseGuest) }},
	} {
		if p.path == "" {
			continue
		}
		rep, err := p.parse(p.path)
		if err != nil {
			return nil, err
		}
		all = append(all, rep)
	}
	return all, nil
}

func parseFile[T any](path string, parse func([]byte) (*T, error)) (*T, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	v, err := parse(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return v, nil
}

func rewriteDoc(path string, parts []part) error {
	doc, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	for _, p := range parts {
		if doc, err = p.Rewrite(doc); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return os.WriteFile(path, doc, 0o644)
}
