package clidoc

import (
	"fmt"
	"io"
	"strings"

	"github.com/alecthomas/kong"
)

// Shells are those that Completion knows.
var Shells = []string{"bash", "zsh", "fish"}

// Completion writes the script by which a shell completes the command line.
func Completion(w io.Writer, app *kong.Application, shell string) error {
	var b strings.Builder
	switch shell {
	case "bash":
		table(&b, app, "declare -gA", "[%q]=%q")
		fmt.Fprintf(&b, bashFunction, app.Name)
	case "zsh":
		fmt.Fprintf(&b, "#compdef %s\n", app.Name)
		table(&b, app, "typeset -gA", "%q %q")
		fmt.Fprintf(&b, zshFunction, app.Name)
	case "fish":
		fish(&b, app)
	default:
		return fmt.Errorf("%q is no shell that is known; use one of %s", shell, strings.Join(Shells, ", "))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// table writes three tables, by the command's path: the commands below it, its
// flags, and by path and flag what can follow a flag, which is nothing but a file
// where that is not known. An entry has a key and a value.
func table(b *strings.Builder, app *kong.Application, declare, entry string) {
	entry = "  " + entry + "\n"
	sub, flags, values := new(strings.Builder), new(strings.Builder), new(strings.Builder)
	for _, c := range commands(app) {
		path := strings.Join(c.path, "/")
		var names []string
		for _, child := range visible(c.node) {
			names = append(names, child.Name)
		}
		fmt.Fprintf(sub, entry, "/"+path, strings.Join(names, " "))
		names = nil
		for _, f := range c.flags {
			names = append(names, "--"+f.Name)
			if takes, v := takesValue(f); takes {
				fmt.Fprintf(values, entry, "/"+path+" --"+f.Name, strings.Join(v, " "))
				if f.Short != 0 {
					fmt.Fprintf(values, entry, "/"+path+" -"+string(f.Short), strings.Join(v, " "))
				}
			}
		}
		fmt.Fprintf(flags, entry, "/"+path, strings.Join(names, " "))
	}
	for _, t := range []struct{ name, text string }{{"commands", sub.String()}, {"flags", flags.String()}, {"values", values.String()}} {
		fmt.Fprintf(b, "%s _%s_%s=(\n%s)\n", declare, app.Name, t.name, t.text)
	}
}

const bashFunction = `
_%[1]s() {
  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} path=/ i next
  for ((i = 1; i < COMP_CWORD; i++)); do
    next=${path%%/}/${COMP_WORDS[i]}
    [[ -n ${_%[1]s_commands[$next]+x} ]] && path=$next
  done
  COMPREPLY=()
  if [[ -n ${_%[1]s_values["$path $prev"]+x} ]]; then
    if [[ -n ${_%[1]s_values["$path $prev"]} ]]; then
      COMPREPLY=($(compgen -W "${_%[1]s_values["$path $prev"]}" -- "$cur"))
    fi
  elif [[ $cur == -* ]]; then
    COMPREPLY=($(compgen -W "${_%[1]s_flags[$path]}" -- "$cur"))
  elif [[ -n ${_%[1]s_commands[$path]} ]]; then
    COMPREPLY=($(compgen -W "${_%[1]s_commands[$path]}" -- "$cur"))
  fi
}
complete -o bashdefault -o default -F _%[1]s %[1]s
`

const zshFunction = `
_%[1]s() {
  local cur=$words[CURRENT] path_=/ i next key
  for ((i = 2; i < CURRENT; i++)); do
    next=${path_%%/}/$words[i]
    (( ${+_%[1]s_commands[$next]} )) && path_=$next
  done
  key="$path_ $words[CURRENT-1]"
  if (( ${+_%[1]s_values[$key]} )); then
    if [[ -n ${_%[1]s_values[$key]} ]]; then compadd -- ${=_%[1]s_values[$key]}; else _files; fi
  elif [[ $cur == -* ]]; then
    compadd -- ${=_%[1]s_flags[$path_]}
  elif [[ -n ${_%[1]s_commands[$path_]} ]]; then
    compadd -- ${=_%[1]s_commands[$path_]}
  else
    _files
  fi
}
if [[ $funcstack[1] == _%[1]s ]]; then _%[1]s "$@"; else compdef _%[1]s %[1]s; fi
`

// fish writes a line for each word, with its help.
func fish(b *strings.Builder, app *kong.Application) {
	quote := func(s string) string {
		return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(s) + "'"
	}
	all := commands(app)
	for _, c := range all {
		var when []string
		for _, p := range c.path {
			when = append(when, "__fish_seen_subcommand_from "+p)
		}
		for _, f := range c.flags {
			line := fmt.Sprintf("complete -c %s -l %s", app.Name, f.Name)
			if len(when) > 0 {
				line += " -n " + quote(strings.Join(when, "; and "))
			} else {
				line += " -n __fish_use_subcommand"
			}
			if f.Short != 0 {
				line += " -s " + string(f.Short)
			}
			if takes, values := takesValue(f); len(values) > 0 {
				line += " -x -a " + quote(strings.Join(values, " "))
			} else if takes {
				line += " -r"
			}
			fmt.Fprintf(b, "%s -d %s\n", line, quote(firstSentence(f.Help)))
		}
		below := visible(c.node)
		var names []string
		for _, child := range below {
			names = append(names, child.Name)
		}
		if len(below) > 0 {
			here := "__fish_use_subcommand"
			if len(when) > 0 {
				here = strings.Join(when, "; and ") + "; and not __fish_seen_subcommand_from " + strings.Join(names, " ")
			}
			for _, child := range below {
				fmt.Fprintf(b, "complete -c %s -f -n %s -a %s -d %s\n", app.Name, quote(here), child.Name, quote(firstSentence(child.Help)))
			}
		}
	}
}
