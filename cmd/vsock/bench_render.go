package main

import (
	"encoding/json"
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
	SVG   string `name:"svg" help:"Write a picture here." placeholder:"FILE"`
	Doc   string `help:"Write tables between the markers of this Markdown file." placeholder:"FILE"`
}

// Run renders.
func (b *benchRender) Run(out io.Writer) error {
	rep, err := parseFile(b.File, compare.ParseReport)
	if err != nil {
		return err
	}
	var scale *compare.ScaleReport
	if b.Scale != "" {
		if scale, err = parseFile(b.Scale, compare.ParseScale); err != nil {
			return err
		}
	}
	var relay *compare.RelayReport
	if b.Relay != "" {
		if relay, err = parseFile(b.Relay, compare.ParseRelay); err != nil {
			return err
		}
	}
	if b.SVG == "" && b.Doc == "" {
		text := rep.Table()
		if scale != nil {
			text += "\n" + scale.Table()
		}
		if relay != nil {
			text += "\n" + relay.Table()
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
		return rewriteDoc(b.Doc, rep, scale, relay)
	}
	return nil
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

func rewriteDoc(path string, rep *compare.Report, scale *compare.ScaleReport, relay *compare.RelayReport) error {
	doc, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if doc, err = rep.Rewrite(doc); err == nil && scale != nil {
		doc, err = scale.Rewrite(doc)
	}
	if err == nil && relay != nil {
		doc, err = relay.Rewrite(doc)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return os.WriteFile(path, doc, 0o644)
}

// printJSON prints a value for programs.
func printJSON(out io.Writer, v any) error {
	e := json.NewEncoder(out)
	e.SetIndent("", " ")
	return e.Encode(v)
}
