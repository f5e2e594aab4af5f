package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"text/tabwriter"
	"time"

	"vsockets.dev/internal/switchd"
	"vsockets.dev/vswitch"
)

// topCommand shows a switch at work.
type topCommand struct {
	controlFlag
	Interval time.Duration `short:"d" default:"1s" help:"The time between two looks."`
	Count    int           `short:"n" placeholder:"N" help:"End after so many looks."`
	Sort     string        `enum:"cid,conns,sent,received,denied" default:"cid" help:"Contexts by cid, conns, sent, received or denied; the largest first but for cid."`
	JSON     bool          `name:"json" help:"Look once, and show all as JSON."`
}

// Help is what --help shows beside the flags.
func (*topCommand) Help() string {
	return `Shows contexts and connections again and again, until a signal. SENT/s and RECEIVED/s are bytes that a
guest or process sends and is sent; the host's are not counted. Connections are shown by who
opened them, as many as fit on the terminal.

Examples:

  vsock top --sort sent

  vsock top --count 1 | head

` + exitHelp
}

// topLook is what the switch is like at a time.
type topLook struct {
	Time        time.Time            `json:"time"`
	Contexts    []switchd.Context    `json:"contexts"`
	Connections []vswitch.Connection `json:"connections"`
}

func (c *topCommand) look(ctx context.Context) (l topLook, err error) {
	client := c.client()
	if l.Contexts, err = client.Contexts(ctx); err != nil {
		return l, err
	}
	l.Time = time.Now()
	l.Connections, err = client.Connections(ctx)
	return l, err
}

// ANSI sequences: the cursor's home, and what is behind it cleared.
const (
	ansiHome     = "\x1b[H"
	ansiClear    = "\x1b[J"
	ansiLineRest = "\x1b[K"
)

// Run looks until the context ends.
func (c *topCommand) Run(ctx context.Context, out io.Writer) error {
	if c.Interval <= 0 || c.Count < 0 {
		return withStatus(exitUsage, errors.New("--interval must be more than 0, and --count not negative"))
	}
	last, err := c.look(ctx)
	if err != nil {
		return err
	}
	if c.JSON {
		return writeJSON(out, last)
	}
	next := time.NewTicker(c.Interval)
	defer next.Stop()
	moving := onTerminal(out)
	for n := 0; c.Count == 0 || n < c.Count; n++ {
		select {
		case <-next.C:
		case <-ctx.Done():
			return nil
		}
		now, err := c.look(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		rows, columns := 0, 0
		if moving {
			rows, columns = terminalSize(out)
		}
		if err := c.show(out, last, now, rows, columns); err != nil {
			return err
		}
		last = now
	}
	return nil
}

// show writes a table, of no more rows and columns than there are; 0 is any number.
// It goes out in one piece, so that it does not flicker.
func (c *topCommand) show(out io.Writer, last, now topLook, rows, columns int) error {
	var text bytes.Buffer
	c.table(&text, last, now)
	var b bytes.Buffer
	if rows > 0 {
		b.WriteString(ansiHome)
	}
	n := 0
	for line := range bytes.Lines(text.Bytes()) {
		if n++; rows > 0 && n == rows { // the last one stays free: no scrolling
			break
		}
		line = bytes.TrimRight(line, " \n")
		if columns > 0 && len(line) > columns {
			line = line[:columns]
		}
		b.Write(line)
		if rows > 0 {
			b.WriteString(ansiLineRest)
		}
		b.WriteByte('\n')
	}
	if rows > 0 {
		b.WriteString(ansiClear)
	}
	_, err := out.Write(b.Bytes())
	return err
}

// rates are what a context does in a second.
type rates struct{ sent, received float64 }

func (c *topCommand) table(out io.Writer, last, now topLook) {
	before := make(map[uint32]switchd.Context)
	for _, x := range last.Contexts {
		before[x.CID] = x
	}
	seconds := max(now.Time.Sub(last.Time).Seconds(), 0.001)
	rate := make(map[uint32]rates)
	for _, x := range now.Contexts {
		b, ok := before[x.CID]
		// Another virtual machine begins at zero again.
		if !ok || x.Sent.Bytes < b.Sent.Bytes || x.Received.Bytes < b.Received.Bytes {
			continue
		}
		rate[x.CID] = rates{float64(x.Sent.Bytes-b.Sent.Bytes) / seconds, float64(x.Received.Bytes-b.Received.Bytes) / seconds}
	}
	contexts := slices.Clone(now.Contexts)
	slices.SortStableFunc(contexts, func(a, b switchd.Context) int {
		switch c.Sort {
		case "conns":
			return cmp.Compare(b.Connections, a.Connections)
		case "sent":
			return cmp.Compare(rate[b.CID].sent, rate[a.CID].sent)
		case "received":
			return cmp.Compare(rate[b.CID].received, rate[a.CID].received)
		case "denied":
			return cmp.Compare(b.Counters.Denied, a.Counters.Denied)
		}
		return cmp.Compare(a.CID, b.CID)
	})
	_, _ = fmt.Fprintf(out, "%s  %d contexts, %d connections\n\n", now.Time.Format(time.TimeOnly), len(contexts), len(now.Connections))
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "CID\tKIND\tSTATE\tCONNS\tSENT/s\tRECEIVED/s\tBUFFERED\tDENIED\tLIMITED\tPID")
	for _, x := range contexts {
		sent, received := "-", "-"
		if r, ok := rate[x.CID]; ok && x.State != switchd.StateLocal {
			sent, received = amount(r.sent), amount(r.received)
		}
		_, _ = fmt.Fprintf(w, "%d\t%s\t%s\t%d\t%s\t%s\t%s\t%d\t%d\t%s\n", x.CID, x.Kind, x.State, x.Connections,
			sent, received, amount(float64(x.Buffered)), x.Counters.Denied, x.Counters.Limited, pidOrDash(x.PID))
	}
	_ = w.Flush()
	if len(now.Connections) == 0 {
		return
	}
	_, _ = fmt.Fprintln(out)
	w = tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "FROM\tTO\tSTATE")
	for _, k := range now.Connections {
		state := "open"
		if k.HalfOpen {
			state = "half-open"
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\n", k.From, k.To, state)
	}
	_ = w.Flush()
}

func pidOrDash(pid int32) string {
	if pid == 0 {
		return "-"
	}
	return strconv.Itoa(int(pid))
}

// amount writes bytes with K, M or G, powers of 1024.
func amount(n float64) string {
	for _, unit := range []string{"", "K", "M", "G"} {
		switch {
		case n < 999.5 && (unit == "" || n >= 99.5):
			return fmt.Sprintf("%.0f%s", n, unit)
		case n < 999.5:
			return fmt.Sprintf("%.1f%s", n, unit)
		}
		n /= 1024
	}
	return fmt.Sprintf("%.0fT", n)
}
