package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"vsockets.dev/internal/cp"
	"vsockets.dev/internal/relay"
	"vsockets.dev/vsock"
)

// cpPort is the port of vsock cp --serve where none is named.
const cpPort = 6077

// cpCommand copies a file, or serves a folder.
type cpCommand struct {
	stackFlag
	Src      string        `arg:"" optional:"" help:"A file, or CID:/PATH or CID:PORT:/PATH of a vsock cp --serve."`
	Dst      string        `arg:"" optional:"" help:"The same. One of the two is remote."`
	Serve    string        `type:"existingdir" placeholder:"DIR" help:"Give and take files of this folder, and of nothing outside of it."`
	Port     uint32        `default:"6077" help:"With --serve: the port to listen on (default: ${default})."`
	ReadOnly bool          `help:"With --serve: take no files."`
	MaxSize  uint64        `placeholder:"BYTES" help:"With --serve: the largest file that is taken. Default: no limit."`
	Wait     time.Duration `placeholder:"TIME" help:"Try again for so long while nobody is there; with --serve, while the stack is not."`
	Quiet    bool          `short:"q" help:"Show no progress."`
	JSON     bool          `name:"json" help:"Tell the size and the SHA-256 as JSON."`

	stderr io.Writer
}

// Help is what --help shows beside the flags.
func (*cpCommand) Help() string {
	return `Copies a file with its permissions. Its SHA-256 is checked before it appears under its name; until
then, and if anything goes wrong, what was there stays. A local file whose name has a colon is
written with a path: ./3:x. On a terminal, progress is shown.

Examples:

  vsock cp --serve /srv/share

  vsock cp report.pdf 3:/report.pdf

  vsock cp 3:7000:/log/syslog .

` + exitHelp
}

// remoteFile is CID:/PATH or CID:PORT:/PATH.
type remoteFile struct {
	addr vsock.Addr
	name string
}

// parseRemote says whether an argument is remote. What begins with a number or the
// name of a CID and a colon is.
func parseRemote(s string) (*remoteFile, error) {
	cid, rest, ok := strings.Cut(s, ":")
	if !ok || strings.Contains(cid, "/") {
		return nil, nil
	}
	a, err := vsock.ParseAddr(cid + ":" + strconv.Itoa(cpPort))
	if err != nil {
		return nil, nil //nolint:nilerr // a local name, which may have a colon
	}
	if port, name, ok := strings.Cut(rest, ":"); ok {
		if p, err := vsock.ParseAddr(cid + ":" + port); err == nil {
			a, rest = p, name
		}
	}
	if a.CID == vsock.CIDAny || strings.Trim(rest, "/") == "" || strings.HasSuffix(rest, "/") {
		return nil, fmt.Errorf("%q names no file of another machine; write CID:/PATH, for example 3:/etc/motd", s)
	}
	return &remoteFile{a, rest}, nil
}

// Run copies or serves.
func (c *cpCommand) Run(ctx context.Context, out io.Writer) error {
	c.stderr = os.Stderr
	if c.Serve != "" {
		if c.Src != "" {
			return withStatus(exitUsage, errors.New("--serve takes no files to copy; leave one of the two out"))
		}
		if c.JSON {
			return withStatus(exitUsage, errors.New("--json tells of one copy, and --serve of many, on standard error; leave one of the two out"))
		}
		return c.serve(ctx)
	}
	if c.Src == "" || c.Dst == "" {
		return withStatus(exitUsage, errors.New("write what to copy, and to where, for example vsock cp file 3:/file"))
	}
	src, err := parseRemote(c.Src)
	if err != nil {
		return withStatus(exitUsage, err)
	}
	dst, err := parseRemote(c.Dst)
	switch {
	case err != nil:
		return withStatus(exitUsage, err)
	case src != nil && dst != nil:
		return withStatus(exitUsage, errors.New("both files are remote; copy to this machine first"))
	case src == nil && dst == nil:
		return withStatus(exitUsage, errors.New("neither file is remote; write CID:/PATH for the one that is"))
	}
	return c.copy(ctx, src, dst, out)
}

