package test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"vsockets.dev/internal/testguest"
	"vsockets.dev/vsock"
)

// socatPort is where socat listens in the guest.
const socatPort = 4321

// socatScript is what socat joins to a connection: it sends a file, takes what comes
// at the same time, and after the end of that tells the SHA-256 of it.
const socatScript = `exec 3<&0
sha256sum <&3 >/tmp/sum &
cat '%s'
wait
cat /tmp/sum
`

// TestSocat has socat, from Debian, in a guest talk to a program on the host.
func TestSocat(t *testing.T) {
	socat := testguest.RequireProgram(t, testguest.EnvSocat, "socat")
	sw, guest := boot(t)

	dir := t.TempDir() // the guest has the host's files
	data := make([]byte, amount)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(data)
	file, script := filepath.Join(dir, "data"), filepath.Join(dir, "script")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(script, fmt.Appendf(nil, socatScript, file), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(t *testing.T, awaited, address string) *program {
		// -t: how long to wait for the other direction after the end of one.
		return start(t, guest, awaited, socat, "-d", "-d", "-t", "10", address, "EXEC:/bin/sh "+script)
	}

	t.Run("VSOCK-CONNECT", func(t *testing.T) {
		l, err := vsock.Listen(t.Context(), sw.Host(), vsock.Addr{CID: vsock.CIDAny, Port: vsock.PortAny})
		if err != nil {
			t.Fatal(err)
		}
		p := run(t, "", fmt.Sprintf("VSOCK-CONNECT:%d:%d", vsock.CIDHost, l.Addr().(vsock.Addr).Port))
		go func() { // a socat that fails never connects
			<-p.ended
			_ = l.Close()
		}()
		c, err := l.AcceptConn()
		if err != nil {
			t.Fatal(err)
		}
		exchange(t, c, data)
		p.wait()
	})
	t.Run("VSOCK-LISTEN", func(t *testing.T) {
		p := run(t, "listening on", fmt.Sprintf("VSOCK-LISTEN:%d", socatPort))
		c, err := vsock.Dial(t.Context(), sw.Host(), vsock.Addr{CID: guestCID, Port: socatPort})
		if err != nil {
			t.Fatal(err)
		}
		exchange(t, c, data)
		p.wait()
	})
	t.Run("refused", func(t *testing.T) {
		exit, err := guest.Run(t.Context(), testguest.Command{Path: socat, Args: []string{"-u", "OPEN:/dev/null", "VSOCK-CONNECT:2:9"}})
		if exit != 1 || err != nil {
			t.Errorf("exit status %d, %v", exit, err)
		}
	})
}

// exchange sends to the script, and at the same time takes what it sends.
func exchange(t *testing.T, c *vsock.Conn, data []byte) {
	t.Helper()
	defer c.Close()
	sent := make(chan error, 1)
	go func() {
		_, err := c.Write(data)
		if err == nil {
			err = c.CloseWrite()
		}
		sent <- err
	}()
	got, err := io.ReadAll(c)
	if err != nil {
		t.Error(err)
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
	if len(got) < len(data) || !bytes.Equal(got[:len(data)], data) {
		t.Fatalf("%d bytes came, which are not what was sent", len(got))
	}
	want := fmt.Sprintf("%x  -\n", sha256.Sum256(data))
	if answer := string(got[len(data):]); answer != want {
		t.Errorf("the script says that it took %q, want %q", answer, want)
	}
}
