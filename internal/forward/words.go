package forward

import (
	"errors"
	"strings"
)

// SplitWords splits a command line into its words. There is no shell: nothing is
// expanded, and |, ;, < and their like are ordinary characters. Whoever wants a
// shell writes sh -c '...'.
//
// Spaces, tabs and newlines part words. Between single quotes every character
// stands for itself. Between double quotes so do all but \ and ". A backslash
// outside single quotes makes the next character an ordinary one.
func SplitWords(s string) ([]string, error) {
	var (
		words  []string
		word   strings.Builder
		inWord bool
		quote  byte
	)
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '\\' && quote != '\'':
			if i++; i == len(s) {
				return nil, errors.New(`the command ends in a backslash; write \\ for one`)
			}
			word.WriteByte(s[i])
			inWord = true
		case quote != 0 && c == quote:
			quote = 0
		case quote != 0:
			word.WriteByte(c)
		case c == '\'' || c == '"':
			quote, inWord = c, true
		case c == ' ' || c == '\t' || c == '\n':
			if inWord {
				words = append(words, word.String())
				word.Reset()
				inWord = false
			}
		default:
			word.WriteByte(c)
			inWord = true
		}
	}
	switch {
	case quote != 0:
		return nil, errors.New("the command has a quote " + string(quote) + " that is not closed; close it, or write a backslash before it")
	case inWord:
		words = append(words, word.String())
	}
	if len(words) == 0 || words[0] == "" {
		return nil, errors.New("it has no command; write exec:COMMAND, for example exec:cat")
	}
	return words, nil
}
