package switchd

import (
	"fmt"
	"math"
	"strconv"
)

// Size is an amount, as text a number that may end in K, M or G: powers of 1024.
type Size int

// ParseSize reads a Size. A negative one is no limit.
func ParseSize(s string) (Size, error) {
	digits, shift := s, 0
	if n := len(s); n > 0 {
		switch s[n-1] {
		case 'K', 'k':
			shift = 10
		case 'M', 'm':
			shift = 20
		case 'G', 'g':
			shift = 30
		}
	}
	if shift > 0 {
		digits = s[:len(s)-1]
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is no amount; use a number that may end in K, M or G, or -1 for no limit", s)
	}
	if n > math.MaxInt>>shift || n < math.MinInt>>shift {
		return 0, fmt.Errorf("%q is more than this machine can count; use -1 for no limit", s)
	}
	return Size(n << shift), nil
}

// UnmarshalText reads what ParseSize reads.
func (s *Size) UnmarshalText(text []byte) (err error) {
	*s, err = ParseSize(string(text))
	return err
}

// String gives the shortest text that ParseSize reads back.
func (s Size) String() string {
	for _, unit := range []struct {
		shift  int
		suffix string
	}{{30, "G"}, {20, "M"}, {10, "K"}} {
		if s != 0 && s%(1<<unit.shift) == 0 {
			return strconv.Itoa(int(s>>unit.shift)) + unit.suffix
		}
	}
	return strconv.Itoa(int(s))
}
