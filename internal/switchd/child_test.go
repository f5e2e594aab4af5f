package switchd

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"strconv"
	"syscall"
)

// serveChild is a process as systemd starts it. It says itself that the sockets are
// for it, since its parent could not know its number before.
func serveChild(file string) error {
	if err := os.Setenv("LISTEN_PID", strconv.Itoa(os.Getpid())); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	reload := make(chan os.Signal, 1)
	signal.Notify(reload, syscall.SIGHUP)
	s := Service{
		Load:   func() (Config, error) { return LoadFile(file) },
		Files:  []string{file},
		Reload: reload,
		Log:    slog.New(slog.NewTextHandler(os.Stderr, nil)),
	}
	return s.Run(ctx)
}
