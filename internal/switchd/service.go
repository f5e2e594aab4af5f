package switchd

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// DrainTime is how long the connections of forwards may go on when a Service ends.
const DrainTime = 5 * time.Second

// Service runs a Daemon as a process does. All fields but Files and
// Ready must be set.
type Service struct {
	// Load gives the configuration, at the start and for each reload.
	Load func() (Config, error)

	// Files are what Load reads. Default: none.
	Files []string

	// Reload has the configuration be loaded again: SIGHUP.
	Reload <-chan os.Signal

	// Log gets what happens.
	Log *slog.Logger

	// Ready is called once, when everything listens. Default: nothing is called.
	Ready func(*Daemon)
}

// Run runs until the context ends, and then ends in order. systemd is told of all
// that, if it asked (Type=notify, Type=notify-reload).
func (s *Service) Run(ctx context.Context) error {
	c, err := s.Load()
	if err != nil {
		return err
	}
	in, err := Inherit()
	if err != nil {
		return err
	}
	defer in.Close()
	if c.offReason() == "" {
		// The system's resolver reads more than is left when the switch is confined.
		net.DefaultResolver.PreferGo = true
	}
	d, err := Start(c, Options{Log: s.Log, Inherited: in})
	if err != nil {
		return err
	}
	if err := d.Confine(c, s.Files); err != nil {
		over, cancel := context.WithCancel(context.Background())
		cancel()
		return errors.Join(err, d.Close(over))
	}
	s.notify(daemon.SdNotifyReady + "\nSTATUS=" + d.Summary())
	if s.Ready != nil {
		s.Ready(d)
	}
	for {
		select {
		case <-s.Reload:
			s.reload(d)
		case <-ctx.Done():
			s.notify(daemon.SdNotifyStopping)
			s.Log.Info("ending")
			over, cancel := context.WithTimeout(context.WithoutCancel(ctx), DrainTime)
			defer cancel()
			return d.Close(over)
		}
	}
}

// reload applies the configuration anew. What fails of it is no end of the switch.
func (s *Service) reload(d *Daemon) {
	s.notify(daemon.SdNotifyReloading + "\n" + daemon.SdNotifyMonotonicUsec())
	c, err := s.Load()
	if err == nil {
		err = d.Reload(c)
	}
	status := d.Summary()
	if err != nil {
		s.Log.Error("reload failed", "reason", err)
		status += "; the last reload failed, see the log"
	} else {
		s.Log.Info("reloaded", "now", status)
	}
	s.notify(daemon.SdNotifyReady + "\nSTATUS=" + status)
}

func (s *Service) notify(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		s.Log.Warn("systemd cannot be told", "reason", err)
	}
}
