package test

import (
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"vsockets.dev/adapters/vsockhttp"
	"vsockets.dev/internal/testguest"
	"vsockets.dev/vsock"
)

const (
	original    = "github.com/mdlayher/vsock"
	replacement = "../../compat/vsock"

	// echoPort is where the tests of package mdlayher find an echo of the host.
	echoPort = 1024
)

// TestMdlayher runs those tests twice in a guest.
func TestMdlayher(t *testing.T) {
	sw, guest := boot(t)
	ln, err := vsock.Listen(t.Context(), sw.Host(), vsock.Addr{CID: vsock.CIDAny, Port: echoPort})
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go echo(ln)

	for _, replaced := range []bool{false, true} {
		name := "original"
		if replaced {
			name = "replaced"
		}
		t.Run(name, func(t *testing.T) {
			if replaced {
				replace(t)
			}
			if got := isReplaced(t); got != replaced {
				t.Fatalf("the replacement is in it: %v, want %v", got, replaced)
			}
			program, err := testguest.BuildTest(t.Context(), t.TempDir(), "vsockets.dev/adapters/test/mdlayher")
			if err != nil {
				t.Fatal(err)
			}
			var out strings.Builder
			exit, err := guest.Run(t.Context(), testguest.Command{
				Path: program, Args: []string{"-test.v", "-test.timeout=1m"}, Stdout: &out, Stderr: &out,
			})
			t.Log(out.String())
			if exit != 0 || err != nil {
				t.Errorf("exit status %d, %v", exit, err)
			}
			// nettest leaves out what a kernel's socket is not asked for.
			if strings.Contains(out.String(), "\n--- SKIP") || !strings.Contains(out.String(), "\n--- PASS: TestNet ") {
				t.Error("not every test ran in the guest")
			}
		})
	}
}

func echo(ln *vsock.Listener) {
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		go func() {
			_, _ = io.Copy(c, c)
			_ = c.Close()
		}()
	}
}

// TestNodeExporter builds Prometheus's exporter of a machine's measurements, which
// listens on vSockets by github.com/mdlayher/vsock, with our package in its place; and
// asks it for those of a guest.
func TestNodeExporter(t *testing.T) {
	sw, guest := boot(t)
	replace(t)
	if !isReplaced(t) {
		t.Fatal("the replacement is not in it")
	}
	program := build(t, "github.com/prometheus/node_exporter")
	// Its line about this tells the address, as that package writes it.
	serve(t, guest, "vm(3):9100", program,
		"--web.listen-address=vsock://:9100", "--collector.disable-defaults", "--collector.uname")
	tr := vsockhttp.NewTransport(&vsock.Dialer{Stack: sw.Host()})
	defer tr.CloseIdleConnections()
	got := get(t, &http.Client{Transport: tr}, "vsock://3:9100/metrics")
	if want := `release="` + guest.Kernel() + `"`; !strings.Contains(got, "\nnode_uname_info{") || !strings.Contains(got, want) {
		t.Errorf("no %s in %s", want, got)
	}
}

// replace has all builds of this test use a go.mod with one line more.
func replace(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"go.mod", "go.sum"} {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	mod := filepath.Join(dir, "go.mod")
	if out, err := exec.CommandContext(t.Context(), "go", "mod", "edit", "-replace="+original+"="+replacement, mod).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Setenv("GOFLAGS", os.Getenv("GOFLAGS")+" -modfile="+mod)
}

// isReplaced asks whether what is built now has the replacement in it.
func isReplaced(t *testing.T) bool {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{with .Replace}}{{.Path}}{{end}}", original).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return strings.TrimSpace(string(out)) == replacement
}
