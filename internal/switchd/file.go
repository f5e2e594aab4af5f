package switchd

import (
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"
)

// maxFile is the size of the largest configuration file that is read: room for all
// the guests of a switch, with everything said about them.
const maxFile = 4 << 20

// LoadFile reads a configuration file.
func LoadFile(path string) (Config, error) {
	f, err := os.Open(path)
	if err != nil {
		return Config{}, fmt.Errorf("configuration: %w", err)
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	switch {
	case err != nil:
		return Config{}, fmt.Errorf("configuration: %w", err)
	case len(text) > maxFile:
		return Config{}, fmt.Errorf("configuration %s: it has more than %d MiB", path, maxFile>>20)
	}
	c, err := ParseFile(string(text))
	if err != nil {
		return Config{}, fmt.Errorf("configuration %s: %w", path, err)
	}
	return c, nil
}

// ParseFile reads the text of a configuration file. A key that it does not know is
// an error, so that a misspelt limit is not silently none.
func ParseFile(text string) (Config, error) {
	c, err := decode(text)
	var fault *fileError
	if errors.As(err, &fault) {
		fault.line = locate(text, fault)
	}
	return c, err
}

// fileError is what is wrong with a file, and where.
type fileError struct {
	line int // 0: not known
	key  string
	text string
}

func (e *fileError) Error() string {
	s := e.text
	if e.key != "" {
		s = e.key + ": " + s
	}
	if e.line > 0 {
		return fmt.Sprintf("line %d: %s", e.line, s)
	}
	return s
}

// unknownKey is the text of an error, with its remedy.
const unknownKey = "there is no such key; docs/SWITCH.md lists them"

func decode(text string) (Config, error) {
	var c Config
	meta, err := toml.Decode(text, &c)
	var bad toml.ParseError
	switch {
	case errors.As(err, &bad):
		return Config{}, &fileError{bad.Position.Line, bad.LastKey, bad.Message}
	case err != nil:
		return Config{}, typeError(err)
	}
	if keys := meta.Undecoded(); len(keys) > 0 {
		return Config{}, &fileError{0, keys[0].String(), unknownKey}
	}
	return c, nil
}

// typeText is how the decoder words that a value is of the wrong type. It gives the
// key and the line in no other way.
var typeText = regexp.MustCompile(`^toml: (?:line (\d+) )?\(last key "(.+)"\): (.*)$`)

func typeError(err error) error {
	m := typeText.FindStringSubmatch(err.Error())
	if m == nil {
		return err
	}
	line, _ := strconv.Atoi(m[1]) // 0, if it does not say
	return &fileError{line, m[2], m[3]}
}

// locate finds the line of a fault. The decoder does not tell it of unknown keys, and
// of keys in an array of tables it tells that of the last table: so the first part
// of the file is looked for that has the same fault.
func locate(text string, fault *fileError) int {
	word := fault.key[strings.LastIndexByte(fault.key, '.')+1:]
	end := 0
	for n := 1; end < len(text); n++ {
		line := text[end:]
		if i := strings.IndexByte(line, '\n'); i >= 0 {
			line = line[:i+1]
		}
		end += len(line)
		if word == "" || !strings.Contains(line, strings.Trim(word, `"'`)) {
			continue
		}
		var same *fileError
		if _, err := decode(text[:end]); errors.As(err, &same) && same.key == fault.key && same.text == fault.text {
			return n
		}
	}
	return fault.line
}
