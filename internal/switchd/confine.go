package switchd

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"vsockets.dev/internal/confine"
	"vsockets.dev/internal/eventfd"
	"vsockets.dev/internal/forward"
)

// Confinement is what a switch's process has given up.
type Confinement struct {
	confine.State

	// Folders are those in which, and below which, it can open sockets. They bind
	// it where Landlock is not 0.
	Folders []string `json:"folders,omitempty"`

	// Off is why it has given up nothing. Empty: it has.
	Off string `json:"off,omitempty"`

	names bool // it can look up the names of TCP hosts
}

// resolverFolder is what Go's resolver reads: hosts, resolv.conf, nsswitch.conf. Those
// files are replaced while programs run, so that they cannot be named one by one.
const resolverFolder = "/etc"

// offReason says why a configuration is one for a switch that gives up nothing.
func (c Config) offReason() string {
	if c.NoConfine {
		return "no-confine is set"
	}
	for _, f := range c.Forwards {
		if f.To.Kind == forward.Exec {
			return fmt.Sprintf("the forward %s runs a command, and what that needs is not known", f)
		}
	}
	return ""
}

// folders are those that the configuration has sockets in.
func (c Config) folders() []string {
	dirs := slices.Clone(c.ConfineDirs)
	socket := func(path string) {
		if path != "" {
			dirs = append(dirs, filepath.Dir(path))
		}
	}
	for _, g := range c.Guests {
		socket(g.Socket)
		socket(g.Hybrid)
	}
	for _, a := range c.Attach {
		socket(a.Socket)
	}
	for _, f := range c.Forwards {
		if f.From.Kind == forward.Unix {
			socket(f.From.Address)
		}
	}
	socket(c.Control)
	for i, d := range dirs {
		if abs, err := filepath.Abs(d); err == nil {
			dirs[i] = abs
		}
	}
	slices.Sort(dirs)
	return slices.Compact(dirs)
}

// usesTCP says whether a forward has a TCP end, and whether that has a name for a host.
func usesTCP(f forward.Spec) (tcp, named bool) {
	for _, e := range []forward.Endpoint{f.From, f.To} {
		if e.Kind != forward.TCP {
			continue
		}
		tcp = true
		if host, _, err := net.SplitHostPort(e.Address); err == nil {
			if ip, _, _ := strings.Cut(host, "%"); net.ParseIP(ip) == nil {
				named = true
			}
		}
	}
	return tcp, named
}

// needs are what a switch of this configuration goes on using: its folders, and the
// files that it is loaded from again.
func (c Config) needs(files []string) (n confine.Needs, named bool) {
	n.Sockets = c.folders()
	for _, f := range files {
		// Its folder, since an editor puts another file in its place.
		n.Read = append(n.Read, folderOf(f)...)
	}
	for _, f := range c.Forwards {
		tcp, byName := usesTCP(f)
		n.TCP, named = n.TCP || tcp, named || byName
	}
	if named {
		n.Read = append(n.Read, resolverFolder)
		n.Read = append(n.Read, folderOf(filepath.Join(resolverFolder, "resolv.conf"))...)
	}
	return n, named
}

// folderOf gives the folder of a file, and of what it is a link to.
func folderOf(file string) []string {
	dirs := []string{filepath.Dir(file)}
	if to, err := filepath.EvalSymlinks(file); err == nil && filepath.Dir(to) != dirs[0] {
		dirs = append(dirs, filepath.Dir(to))
	}
	return dirs
}

// Confine has this process give up what the configuration does not need, for as long as
// it runs: it is for a process that is a switch and nothing else. The files are those
// that the configuration is loaded from.
func (d *Daemon) Confine(c Config, files []string) error {
	k := Confinement{Off: c.offReason()}
	if k.Off == "" {
		for _, dir := range c.ConfineDirs {
			if i, err := os.Stat(dir); err != nil || !i.IsDir() {
				return fmt.Errorf("confine-dirs: %s is not a folder that is there; create it, or leave it out", dir)
			}
		}
		if err := eventfd.Prepare(); err != nil {
			return err
		}
		n, named := c.needs(files)
		s, err := confine.Apply(n)
		if err != nil {
			return fmt.Errorf("the switch cannot be confined: %w; --no-confine runs it as it is", err)
		}
		k.State, k.Folders, k.names = s, n.Sockets, named
	}
	d.mu.Lock()
	d.confined = &k
	d.mu.Unlock()
	switch {
	case k.Off != "":
		d.log.Warn("not confined", "reason", k.Off)
	case k.Landlock == 0:
		d.log.Warn("confined in part: this kernel has no landlock, so that files are as they were",
			"no_new_privs", k.NoNewPrivs, "capabilities", k.Capabilities)
	default:
		d.log.Info("confined", "landlock_abi", k.Landlock, "folders", k.Folders, "tcp_closed", k.TCPClosed,
			"no_new_privs", k.NoNewPrivs, "capabilities", k.Capabilities)
	}
	return nil
}

// bound is what binds the switch, nil where nothing does. It is also nil where nobody called Confine. It needs mu.
func (d *Daemon) bound() *Confinement {
	if d.confined == nil || d.confined.Off != "" {
		return nil
	}
	return d.confined
}

// allows says why a forward cannot be added to a confined switch. It needs mu.
func (d *Daemon) allows(s forward.Spec) error {
	k := d.bound()
	if k == nil {
		return nil
	}
	tcp, named := usesTCP(s)
	switch {
	case s.To.Kind == forward.Exec:
		return because(ErrConfined, "forward %s: this switch is confined and runs no commands; start it anew with this forward", s)
	case tcp && k.TCPClosed:
		return because(ErrConfined, "forward %s: this switch is confined, and has closed TCP, since it had no forward of TCP when it started; start it anew with this forward, or with --no-confine", s)
	case named && !k.names && k.Landlock > 0:
		return because(ErrConfined, "forward %s: this switch is confined and looks up no names, since it had no forward with one when it started; write an address, or start it anew with this forward", s)
	}
	return nil
}

// explain adds to an error about a socket that its folder is one which the switch has
// given up. It needs mu.
func (d *Daemon) explain(err error, paths ...string) error {
	k := d.bound()
	if k == nil || k.Landlock == 0 || !errors.Is(err, fs.ErrPermission) {
		return err
	}
	for _, p := range paths {
		if p != "" && !k.has(filepath.Dir(p)) {
			return because(ErrConfined, "%w; this switch is confined to %s: use one of these, or start it anew with --confine-dir %s or --no-confine",
				err, strings.Join(k.Folders, ", "), filepath.Dir(p))
		}
	}
	return err
}

// has says whether a folder is one of the switch's.
func (k *Confinement) has(dir string) bool {
	dir = realPath(dir)
	return slices.ContainsFunc(k.Folders, func(f string) bool {
		rel, err := filepath.Rel(realPath(f), dir)
		return err == nil && filepath.IsLocal(rel)
	})
}

func realPath(path string) string {
	if r, err := filepath.EvalSymlinks(path); err == nil {
		path = r
	}
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	return path
}

// changedConfinement says that a Reload does not change it. It needs mu.
func (d *Daemon) changedConfinement(c Config) {
	k := d.confined
	if k == nil {
		return
	}
	if c.NoConfine && k.Off == "" || c.offReason() == "" && k.Off != "" {
		d.log.Warn("what confines this switch cannot change while it runs; start it anew for that")
	}
	for _, dir := range c.ConfineDirs {
		if k.Off == "" && k.Landlock > 0 && !k.has(dir) {
			d.log.Warn("a folder of confine-dirs is new, and counts from the next start on", "folder", dir)
		}
	}
}
