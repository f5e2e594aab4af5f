package switchd

import (
	"math"
	"strconv"
	"testing"
)

func TestParseSize(t *testing.T) {
	for s, want := range map[string]Size{
		"0": 0, "1": 1, "-1": -1, "5K": 5 << 10, "64M": 64 << 20, "1G": 1 << 30, "2k": 2 << 10, "-1G": -1 << 30,
		strconv.Itoa(math.MaxInt): math.MaxInt,
	} {
		got, err := ParseSize(s)
		if got != want || err != nil {
			t.Errorf("%q: %d, %v; want %d", s, got, err, want)
		}
		if again, err := ParseSize(got.String()); again != got || err != nil {
			t.Errorf("%q: %q reads back as %d, %v", s, got, again, err)
		}
	}
	for _, s := range []string{"", "K", "1.5M", "64MB", "0x10", "1 K", "99999999999G", "-99999999999G", "99999999999999999999"} {
		if got, err := ParseSize(s); err == nil {
			t.Errorf("%q: %d", s, got)
		}
	}
}