func (c *cpCommand) copy(ctx context.Context, src, dst *remoteFile, out io.Writer) error {
	remote := dst
	if src != nil {
		remote = src
	} else if _, err := os.Stat(c.Src); err != nil {
		return err // before anybody is troubled
	}
	s, conn, err := c.dial(ctx, c.Wait, vsock.Dialer{}, remote.addr)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	defer context.AfterFunc(ctx, func() { _ = relay.Reset(conn) })()
	p := c.progress()
	var done cp.Done
	if dst != nil {
		done, err = cp.Send(conn, c.Src, dst.name, p)
	} else {
		done, err = cp.Receive(conn, src.name, c.Dst, p)
	}
	p.end(err)
	if ctx.Err() != nil {
		return errInterrupted
	}
	if err != nil {
		_ = relay.Reset(conn)
		return copyStatus(err)
	}
	if err := conn.Close(); err != nil {
		return err
	}
	if !c.JSON {
		return nil
	}
	return writeJSON(out, struct {
		Size   uint64 `json:"size"`
		SHA256 string `json:"sha256"`
	}{done.Size, hex.EncodeToString(done.SHA256)})
}

// copyStatus tells a connection that was cut from what one of the machines says.
func copyStatus(err error) error {
	var op *net.OpError
	if errors.As(err, &op) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) || errors.Is(err, cp.ErrChecksum) {
		return withStatus(exitCut, err)
	}
	return err
}

func (c *cpCommand) serve(ctx context.Context) error {
	root, err := os.OpenRoot(c.Serve)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	s, err := c.openWithin(ctx, c.Wait)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	l, err := vsock.Listen(ctx, s, vsock.Addr{CID: vsock.CIDAny, Port: c.Port})
	if err != nil {
		return remedyListen(err)
	}
	if !c.Quiet {
		_, _ = fmt.Fprintf(c.stderr, "vsock: serving %s on %s\n", c.Serve, l.Addr())
	}
	var mu sync.Mutex
	server := cp.Server{Root: root, ReadOnly: c.ReadOnly, MaxSize: c.MaxSize}
	if !c.Quiet {
		server.Log = func(peer net.Addr, op cp.Op, name string, err error) {
			mu.Lock()
			defer mu.Unlock()
			verb := map[cp.Op]string{cp.Put: "took", cp.Get: "gave"}[op]
			if err != nil {
				_, _ = fmt.Fprintf(c.stderr, "vsock: %s: %q failed: %v\n", peer, name, err)
				return
			}
			_, _ = fmt.Fprintf(c.stderr, "vsock: %s: %s %q\n", peer, verb, name)
		}
	}
	return c.gone(s, server.Serve(ctx, patientListener(l, c.stderr)))
}

// progress shows how far a copy is, on a terminal.
func (c *cpCommand) progress() *copyBar {
	if c.Quiet || !onTerminal(c.stderr) {
		return &copyBar{}
	}
	return &copyBar{shown: mpb.New(mpb.WithOutput(c.stderr), mpb.WithWidth(40))}
}

// copyBar is a cp.Progress. Without shown, it shows nothing.
type copyBar struct {
	shown *mpb.Progress
	bar   *mpb.Bar
}

// Begin is of cp.Progress.
func (b *copyBar) Begin(size uint64) {
	if b.shown != nil {
		b.bar = b.shown.AddBar(int64(min(size, 1<<62)),
			mpb.PrependDecorators(decor.CountersKibiByte("% .1f / % .1f")),
			mpb.AppendDecorators(decor.AverageSpeed(decor.SizeB1024(0), "% .1f"), decor.Name(" "), decor.AverageETA(decor.ET_STYLE_GO)))
	}
}

// Add is of cp.Progress.
func (b *copyBar) Add(n int) {
	if b.bar != nil {
		b.bar.IncrBy(n)
	}
}

// end leaves the terminal as it is then.
func (b *copyBar) end(err error) {
	if b.bar != nil {
		if err != nil {
			b.bar.Abort(false)
		} else {
			b.bar.SetTotal(-1, true) // an empty file is complete too
		}
	}
	if b.shown != nil {
		b.shown.Wait()
	}
}
