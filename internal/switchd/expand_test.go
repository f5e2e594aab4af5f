package switchd

import "strings"

// expand puts a folder in place of each $.
func expand(text, dir string) string { return strings.ReplaceAll(text, "$", dir) }
