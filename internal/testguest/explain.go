package testguest

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"vsockets.dev/internal/testguest/channel"
)

// explainLimit is how long a guest whose time is over may take to say what hangs.
const explainLimit = 3 * time.Second

// explain asks a guest whose time is over what hangs, and adds the answer to the
// reason why it is killed. What its programs print goes where their output goes. What
// its processes on the host do is found out before, since the question wakes them.
func (g *Guest) explain(why error) error {
	why = fmt.Errorf("%w; its processes:\n\t%s", why, indent(g.instance.look()))
	stacks := make(chan string, 1)
	g.mu.Lock()
	g.stacks = stacks
	g.mu.Unlock()
	// Not waited for: the line may be stuck.
	go func() { _ = g.instance.conn.Send(channel.KindExplain, 0, nil) }()
	limit := time.NewTimer(explainLimit)
	defer limit.Stop()
	select {
	case text := <-stacks:
		return fmt.Errorf("%w; its agent:\n\t%s", why, indent(strings.TrimSpace(text)))
	case <-limit.C:
		return fmt.Errorf("%w; its agent does not answer: the kernel hangs, or has not come up", why)
	case <-g.received:
		return why
	}
}

func indent(text string) string { return strings.ReplaceAll(text, "\n", "\n\t") }

// timeOver reports whether what ends in the guest ends of explain.
func (g *Guest) timeOver() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.stacks != nil
}

// takeStacks takes what explain has asked for.
func (g *Guest) takeStacks(text string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case g.stacks <- text:
		return nil
	default:
		return errors.New("the guest tells its stacks, and was not asked")
	}
}
