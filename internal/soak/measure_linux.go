package soak

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

const (
	// settleLimit is within what time all is quiet when nobody does anything. What
	// takes longest is the end of a connection whose peer does not answer: 8 s.
	settleLimit = 20 * time.Second

	// askEvery is how often it is asked meanwhile.
	askEvery = 50 * time.Millisecond
)

// Sample is what the switch holds at a moment.
type Sample struct {
	After      float64 // seconds
	Rest       bool    // nobody did anything, and it was quiet
	Goroutines int
	Files      int
	Anonymous  int64 // bytes of memory that is its own: not that of guests
	LiveHeap   int64

	// Open are connections, or what waits, in any context.
	Open int
}

// measure asks the switch and the system.
func (s *soak) measure() (Sample, error) {
	ctx, cancel := context.WithTimeout(s.ctx, callLimit)
	defer cancel()
	p, err := s.sw.Process(ctx)
	if err != nil {
		return Sample{}, fmt.Errorf("soak: the switch's process: %w", err)
	}
	contexts, err := s.sw.Contexts(ctx)
	if err != nil {
		return Sample{}, fmt.Errorf("soak: the switch's contexts: %w", err)
	}
	m := Sample{After: time.Since(s.started).Seconds(), Goroutines: p.Goroutines, LiveHeap: int64(p.LiveHeap)}
	for _, c := range contexts {
		m.Open += c.Connections + c.HalfOpen + c.Buffered
	}
	dir := fmt.Sprintf("/proc/%d/", s.sw.cmd.Process.Pid)
	files, err := os.ReadDir(dir + "fd")
	if err != nil {
		return m, err
	}
	m.Files = len(files)
	m.Anonymous, err = statusField(dir+"status", "RssAnon:")
	return m, err
}

// statusField reads a number of kB from a file of /proc.
func statusField(path, name string) (int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer closeAll(f)
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if words := strings.Fields(lines.Text()); len(words) == 3 && words[0] == name {
			n, err := strconv.ParseInt(words[1], 10, 64)
			return n << 10, err
		}
	}
	return 0, fmt.Errorf("soak: %s has no %s", path, name)
}

// sample measures, and keeps it.
func (s *soak) sample() {
	m, err := s.measure()
	if err != nil {
		if s.ctx.Err() == nil {
			s.problem("%v", err)
		}
		return
	}
	s.count(func(r *Report) { r.Samples = append(r.Samples, m) })
}

// settled measures until it is as wanted, or settleLimit has passed.
func (s *soak) settled(want func(Sample) bool) (Sample, error) {
	give := time.Now().Add(settleLimit)
	for {
		m, err := s.measure()
		if err != nil || want(m) || time.Now().After(give) || !pause(s.ctx, askEvery) {
			return m, err
		}
	}
}

// quiet is what holds when nobody does anything, all nodes being there.
func (s *soak) quiet(start *Sample) (Sample, error) {
	return s.settled(func(m Sample) bool {
		return m.Open == 0 && (start == nil || m.Goroutines <= start.Goroutines && m.Files <= start.Files)
	})
}

// look looks what is left when all rests, and compares with the first time.
func (s *soak) look() {
	s.resting.Lock()
	defer s.resting.Unlock()
	start := s.restStart
	m, err := s.quiet(start)
	if err != nil {
		if s.ctx.Err() == nil {
			s.problem("%v", err)
		}
		return
	}
	m.Rest = true
	if start == nil {
		s.restStart = &m
	}
	s.note("at rest: %d goroutines, %d descriptors, %d open, %d kB", m.Goroutines, m.Files, m.Open, m.Anonymous>>10)
	s.count(func(r *Report) { r.Samples = append(r.Samples, m) })
	if !s.allUp() {
		return // which is a problem already
	}
	if m.Open > 0 {
		s.problem("%d connections or bytes are left %v after all ended", m.Open, settleLimit)
	}
	if start != nil && (m.Goroutines > start.Goroutines || m.Files > start.Files) {
		s.problem("at rest the switch has %d goroutines and %d descriptors; it began with %d and %d",
			m.Goroutines, m.Files, start.Goroutines, start.Files)
	}
}

func (s *soak) allUp() bool {
	for _, n := range s.nodes {
		if !n.view().up {
			return false
		}
	}
	return true
}
