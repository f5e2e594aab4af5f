package main

import (
	"strconv"
	"strings"
	"testing"

	"vsockets.dev/internal/forward"
	"vsockets.dev/vsock"
)

// FuzzProxyHost has ssh hand over any name of a host, as whoever writes a link to one can
// have it: it names a CID and nothing else, or is refused.
func FuzzProxyHost(f *testing.F) {
	for _, s := range []string{"3", "vsock/3", "vsock%3", "host", "vsock/vsock%3", "any", "4294967295", "4294967296", "3:22", "-3", "", "vsock/"} {
		f.Add(s, uint32(22))
	}
	f.Fuzz(func(t *testing.T, host string, port uint32) {
		c := sshProxyCommand{CID: host, Port: port}
		a, err := c.addr()
		if err != nil {
			return
		}
		if a.Port != port {
			t.Errorf("%q, port %d: it goes to port %d", host, port, a.Port)
		}
		if !strings.HasSuffix(a.String(), ":"+strconv.FormatUint(uint64(port), 10)) && port != vsock.PortAny {
			t.Errorf("%q, port %d: it goes to %v", host, port, a)
		}
	})
}

// FuzzRemote holds the name of a remote file: it is what follows the address, which none
// of it gets into.
func FuzzRemote(f *testing.F) {
	for _, s := range []string{"3:/etc/motd", "3:7000:/var/log", "host:/x", "file", "./3:/x", "3:", "3:/", "any:/x", "3:7000:", "3:70000:/x", "x:y:z", ":", "3:a:b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := parseRemote(s)
		if err != nil || r == nil {
			return
		}
		if r.name == "" || r.addr.CID == vsock.CIDAny || strings.HasSuffix(r.name, "/") {
			t.Errorf("%q is %q at %v", s, r.name, r.addr)
		}
		before, found := strings.CutSuffix(s, ":"+r.name)
		if !found || strings.Contains(before, "/") {
			t.Errorf("%q is %q at %v", s, r.name, r.addr)
		}
	})
}

// FuzzForwards reads any file of forwards. What is taken is complete.
func FuzzForwards(f *testing.F) {
	for _, s := range []string{
		"[[forward]]\nforward = 'tcp:80=vsock:3:80'\nallow = ['10.0.0.0/8']\nmax_conns = 5\ndial_timeout = '1s'\nidle_timeout = '10m'\n",
		"[[forward]]\nforward = 'unix:/x=host:1'\n[[forward]]\nforward = 'vsock:1024=exec:cat'\nallow = ['3']\n",
		"[[forward]]\nallow = [1]\n", "[forward]\n", "forward = 1\n", "[[forward]]\nforwards = 'x'\n", "[[forward]]\nidle_timeout = '-1x'\n", "a = [\n", "",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		tables, err := parseForwards("file", text)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "file") {
				t.Errorf("which file, is not said: %v", err)
			}
			return
		}
		for _, table := range tables {
			if table.Forward == (forward.Spec{}) {
				continue // that it is missing is said when it starts
			}
			text := table.Forward.String()
			if again, err := forward.ParseSpec(text); err != nil || again != table.Forward {
				t.Errorf("%s becomes %s, %v", text, again, err)
			}
		}
	})
}
