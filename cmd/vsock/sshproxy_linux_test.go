package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"vsockets.dev/internal/testguest"
	"vsockets.dev/vsock"
	"vsockets.dev/vswitch"
)

// sshdConfig makes keys of a host and a user in a folder, and a configuration in which
// the user may log in.
func sshdConfig(t *testing.T, dir, sshd string) (path string) {
	t.Helper()
	if os.Geteuid() == 0 { // it wants its folder, which a service would make
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"host", "user"} {
		if out, err := exec.CommandContext(t.Context(), "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(dir, name)).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	path = filepath.Join(dir, "sshd_config")
	text := fmt.Sprintf("HostKey %[1]s/host\nAuthorizedKeysFile %[1]s/user.pub\nUsePAM no\nStrictModes no\nPermitRootLogin yes\nPidFile none\n", dir)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), sshd, "-t", "-f", path).CombinedOutput(); err != nil {
		t.Fatalf("sshd does not take its configuration: %v: %s", err, out)
	}
	return path
}

// TestSSH has ssh run a command by way of a context of a switch, and by the Unix socket
// of a virtual machine, which ssh takes over.
func TestSSH(t *testing.T) {
	sshd, ssh := testguest.RequireProgram(t, "", "sshd"), testguest.RequireProgram(t, "", "ssh")
	dir := t.TempDir()
	config := sshdConfig(t, dir, sshd)
	sw, near, far := scriptBed(t)
	guest, machine := filepath.Join(dir, "guest"), filepath.Join(dir, "machine")
	if _, err := sw.AddGuest(vswitch.GuestConfig{CID: 3, Socket: guest, Hybrid: machine}); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, server, proxy string
		options             []string
	}{
		{"switch", near, fmt.Sprintf("--stack %s --wait 10s %d %%p", far, scriptA), nil},
		{"descriptor", "switch:" + guest, fmt.Sprintf("--stack hybrid:%s --fdpass --wait 10s 3 %%p", machine), []string{"-o", "ProxyUseFdpass=yes"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			server := startTool(t, "listen", "--stack", tc.server, "any:22", "--exec", fmt.Sprintf("%s -i -e -f %s", sshd, config))
			cmd := exec.CommandContext(t.Context(), ssh, append(tc.options, "-F", "none", "-i", filepath.Join(dir, "user"),
				"-o", "IdentitiesOnly=yes", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile="+filepath.Join(dir, "known"),
				"-o", fmt.Sprintf("ProxyCommand=%s ssh-proxy %s", self, tc.proxy), "vsock/10", "cat; echo over; exit 7")...)
			cmd.Env = append(os.Environ(), toolVar+"=1")
			question := bytes.Repeat([]byte("all of this comes back\n"), 50_000)
			cmd.Stdin = bytes.NewReader(question)
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			out, err := cmd.Output()
			if cmd.ProcessState.ExitCode() != 7 || string(out) != string(question)+"over\n" {
				t.Errorf("%v, %d bytes: %s", err, len(out), &stderr)
			}
			_ = server.Wait()
			if t.Failed() {
				t.Logf("the server: %s", &server.stderr)
			}
		})
	}
}

// TestSSHProxyFdpass hands a pipe over, and tells of what takes none.
func TestSSHProxyFdpass(t *testing.T) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "ours"), os.NewFile(uintptr(pair[1]), "theirs")
	defer ours.Close()
	defer theirs.Close()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := passFile(theirs, w); err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	b, oob := make([]byte, 1), make([]byte, unix.CmsgSpace(4))
	n, oobn, _, _, err := unix.Recvmsg(int(ours.Fd()), b, oob, unix.MSG_CMSG_CLOEXEC)
	if err != nil || n != 1 {
		t.Fatal(n, err)
	}
	messages, err := syscall.ParseSocketControlMessage(oob[:oobn])
	if err != nil || len(messages) != 1 {
		t.Fatal(messages, err)
	}
	fds, err := syscall.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		t.Fatal(fds, err)
	}
	passed := os.NewFile(uintptr(fds[0]), "passed")
	if _, err := passed.WriteString("through"); err != nil {
		t.Error(err)
	}
	_ = passed.Close()
	if got, err := io.ReadAll(r); string(got) != "through" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if err := passFile(r, r); err == nil || !strings.Contains(err.Error(), "ProxyUseFdpass") {
		t.Errorf("to a pipe: %v", err)
	}
}

func TestSSHProxyErrors(t *testing.T) {
	sw, _, uri := scriptBed(t)
	l, err := vsock.Listen(t.Context(), sw.Host(), vsock.Addr{CID: vsock.CIDAny, Port: 22})
	if err != nil {
		t.Fatal(err)
	}
	echoOn(t, net.Listener(l))
	for _, tc := range []struct {
		args   []string
		status int
		want   string
	}{
		{[]string{"--fdpass", "vsock%2"}, exitUsage, "leave out --fdpass"},
		{[]string{"vm"}, exitUsage, "not a CID"},
		{[]string{"vsock/2", "23"}, exitUnreachable, "refused"},
	} {
		var stdout, stderr bytes.Buffer
		if status := run(t.Context(), append([]string{"ssh-proxy", "--stack", uri}, tc.args...), &stdout, &stderr); status != tc.status || !strings.Contains(stderr.String(), tc.want) {
			t.Errorf("%v: status %d: %s", tc.args, status, &stderr)
		}
	}
}
