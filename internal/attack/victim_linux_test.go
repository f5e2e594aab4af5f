//go:build !race

package attack

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"vsockets.dev/internal/attach"
	"vsockets.dev/vsock"
	"vsockets.dev/vswitch"
)

// victimEnv names the folder for the sockets of the switch that a child process runs.
const victimEnv = "VSOCKETS_ATTACK_VICTIM"

// Contexts and ports of the victim.
const (
	attackerCID = 66   // of the guest's socket
	firstPool   = 2000 // of the attach socket that attackers use
	lastPool    = 2999

	mutePort   = 5000 // accepts, and never reads
	hangPort   = 5001 // never accepts
	sourcePort = 5002 // accepts, and sends without end
	nobodyPort = 5003 // nobody listens
	lurePort   = 5004 // of the attacker, to which the host connects
)

// Sockets, in the victim's folder.
const (
	guestSocket  = "guest"  // of attackerCID
	attackSocket = "attack" // attach, for attackers
	honestSocket = "honest" // attach, for the honest ones
)

// status is what the victim tells of itself.
type status struct {
	At         time.Time
	Flows      []uint64 // bytes that arrived, of each honest flow, all of them right
	Calls      uint64   // connections that were made, used and closed
	Errors     []string
	Contexts   []vswitch.Info
	Heap       uint64
	Goroutines int
	Files      int
}

// victim is the switch with the honest contexts.
type victim struct {
	sw     *vswitch.Switch
	honest *honest
}

// victimMain runs the victim. It says how it is for each line of its standard input, and
// ends with that.
func victimMain(dir string) int {
	if err := runVictim(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func runVictim(dir string) error {
	v := &victim{sw: vswitch.New(vswitch.Config{Log: slog.New(slog.NewTextHandler(os.Stderr, nil))})}
	defer v.sw.Close()
	group := []string{"g"} // all reach all: the worst case
	_, err := v.sw.AddGuest(vswitch.GuestConfig{CID: attackerCID, Socket: filepath.Join(dir, guestSocket), Groups: group})
	_, err2 := v.sw.AddAttach(vswitch.AttachConfig{Socket: filepath.Join(dir, attackSocket), First: firstPool, Last: lastPool, Groups: group})
	_, err3 := v.sw.AddAttach(vswitch.AttachConfig{Socket: filepath.Join(dir, honestSocket), Groups: group})
	if err := errors.Join(err, err2, err3); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if v.honest, err = newHonest(ctx, v.sw.Host(), filepath.Join(dir, honestSocket)); err != nil {
		return err
	}
	if err := v.openPorts(ctx); err != nil {
		return err
	}
	lured := make(chan struct{})
	go func() { defer close(lured); v.lure(ctx) }()
	defer func() { cancel(); <-lured }()
	out := json.NewEncoder(os.Stdout)
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		if in.Text() == endLine {
			v.honest.end()
		}
		if err := out.Encode(v.status()); err != nil {
			return err
		}
	}
	return in.Err()
}

// endLine has the honest ones end their transfers, and count what came of them.
const endLine = "end"

func (v *victim) status() status {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	s := status{
		Contexts: v.sw.Contexts(), Heap: m.HeapAlloc, Goroutines: runtime.NumGoroutine(), Files: openFiles(),
	}
	s.At, s.Flows, s.Calls, s.Errors = time.Now(), v.honest.counts(), v.honest.calls.Load(), v.honest.failed()
	return s
}

func openFiles() int {
	e, _ := os.ReadDir("/proc/self/fd")
	return len(e)
}

// openPorts listens where attackers connect to: on the host, and in an honest context.
func (v *victim) openPorts(ctx context.Context) error {
	for _, s := range []vsock.Stack{v.sw.Host(), v.honest.b} {
		for port, serve := range map[uint32]func(net.Conn){
			mutePort:   func(net.Conn) {},
			hangPort:   nil,
			sourcePort: source,
		} {
			ln, err := vsock.Listen(ctx, s, vsock.Addr{CID: vsock.CIDAny, Port: port})
			if err != nil {
				return err
			}
			if serve == nil {
				continue
			}
			go func() {
				for {
					c, err := ln.Accept()
					if err != nil {
						return
					}
					go serve(c)
				}
			}()
		}
	}
	return nil
}

// lure connects to the attacker over and over, whatever comes of that.
func (v *victim) lure(ctx context.Context) {
	for ctx.Err() == nil {
		once, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
		if c, err := vsock.Dial(once, v.sw.Host(), vsock.Addr{CID: attackerCID, Port: lurePort}); err == nil {
			_ = c.Close()
		}
		cancel()
		<-time.After(callPause)
	}
}

// source sends for as long as it can.
func source(c net.Conn) {
	defer c.Close()
	b := make([]byte, 32<<10)
	for {
		if _, err := c.Write(b); err != nil {
			return
		}
	}
}

// join is a context by the attach socket.
func join(ctx context.Context, path string) (*attach.Stack, error) {
	s, err := attach.Dial(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("an honest context: %w", err)
	}
	return s, nil
}
