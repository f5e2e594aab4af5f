package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"vsockets.dev/internal/forward"
	"vsockets.dev/internal/switchd"
	"vsockets.dev/vsock"
)

// confinement is what the switch says that it has given up.
func (p *switchProcess) confinement() switchd.Confinement {
	p.t.Helper()
	var all []switchd.Context
	if err := json.Unmarshal([]byte(p.tool("ps", "--json")), &all); err != nil || all[0].Confinement == nil {
		p.t.Fatalf("%v: %+v", err, all)
	}
	return *all[0].Confinement
}

// logs waits for a text in the log, that many times.
func (p *switchProcess) logs(text string, times int) {
	p.t.Helper()
	deadline := time.Now().Add(switchLimit)
	for strings.Count(p.stderr.String(), text) < times {
		if time.Now().After(deadline) {
			p.t.Fatalf("the log has not %q, %d times", text, times)
		}
	}
}

// refused has a command fail, and gives what it says.
func (p *switchProcess) refused(args ...string) string {
	p.t.Helper()
	var stdout, stderr bytes.Buffer
	if status := run(p.t.Context(), append(args, "--control", p.path("control")), &stdout, &stderr); status != exitFailed {
		p.t.Errorf("vsock %s: status %d: %s", args, status, &stdout)
	}
	return stderr.String()
}

// confinedFolder is a folder of a switch, the file for it in a folder of its own, and
// folders that are not the switch's.
func confinedFolder(t *testing.T) (dir string, put func(text string)) {
	t.Helper()
	dir = switchFolder(t)
	for _, name := range []string{"conf", "elsewhere", "later"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return dir, func(text string) {
		t.Helper()
		// As an editor does it.
		next := filepath.Join(dir, "conf", "next")
		if err := os.WriteFile(next, []byte(strings.ReplaceAll(text, "$", dir)), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(next, filepath.Join(dir, "conf", "file")); err != nil {
			t.Fatal(err)
		}
	}
}

// TestConfined has a switch serve, and not get at anything that it does not serve.
func TestConfined(t *testing.T) {
	dir, put := confinedFolder(t)
	served := filepath.Join(dir, "served")
	if err := os.Mkdir(served, 0o700); err != nil {
		t.Fatal(err)
	}
	put("")
	if err := os.WriteFile(filepath.Join(dir, "elsewhere", "file"), []byte("verbose = true"), 0o600); err != nil {
		t.Fatal(err)
	}
	// Where a forward leads to is no folder of the switch.
	if err := os.Rename(filepath.Join(dir, "out"), filepath.Join(dir, "elsewhere", "out")); err != nil {
		t.Fatal(err)
	}
	p := startSwitch(t, dir,
		"--guest", "cid=3,socket=$/served/3", "--attach", "$/served/attach,groups=a", "--control", "$/served/control",
		"--forward", "unix:$/served/in=vsock:1000:1024", "--forward", "host:8080=unix:$/elsewhere/out",
		"--config", "$/conf/file", "--confine-dir", "$/later")
	p.dir = served
	k := p.confinement()
	if k.Landlock == 0 && k.NoNewPrivs {
		t.Skip("this kernel has no landlock: TestConfinedInGuests shows what this does")
	}
	if !slices.Equal(k.Folders, []string{filepath.Join(dir, "later"), served}) || !k.NoNewPrivs || k.Off != "" {
		t.Errorf("%+v", k)
	}
	p.logs("msg=confined landlock_abi=", 1)
	p.kernelAgrees(k)
	process := openContext(t, p.path("attach"))
	p.talk(process)

	t.Run("guests", func(t *testing.T) {
		p.tool("guest", "add", "cid=5,socket="+p.path("5"))
		if err := os.Mkdir(filepath.Join(dir, "later", "vm"), 0o700); err != nil {
			t.Fatal(err)
		}
		p.tool("guest", "add", "cid=6,socket="+filepath.Join(dir, "later", "vm", "6"))
		said := p.refused("guest", "add", "cid=7,socket="+filepath.Join(dir, "elsewhere", "7"))
		if !strings.Contains(said, "confined to "+filepath.Join(dir, "later")+", "+served) || !strings.Contains(said, "--confine-dir") {
			t.Error(said)
		}
		// A reason that is another is not taken for it.
		if said := p.refused("guest", "add", "cid=7,socket="+p.path("none/7")); strings.Contains(said, "confined") {
			t.Error(said)
		}
	})
	t.Run("forwards", func(t *testing.T) {
		client := switchd.NewClient(p.path("control"))
		for text, want := range map[string]error{
			"host:8081=unix:" + dir + "/elsewhere/out":      nil,
			"host:8082=tcp:127.0.0.1:80":                    switchd.ErrConfined,
			"tcp:127.0.0.1:0=host:80":                       switchd.ErrConfined,
			"unix:" + dir + "/elsewhere/in=vsock:1000:1024": switchd.ErrConfined,
			"unix:" + dir + "/later/in=vsock:1000:1024":     nil,
		} {
			spec, err := forward.ParseSpec(text)
			if err != nil {
				t.Fatal(err)
			}
			if k.Landlock < 4 && spec.To.Kind == forward.TCP || k.Landlock < 4 && spec.From.Kind == forward.TCP {
				continue
			}
			if err := client.AddForward(t.Context(), spec); !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", text, err, want)
			}
		}
	})
	t.Run("reload", func(t *testing.T) {
		reload := func() {
			t.Helper()
			if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
				t.Fatal(err)
			}
		}
		put("[[guest]]\ncid = 8\nsocket = '$/served/8'\n")
		reload()
		p.logs("msg=reloaded", 1)
		if all := p.tool("ps"); !strings.Contains(all, p.path("8")) {
			t.Error(all)
		}
		put("[[guest]]\ncid = 8\nsocket = '$/served/8'\n[[guest]]\ncid = 9\nsocket = '$/elsewhere/9'\n")
		reload()
		p.logs("reload failed", 1)
		p.logs("is confined to", 1)
		put("forwards = ['host:8083=exec:true']\n[[guest]]\ncid = 8\nsocket = '$/served/8'\n")
		reload()
		p.logs("reload failed", 2)
		p.logs("runs no commands", 1)
		// Whoever owns this process cannot have it read a file elsewhere.
		link := filepath.Join(dir, "conf", "file")
		if err := errors.Join(os.Remove(link), os.Symlink(filepath.Join(dir, "elsewhere", "file"), link)); err != nil {
			t.Fatal(err)
		}
		reload()
		p.logs("reload failed", 3)
		p.logs("permission denied", 2)
	})
	p.talk(process)
	_ = process.Close()
	if err := p.end(syscall.SIGTERM); err != nil {
		t.Errorf("it ends with %v", err)
	}
	if left, err := os.ReadDir(served); err != nil || len(left) != 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// kernelAgrees asks the kernel what rights the switch has, in each of its threads.
func (p *switchProcess) kernelAgrees(k switchd.Confinement) {
	p.t.Helper()
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", p.cmd.Process.Pid))
	if err != nil || len(tasks) == 0 {
		p.t.Fatal(tasks, err)
	}
	var bits uint64
	for _, c := range k.Capabilities {
		bits |= map[string]uint64{"cap_dac_override": 1 << 1, "cap_net_bind_service": 1 << 10}[c]
	}
	want := fmt.Sprintf("%016x", bits)
	for _, task := range tasks {
		b, err := os.ReadFile(task)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue // the thread has ended
		}
		if err != nil {
			p.t.Fatal(err)
		}
		for _, line := range []string{"NoNewPrivs:\t1\n", "CapPrm:\t" + want, "CapEff:\t" + want, "CapInh:\t0000000000000000"} {
			if !strings.Contains(string(b), line) {
				p.t.Errorf("%s has not %q:\n%s", task, line, b)
			}
		}
	}
}

