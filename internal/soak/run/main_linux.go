// Command run soaks a switch, see package soak. `make soak` runs it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"vsockets.dev/internal/soak"
	"vsockets.dev/internal/testguest"
)

func main() {
	if stack := os.Getenv(soak.EnvChild); stack != "" {
		if err := soak.Child(stack); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	c := soak.Config{Log: os.Stderr}
	flag.DurationVar(&c.Duration, "time", 10*time.Minute, "how long it works")
	flag.Uint64Var(&c.Seed, "seed", rand.Uint64(), "what is random follows from it")
	flag.StringVar(&c.Tool, "tool", "bin/vsock", "the tool, which is the switch")
	out := flag.String("out", ".cache/soak", "the folder for the report: soak.txt, soak.json, soak.svg and the processes' log")
	flag.Parse()
	for _, m := range []testguest.Machine{testguest.UML, testguest.QEMU61, testguest.QEMU612} {
		if err := m.Available(); err != nil {
			fmt.Fprintf(os.Stderr, "soak: left out: %v: %v\n", m, err)
			continue
		}
		c.Machines = append(c.Machines, m)
	}
	if len(c.Machines) == 0 {
		return errors.New("no guest can be booted here")
	}
	var err error
	if c.Dir, err = os.MkdirTemp("", "soak"); err != nil { // its path is short, as sockets want it
		return err
	}
	defer func() { _ = os.RemoveAll(c.Dir) }()
	if c.Init, err = testguest.Build(ctx, c.Dir, "vsockets.dev/internal/guestpeer/guestinit"); err != nil {
		return err
	}
	if err := os.MkdirAll(*out, 0o755); err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "soak: %v, seed %d\n", c.Duration, c.Seed)
	r, err := soak.Run(ctx, c)
	if log, e := os.ReadFile(filepath.Join(c.Dir, soak.LogName)); e == nil {
		_ = os.WriteFile(filepath.Join(*out, "log"), log, 0o644)
	}
	if err != nil {
		return err
	}
	if err := save(r, *out); err != nil {
		return err
	}
	if n := len(r.Problems); n > 0 {
		return fmt.Errorf("%d problems; the same again: SEED=%d", n, c.Seed)
	}
	return nil
}

// save writes the report into a folder, and shows it.
func save(r *soak.Report, dir string) error {
	for name, write := range map[string]func(io.Writer) error{"soak.txt": r.WriteText, "soak.json": r.WriteJSON, "soak.svg": r.WriteSVG} {
		var b strings.Builder
		if err := write(&b); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(b.String()), 0o644); err != nil {
			return err
		}
	}
	return r.WriteText(os.Stdout)
}
