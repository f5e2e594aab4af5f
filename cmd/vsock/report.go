package main

import (
	"fmt"
	"io"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// report shows steps as they are taken, with a bar for long ones on a terminal.
type report struct {
	out           io.Writer
	json          bool
	steps, failed int
}

// reportedStep is a step for programs.
type reportedStep struct {
	Step    int           `json:"step"`
	Name    string        `json:"name"`
	OK      bool          `json:"ok"`
	Result  string        `json:"result,omitempty"`
	Error   string        `json:"error,omitempty"`
	Elapsed time.Duration `json:"elapsed_ns"`
}

// printf tells people what programs need not know.
func (r *report) printf(format string, args ...any) {
	if !r.json {
		_, _ = fmt.Fprintf(r.out, format, args...)
	}
}

// step takes one step, and shows how it went.
func (r *report) step(name string, f func() (string, error)) {
	r.steps++
	r.printf("%2d. %-72s", r.steps, name)
	start := time.Now()
	result, err := f()
	if r.json {
		s := reportedStep{Step: r.steps, Name: name, OK: err == nil, Result: result, Elapsed: time.Since(start)}
		if err != nil {
			s.Error = err.Error()
		}
		_ = writeJSON(r.out, s)
	}
	if err != nil {
		r.failed++
		r.printf(" FAILED\n    %v\n", err)
		return
	}
	r.printf(" ok\n    %s\n", result)
}

// bar shows how far a transfer has come; without a terminal, nothing.
type bar struct {
	progress *mpb.Progress
	bar      *mpb.Bar
}

func (r *report) bar(total int64) *bar {
	if r.json || !onTerminal(r.out) {
		return &bar{}
	}
	r.printf("\n")
	p := mpb.New(mpb.WithOutput(r.out), mpb.WithWidth(60), mpb.WithRefreshRate(100*time.Millisecond))
	return &bar{progress: p, bar: p.AddBar(total,
		mpb.BarRemoveOnComplete(),
		mpb.PrependDecorators(decor.Counters(decor.SizeB1024(0), "    % .0f / % .0f ")),
		mpb.AppendDecorators(decor.AverageSpeed(decor.SizeB1024(0), " % .0f ")),
	)}
}

func (b *bar) add(n int) {
	if b.bar != nil {
		b.bar.IncrBy(n)
	}
}

func (b *bar) done() {
	if b.bar != nil {
		b.bar.Abort(true)
		b.progress.Wait()
	}
}