// TestNotConfined has a switch keep its rights, because it is told to, or because it has to
// run a command.
func TestNotConfined(t *testing.T) {
	for _, tc := range []struct {
		name, off string
		flags     []string
	}{
		{"told", "no-confine is set", []string{"--no-confine"}},
		{"command", "runs a command", []string{"--forward", "host:9=exec:cat"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir, put := confinedFolder(t)
			put("")
			p := startSwitch(t, dir, append([]string{"--control", "$/control", "--config", "$/conf/file", "--attach", "$/attach"}, tc.flags...)...)
			if k := p.confinement(); !strings.Contains(k.Off, tc.off) || k.NoNewPrivs {
				t.Errorf("%+v", k)
			}
			p.logs(`msg="not confined"`, 1)
			p.tool("guest", "add", "cid=7,socket="+filepath.Join(dir, "elsewhere", "7"))
			if tc.name == "command" {
				process := openContext(t, p.path("attach"))
				c, err := vsock.Dial(t.Context(), process, vsock.Addr{CID: vsock.CIDHost, Port: 9})
				if err != nil {
					t.Fatal(err)
				}
				askEcho(t, c)
				_ = c.Close()
			}
			if err := p.end(syscall.SIGTERM); err != nil {
				t.Errorf("it ends with %v", err)
			}
		})
	}
}

// TestConfineErrors has folders for later that are not there.
func TestConfineErrors(t *testing.T) {
	var stdout, stderr bytes.Buffer
	none := filepath.Join(t.TempDir(), "none")
	if status := run(t.Context(), []string{"switch", "--confine-dir", none}, &stdout, &stderr); status != exitFailed || !strings.Contains(stderr.String(), none+" is not a folder") {
		t.Errorf("status %d: %s", status, &stderr)
	}
}
