package vsock

import "testing"

func TestParseVersion(t *testing.T) {
	for in, want := range map[string]uint32{
		"1.0.2.0-k\n": 0x01000002,
		"255.3.65535": 0xff03ffff,
	} {
		if got, err := parseVersion(in); got != want || err != nil {
			t.Errorf("%q: %#x, %v; want %#x", in, got, err, want)
		}
	}
	for _, in := range []string{"", "1", "1.2", "x.1.2", "256.0.0", "1.0.65536"} {
		if got, err := parseVersion(in); err == nil {
			t.Errorf("%q: %#x, want an error", in, got)
		}
	}
}
