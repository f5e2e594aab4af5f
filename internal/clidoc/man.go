package clidoc

import (
	"fmt"
	"io"
	"strings"

	"github.com/alecthomas/kong"
)

// Page is a manual page.
type Page struct {
	Name string // of the file, such as vsock-connect.1
	date string
	cmd  command
	app  *kong.Application
}

// Pages gives a page for the program, and one for each of its commands. The date is the
// program's, as 2006-01-02, or nothing where that is not known.
func Pages(app *kong.Application, date string) []Page {
	var all []Page
	for _, c := range commands(app) {
		all = append(all, Page{c.name(app.Name, "-") + ".1", date, c, app})
	}
	return all
}

// Write writes the page, in man(7).
func (p Page) Write(w io.Writer) error {
	var b strings.Builder
	c := p.cmd
	fmt.Fprintf(&b, ".TH %s 1 %q \"vsockets\" \"vsockets\"\n", strings.ToUpper(roff(c.name(p.app.Name, "-"))), p.date)
	fmt.Fprintf(&b, ".SH NAME\n%s \\- %s\n", roff(c.name(p.app.Name, "-")), roff(strings.TrimSuffix(c.node.Help, ".")))
	b.WriteString(".SH SYNOPSIS\n")
	fmt.Fprintf(&b, "\\fB%s\\fR", roff(c.name(p.app.Name, " ")))
	if len(visible(c.node)) > 0 {
		b.WriteString(" \\fICOMMAND\\fR")
	}
	for _, a := range c.node.Positional {
		name := strings.ToUpper(a.Name)
		if a.Required {
			fmt.Fprintf(&b, " \\fI%s\\fR", roff(name))
		} else {
			fmt.Fprintf(&b, " [\\fI%s\\fR]", roff(name))
		}
	}
	b.WriteString(" [\\fIOPTIONS\\fR]\n")
	if detail := strings.TrimSpace(c.node.Detail); detail != "" {
		b.WriteString(".SH DESCRIPTION\n")
		paragraphs(&b, detail)
	}
	if below := visible(c.node); len(below) > 0 {
		b.WriteString(".SH COMMANDS\n")
		for _, child := range below {
			fmt.Fprintf(&b, ".TP\n\\fB%s\\fR(1)\n%s\n", roff(c.name(p.app.Name, "-")+"-"+child.Name), roff(child.Help))
		}
	}
	if len(c.node.Positional) > 0 {
		b.WriteString(".SH ARGUMENTS\n")
		for _, a := range c.node.Positional {
			fmt.Fprintf(&b, ".TP\n\\fI%s\\fR\n%s\n", roff(strings.ToUpper(a.Name)), roff(a.Help))
		}
	}
	b.WriteString(".SH OPTIONS\n")
	for _, f := range c.flags {
		b.WriteString(".TP\n")
		if f.Short != 0 {
			fmt.Fprintf(&b, "\\fB\\-%c\\fR, ", f.Short)
		}
		fmt.Fprintf(&b, "\\fB%s\\fR", roff("--"+f.Name))
		if takes, _ := takesValue(f); takes {
			fmt.Fprintf(&b, "=\\fI%s\\fR", roff(f.FormatPlaceHolder()))
		}
		fmt.Fprintf(&b, "\n%s", roff(f.Help))
		if len(f.Envs) > 0 {
			fmt.Fprintf(&b, " Default: that of the environment's %s.", roff(strings.Join(f.Envs, ", ")))
		}
		b.WriteByte('\n')
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// paragraphs writes a help text: what is indented is shown as it is, and a line that
// ends in a colon alone before that is its heading.
func paragraphs(b *strings.Builder, text string) {
	for i, p := range strings.Split(text, "\n\n") {
		if i > 0 { // the section's heading has one
			b.WriteString(".PP\n")
		}
		if strings.HasPrefix(p, "  ") {
			fmt.Fprintf(b, ".nf\n.RS 2\n%s\n.RE\n.fi\n", lines(strings.ReplaceAll(p[2:], "\n  ", "\n")))
			continue
		}
		fmt.Fprintf(b, "%s\n", lines(p))
	}
}

func lines(text string) string {
	all := strings.Split(text, "\n")
	for i := range all {
		all[i] = roff(all[i])
	}
	return strings.Join(all, "\n")
}

// roff writes a line so that it means itself.
func roff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`, "\n", " ", "'", `\(aq`, "`", "\\`").Replace(s)
	if strings.HasPrefix(s, ".") {
		s = `\&` + s
	}
	return s
}
