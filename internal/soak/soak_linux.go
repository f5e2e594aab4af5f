package soak

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"vsockets.dev/internal/switchd"
	"vsockets.dev/internal/testguest"
)

// Config says how long a soak is, and who takes part.
type Config struct {
	Duration time.Duration
	Seed     uint64              // of all that is random
	Machines []testguest.Machine // one guest each
	Tool     string              // the path of vsock
	Init     string              // of the guests: guestpeer/guestinit
	Dir      string              // for sockets, which must be short, and for the log of the switch
	Log      io.Writer           // of what happens
}

const (
	// restEvery is how often all of it stops for a moment, to be measured.
	restEvery = 30 * time.Second

	// sampleEvery is how often the switch is measured while it works.
	sampleEvery = time.Second

	// LogName is the file in Config.Dir that has the output of all processes.
	LogName = "log"
)

// soak is one run.
type soak struct {
	Config
	ctx             context.Context //nolint:containedctx // of all that it does
	sw              *switchProcess
	attach, control string   // paths of the switch's sockets
	output          *os.File // of all processes
	nodes           []*node
	started         time.Time

	resting   sync.RWMutex // read: by who works; written: by who looks what is left
	restStart *Sample      // what there is at the first rest
	mu        sync.Mutex   // of report
	report    *Report
}

// Run soaks, and reports. An error means that there was none; what it found is in
// Report.Problems. The program must call Child first if it has EnvChild.
func Run(ctx context.Context, c Config) (*Report, error) {
	output, err := os.Create(filepath.Join(c.Dir, LogName))
	if err != nil {
		return nil, err
	}
	defer closeAll(output)
	s := &soak{
		Config: c, ctx: ctx, output: output, started: time.Now(), report: newReport(c),
		attach: filepath.Join(c.Dir, "a"), control: filepath.Join(c.Dir, "c"),
	}
	err = s.run()
	s.report.Took = time.Since(s.started)
	s.report.judgeMemory()
	s.judgeLog()
	return s.report, err
}

func (s *soak) run() (err error) {
	guests, err := s.setUp()
	if err != nil {
		return err
	}
	defer func() {
		if e := s.sw.end(); e != nil {
			s.problem("the switch ends with: %v", e)
		}
	}()
	for _, g := range guests {
		if err := s.sw.add(s.ctx, g); err != nil {
			return err
		}
	}
	before, err := s.measure()
	if err != nil {
		return err
	}
	s.report.Before = before
	if err = s.startAll(); err == nil {
		err = s.soak()
	}
	s.leaveAll()
	if err != nil {
		return err
	}
	after, err := s.settled(func(m Sample) bool {
		return m.Open == 0 && m.Goroutines <= before.Goroutines && m.Files <= before.Files
	})
	s.report.After = after
	if err == nil && (after.Open > 0 || after.Goroutines > before.Goroutines || after.Files > before.Files) {
		s.problem("when all have left the switch has %d goroutines, %d descriptors, %d open; before they came %d, %d, 0",
			after.Goroutines, after.Files, after.Open, before.Goroutines, before.Files)
		s.sw.dump() // which its end says as well
	}
	return err
}

// soak is what happens between the start and the end of all.
func (s *soak) soak() error {
	s.note("all are there")
	s.look()
	ctx, cancel := context.WithTimeout(s.ctx, s.Duration)
	defer cancel()
	var work sync.WaitGroup
	for i := range uint64(workers) {
		work.Go(func() { s.work(ctx, rand.New(rand.NewPCG(s.Seed, i))) })
	}
	for i, n := range s.nodes {
		work.Go(func() { s.faults(ctx, n, rand.New(rand.NewPCG(s.Seed, 1000+uint64(i)))) })
	}
	work.Go(func() {
		for pause(ctx, sampleEvery) {
			s.sample()
		}
	})
	for pause(ctx, restEvery) {
		s.look()
	}
	work.Wait()
	s.look()
	return s.ctx.Err()
}

// setUp starts the switch, and makes the nodes.
func (s *soak) setUp() (guests []switchd.GuestSpec, err error) {
	for i, m := range s.Machines {
		g, spec := s.guestNode(uint32(firstCID+i), m)
		s.nodes = append(s.nodes, g, s.hybridNode(g, spec))
		guests = append(guests, spec)
	}
	for i := range attachedCount {
		s.nodes = append(s.nodes, s.attachedNode(fmt.Sprintf("process %d", i+1)))
	}
	return guests, s.startSwitch("--control", s.control, "--attach", s.attach+",groups="+group)
}

// startAll starts all at once.
func (s *soak) startAll() error {
	errs := make([]error, len(s.nodes))
	var all sync.WaitGroup
	for i, n := range s.nodes {
		all.Go(func() { errs[i] = n.begin(s.ctx) })
	}
	all.Wait()
	return errors.Join(errs...)
}

// leaveAll ends all in good order.
func (s *soak) leaveAll() {
	var all sync.WaitGroup
	for _, n := range s.nodes {
		all.Go(func() {
			up := n.view().up
			if err := n.leave(); err != nil && up && s.ctx.Err() == nil {
				s.problem("%s ends with: %v", n.name, err)
			}
		})
	}
	all.Wait()
}

// judgeLog looks for a panic that some recovered from, and for data races.
func (s *soak) judgeLog() {
	b, err := os.ReadFile(s.output.Name())
	if err != nil {
		s.problem("%v", err)
	}
	for _, bad := range []string{"panic: ", "WARNING: DATA RACE", "fatal error: "} {
		if strings.Contains(string(b), bad) {
			s.problem("the log has %q: see %s", bad, s.output.Name())
		}
	}
}

// note logs what happens.
func (s *soak) note(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, _ = fmt.Fprintf(s.Log, "%8.3f  %s\n", time.Since(s.started).Seconds(), fmt.Sprintf(format, args...))
}

// problem is what fails the soak.
func (s *soak) problem(format string, args ...any) {
	s.note("PROBLEM: "+format, args...)
	text := fmt.Sprintf("after %v: ", time.Since(s.started).Round(time.Millisecond)) + fmt.Sprintf(format, args...)
	s.count(func(r *Report) { r.Problems = append(r.Problems, text) })
}

// count changes the report.
func (s *soak) count(f func(*Report)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(s.report)
}
