package vhostuser

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

var scripts = map[string]struct {
	script []msg
	calls  []string
}{
	"User Mode Linux": {umlScript(), umlCalls()},
	"QEMU":            {qemuScript(), qemuCalls()},
}

func TestScripts(t *testing.T) {
	for name, tt := range scripts {
		t.Run(name, func(t *testing.T) {
			before := held(t)
			s := serve(t, &recorder{t: t})
			s.do(t, tt.script...)
			if err := s.hangUp(t); err != nil {
				t.Errorf("Serve: %v", err)
			}
			if diff := cmp.Diff(tt.calls, s.calls()); diff != "" {
				t.Errorf("calls (-want +got):\n%s", diff)
			}
			_ = s.front.Close()
			noLeak(t, before)
		})
	}
}

// TestRefused sends what ends a session, with a clear error.
func TestRefused(t *testing.T) {
	ninth := make([]kind, MaxRegions+1)
	for i := range ninth {
		ninth[i] = event
	}
	for name, tt := range map[string]struct {
		before []msg
		m      msg
		want   string // in the error
	}{
		"features not offered":          {nil, msg{r: SetFeatures, payload: u64(1 << 40)}, "not offered"},
		"protocol features not offered": {nil, msg{r: SetProtocolFeatures, payload: u64(1 << 1)}, "not offered"},
		"features of a running queue":   {running, msg{r: SetFeatures, payload: u64(0)}, "running"},
		"unknown request":               {nil, msg{r: 99}, "refused"},
		"unknown request, descriptors":  {nil, msg{r: 99, fds: []kind{memory, event}}, "refused"},
		"request of another feature":    {nil, msg{r: 6, payload: u64(0), fds: []kind{memory}}, "refused"},
		"back-end requests to nowhere":  {nil, msg{r: SetBackendReqFD}, "socket"},
		"back-end requests to a file":   {nil, msg{r: SetBackendReqFD, fds: []kind{file}}, "socket"},
		"back-end requests to two":      {nil, msg{r: SetBackendReqFD, fds: []kind{stream, stream}}, "2 descriptors"},
		"in-band kick":                  {running, msg{r: 35, payload: state(0, 0)}, "refused"},
		"set config":                    {nil, msg{r: SetConfig, payload: guestCID}, "read-only"},
		"config too long":               {nil, msg{r: GetConfig, payload: Config{Data: make([]byte, 8)}.Append(nil)[:15]}, "says 8"},

		"memory without descriptor":  {nil, msg{r: SetMemTable, payload: umlTable}, "descriptors"},
		"memory, too many":           {nil, msg{r: SetMemTable, payload: umlTable, fds: []kind{memory, memory}}, "descriptors"},
		"memory, too few":            {nil, msg{r: SetMemTable, payload: AppendMemTable(nil, twoRegions), fds: []kind{memory}}, "descriptors"},
		"memory, nine":               {nil, msg{r: SetMemTable, payload: umlTable, fds: ninth}, "more than 8"},
		"memory of an eventfd":       {nil, msg{r: SetMemTable, payload: umlTable, fds: []kind{event}}, "SET_MEM_TABLE"},
		"memory past its file":       {nil, msg{r: SetMemTable, payload: AppendMemTable(nil, twoRegions[:1]), fds: []kind{file}}, "SET_MEM_TABLE"},
		"memory of zero regions":     {nil, msg{r: SetMemTable, payload: make([]byte, 8+32)}, "0 regions"},
		"descriptor with GET":        {nil, msg{r: GetFeatures, fds: []kind{event}}, "descriptors"},
		"descriptor with SET":        {nil, msg{r: SetFeatures, payload: u64(0), fds: []kind{event}}, "descriptors"},
		"nine descriptors with GET":  {nil, msg{r: GetFeatures, fds: ninth}, "more than 8"},
		"nine descriptors with KICK": {ready, msg{r: SetVringKick, payload: fdOf(0), fds: ninth}, "more than 8"},

		"size 0":            {nil, msg{r: SetVringNum, payload: state(0, 0)}, "power of two"},
		"size 3":            {nil, msg{r: SetVringNum, payload: state(0, 3)}, "power of two"},
		"size 65536":        {nil, msg{r: SetVringNum, payload: state(0, 65536)}, "power of two"},
		"size, no ring":     {nil, msg{r: SetVringNum, payload: state(testQueues, 256)}, "ring 3"},
		"size, running":     {running, msg{r: SetVringNum, payload: state(0, 256)}, "running"},
		"base 65536":        {nil, msg{r: SetVringBase, payload: state(0, 65536)}, "16 bits"},
		"base, no ring":     {nil, msg{r: SetVringBase, payload: state(1<<31, 0)}, "ring 2147483648"},
		"base, running":     {running, msg{r: SetVringBase, payload: state(0, 0)}, "running"},
		"get base, no ring": {nil, msg{r: GetVringBase, payload: state(1<<32-1, 0)}, "ring 4294967295"},
		"addr, no ring":     {nil, msg{r: SetVringAddr, payload: addr(testQueues)}, "ring 3"},
		"addr, running":     {running, msg{r: SetVringAddr, payload: addr(0)}, "running"},
		"addr, logging":     {nil, msg{r: SetVringAddr, payload: VringAddr{Flags: 1}.Append(nil)}, "logging"},
		"enable, no ring":   {nil, msg{r: SetVringEnable, payload: state(testQueues, 1)}, "ring 3"},
		"enable 2":          {nil, msg{r: SetVringEnable, payload: state(0, 2)}, "neither"},

		"kick without memory":     {ready[:2], msg{r: SetVringKick, payload: fdOf(0), fds: []kind{event}}, "SET_VRING_NUM"},
		"kick without size":       {ready[:3], msg{r: SetVringKick, payload: fdOf(0), fds: []kind{event}}, "SET_VRING_NUM"},
		"kick without addresses":  {ready[:4], msg{r: SetVringKick, payload: fdOf(0), fds: []kind{event}}, "SET_VRING_ADDR"},
		"kick, ring 1 not set up": {ready, msg{r: SetVringKick, payload: fdOf(1), fds: []kind{event}}, "ring 1"},
		"kick, no ring":           {ready, msg{r: SetVringKick, payload: fdOf(testQueues), fds: []kind{event}}, "ring 3"},
		"kick, polling":           {ready, msg{r: SetVringKick, payload: noFD(0)}, "polling"},
		"kick, descriptor less":   {ready, msg{r: SetVringKick, payload: fdOf(0)}, "0 descriptors"},
		"kick, descriptor more":   {ready, msg{r: SetVringKick, payload: noFD(0), fds: []kind{event}}, "1 descriptors"},
		"kick, two":               {ready, msg{r: SetVringKick, payload: fdOf(0), fds: []kind{event, event}}, "2 descriptors"},
		"kick, unknown bits":      {ready, msg{r: SetVringKick, payload: u64(1 << 9), fds: []kind{event}}, "unknown bits"},
		"kick, memory":            {ready, msg{r: SetVringKick, payload: fdOf(0), fds: []kind{memory}}, "not an eventfd"},
		"kick, stream":            {ready, msg{r: SetVringKick, payload: fdOf(0), fds: []kind{stream}}, "not an eventfd"},
		"kick, pipe":              {ready, msg{r: SetVringKick, payload: fdOf(0), fds: []kind{pipe}}, "not an eventfd"},
		"call, no ring":           {nil, msg{r: SetVringCall, payload: fdOf(testQueues), fds: []kind{event}}, "ring 3"},
		"call, memory":            {nil, msg{r: SetVringCall, payload: fdOf(0), fds: []kind{memory}}, "not an eventfd"},
		"call, datagram":          {nil, msg{r: SetVringCall, payload: fdOf(0), fds: []kind{datagram}}, "not an eventfd"},
		"call, pipe":              {nil, msg{r: SetVringCall, payload: fdOf(0), fds: []kind{pipe}}, "not an eventfd"},
		"call, file":              {running, msg{r: SetVringCall, payload: fdOf(0), fds: []kind{file}}, "not an eventfd"},
		"err, no ring":            {nil, msg{r: SetVringErr, payload: fdOf(testQueues), fds: []kind{event}}, "ring 3"},
	} {
		t.Run(name, func(t *testing.T) {
			before := held(t)
			s := serve(t, &recorder{t: t})
			s.do(t, tt.before...)
			if err := tt.m.write(t, s.front); err != nil {
				t.Fatal(err)
			}
			err := s.hangUp(t)
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), "vhostuser: ") {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
			_ = s.front.Close()
			noLeak(t, before)
		})
	}
}

// TestAcknowledged sends the same with and without the flag that asks for an
// acknowledgement, with and without the feature.
func TestAcknowledged(t *testing.T) {
	refused := u64(1)
	for name, tt := range map[string]struct {
		script []msg
		ends   bool // with an error
	}{
		"good":                        {slices.Concat(negotiated, []msg{{r: SetVringNum, payload: state(0, 2), ack: true}}), false},
		"good, not negotiated":        {[]msg{{r: SetVringNum, payload: state(0, 2), ack: true, answer: []byte{}}}, false},
		"negotiates and asks at once": {[]msg{{r: SetProtocolFeatures, payload: protos, ack: true}}, false},
		"has an answer of its own":    {slices.Concat(negotiated, []msg{{r: GetFeatures, ack: true, answer: offered}}), false},
		"refused":                     {slices.Concat(negotiated, []msg{{r: SetConfig, payload: guestCID, ack: true, answer: refused}}), false},
		"unknown":                     {slices.Concat(negotiated, []msg{{r: 99, fds: []kind{event}, ack: true, answer: refused}}), false},
		"unknown, not negotiated":     {[]msg{{r: 99, ack: true}}, true},
		"bad":                         {slices.Concat(negotiated, []msg{{r: SetVringNum, payload: state(0, 3), ack: true, answer: refused}}), true},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, &recorder{t: t})
			last := len(tt.script) - 1
			s.do(t, tt.script[:last]...)
			m := tt.script[last]
			if tt.ends && m.answer == nil || m.answer != nil && len(m.answer) == 0 {
				if err := m.write(t, s.front); err != nil {
					t.Fatal(err)
				}
			} else {
				s.do(t, m)
			}
			_ = s.front.CloseWrite()
			if rest, _ := io.ReadAll(s.front); len(rest) != 0 {
				t.Errorf("%d bytes too many are answered", len(rest))
			}
			if err := s.finish(t); (err != nil) != tt.ends {
				t.Errorf("error %v, want one: %v", err, tt.ends)
			}
		})
	}
}

func TestGetConfig(t *testing.T) {
	s := serve(t, &recorder{t: t})
	ask := func(offset uint32, n int) []byte { return Config{Offset: offset, Data: make([]byte, n)}.Append(nil) }
	failed := []byte{}
	s.do(t,
		msg{r: GetConfig, payload: ask(0, 8), answer: guestCID},
		msg{r: GetConfig, payload: ask(0, 4), answer: Config{Data: testConfig[:4]}.Append(nil)},
		msg{r: GetConfig, payload: ask(6, 2), answer: Config{Offset: 6, Data: testConfig[6:]}.Append(nil)},
		msg{r: GetConfig, payload: ask(8, 0), answer: ask(8, 0)},
		msg{r: GetConfig, payload: ask(0, 9), answer: failed},
		msg{r: GetConfig, payload: ask(8, 1), answer: failed},
		msg{r: GetConfig, payload: ask(1<<32-1, 8), answer: failed},
	)
	if err := s.hangUp(t); err != nil {
		t.Error(err)
	}
}

// TestRings is what the messages of a ring make of it.
func TestRings(t *testing.T) {
	const start = "StartQueue 0 size 256 base 0"
	plain := slices.Clone(ready)
	plain[1].payload = u64(testFeatures) // without FeatureProtocolFeatures
	kick := msg{r: SetVringKick, payload: fdOf(0), fds: []kind{event}}
	for name, tt := range map[string]struct {
		before, script []msg
		calls          []string
	}{
		"starts disabled":                       {ready, []msg{kick}, []string{start}},
		"starts enabled, no protocol":           {plain, []msg{kick}, []string{start, "EnableQueue 0 true"}},
		"is disabled, no protocol":              {plain, []msg{kick, {r: SetVringEnable, payload: state(0, 0)}}, []string{start, "EnableQueue 0 true", "EnableQueue 0 false"}},
		"is enabled before its start":           {ready, []msg{{r: SetVringEnable, payload: state(0, 1)}, kick}, []string{start, "EnableQueue 0 true"}},
		"is enabled and disabled before":        {ready, []msg{{r: SetVringEnable, payload: state(0, 1)}, {r: SetVringEnable, payload: state(0, 0)}, kick}, []string{start}},
		"is enabled twice":                      {ready, []msg{kick, {r: SetVringEnable, payload: state(0, 1)}, {r: SetVringEnable, payload: state(0, 1)}}, []string{start, "EnableQueue 0 true"}},
		"starts at its base":                    {ready, []msg{{r: SetVringBase, payload: state(0, 65535)}, kick}, []string{"StartQueue 0 size 256 base 65535"}},
		"is kicked by another":                  {running, []msg{kick}, []string{"StopQueue 0", "StartQueue 0 size 256 base 5", "EnableQueue 0 true"}},
		"is stopped twice":                      {running, []msg{{r: GetVringBase, payload: state(0, 0), answer: state(0, 5)}, {r: GetVringBase, payload: state(0, 0), answer: state(0, 5)}}, []string{"StopQueue 0"}},
		"goes on where it stopped":              {running, []msg{{r: GetVringBase, payload: state(0, 0), answer: state(0, 5)}, kick}, []string{"StopQueue 0", "StartQueue 0 size 256 base 5", "EnableQueue 0 true"}},
		"never started, is stopped":             {ready, []msg{{r: SetVringBase, payload: state(0, 7)}, {r: GetVringBase, payload: state(0, 0), answer: state(0, 7)}}, nil},
		"keeps its call over a stop":            {running, []msg{{r: SetVringCall, payload: fdOf(0), fds: []kind{event}}, {r: GetVringBase, payload: state(0, 0), answer: state(0, 5)}, kick}, []string{"SetCall 0 true", "StopQueue 0", "StartQueue 0 size 256 base 5", "EnableQueue 0 true"}},
		"is given a call before its start":      {ready, []msg{{r: SetVringCall, payload: fdOf(0), fds: []kind{event}}, {r: SetVringCall, payload: fdOf(0), fds: []kind{stream}}, kick}, []string{start}},
		"is set up anew while disabled":         {running, []msg{{r: SetVringEnable, payload: state(0, 0)}, {r: SetVringNum, payload: state(0, 2)}, kick}, []string{"EnableQueue 0 false", "StopQueue 0", "StartQueue 0 size 2 base 5"}},
		"stays when memory changes":             {running, []msg{{r: SetMemTable, payload: AppendMemTable(nil, oneRegion), fds: []kind{memory}}}, []string{"SetMemory"}},
		"does not care about an owner":          {running, []msg{{r: SetOwner}, {r: ResetOwner}}, nil},
		"does not care about back-end requests": {running, []msg{{r: SetBackendReqFD, fds: []kind{stream}}, {r: SetBackendReqFD, fds: []kind{stream}, ack: true}}, nil},
		"does not care about an error event":    {running, []msg{{r: SetVringErr, payload: fdOf(0), fds: []kind{event}}, {r: SetVringErr, payload: noFD(0)}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			before := held(t)
			s := serve(t, &recorder{t: t})
			barrier := msg{r: GetFeatures, answer: offered}
			s.do(t, append(slices.Clone(tt.before), barrier)...)
			s.calls()
			s.do(t, append(slices.Clone(tt.script), barrier)...)
			if diff := cmp.Diff(tt.calls, s.calls()); diff != "" {
				t.Errorf("calls (-want +got):\n%s", diff)
			}
			if err := s.hangUp(t); err != nil {
				t.Error(err)
			}
			_ = s.front.Close()
			noLeak(t, before)
		})
	}
}

// TestBackendFails has each method of the device fail.
func TestBackendFails(t *testing.T) {
	for _, method := range []string{"SetFeatures", "SetMemory", "StartQueue", "EnableQueue", "SetCall", "StopQueue"} {
		for name, tt := range scripts {
			if method == "SetCall" && name != "QEMU" {
				continue // the call of User Mode Linux never changes
			}
			t.Run(method+"/"+name, func(t *testing.T) {
				before := held(t)
				s := serve(t, &recorder{t: t, fail: method})
				for _, m := range tt.script {
					if m.write(t, s.front) != nil {
						break
					}
				}
				if err := s.hangUp(t); err == nil || !strings.Contains(err.Error(), "the recorder fails") {
					t.Errorf("Serve: %v", err)
				}
				_ = s.front.Close()
				noLeak(t, before)
			})
		}
	}
}

// TestMemoryFails has the second table fail while queues run in the first.
func TestMemoryFails(t *testing.T) {
	before := held(t)
	r := &recorder{t: t}
	s := serve(t, r)
	s.do(t, append(slices.Clone(running), msg{r: GetFeatures, answer: offered})...)
	r.mu.Lock()
	r.fail = "SetMemory"
	r.mu.Unlock()
	s.do(t, msg{r: SetMemTable, payload: AppendMemTable(nil, oneRegion), fds: []kind{memory}, ack: true, answer: u64(1)})
	if err := s.hangUp(t); err == nil || !strings.Contains(err.Error(), "the recorder fails") {
		t.Errorf("Serve: %v", err)
	}
	_ = s.front.Close()
	noLeak(t, before)
}

var errStop = errors.New("the switch stops")

// TestContext ends sessions from outside: idle ones, and one whose front-end
// does not read its answers.
func TestContext(t *testing.T) {
	t.Run("idle", func(t *testing.T) {
		for name, script := range map[string][]msg{"new": nil, "running": running} {
			before := held(t)
			s := serve(t, &recorder{t: t})
			s.do(t, append(slices.Clone(script), msg{r: GetFeatures, answer: offered})...)
			s.cancel(errStop)
			if err := s.finish(t); !errors.Is(err, errStop) {
				t.Errorf("%s: %v", name, err)
			}
			_ = s.front.Close()
			noLeak(t, before)
		}
	})
	t.Run("before", func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errStop)
		_, back := socketPair(t)
		if err := Serve(ctx, back, &recorder{t: t}); !errors.Is(err, errStop) {
			t.Error(err)
		}
	})
	t.Run("answers unread", func(t *testing.T) {
		s := serve(t, &recorder{t: t})
		// Both directions fill up: then the session waits for us to read.
		if err := s.front.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
			t.Fatal(err)
		}
		var err error
		for err == nil {
			err = msg{r: GetFeatures}.write(t, s.front)
		}
		s.cancel(errStop)
		if err := s.finish(t); !errors.Is(err, errStop) {
			t.Error(err)
		}
	})
}

// TestAnyOrder sends the messages of both scripts in any order: a session may
// end early, but it ends well.
func TestAnyOrder(t *testing.T) {
	all := slices.Concat(umlScript(), qemuScript())
	rapid.Check(t, func(rt *rapid.T) {
		before := held(t)
		s := serve(t, &recorder{t: t})
		for _, i := range rapid.SliceOfN(rapid.IntRange(0, len(all)-1), 1, 40).Draw(rt, "messages") {
			if all[i].write(t, s.front) != nil {
				break
			}
		}
		err := s.hangUp(t)
		if err != nil && !strings.HasPrefix(err.Error(), "vhostuser: ") {
			rt.Errorf("Serve: %v", err)
		}
		_ = s.front.Close()
		noLeak(t, before)
	})
}

// TestReplaced has a session under way replace its memory and its doorbells again and again:
// what was replaced is let go of at once, and not when the session ends.
func TestReplaced(t *testing.T) {
	before := held(t)
	s := serve(t, &recorder{t: t})
	s.do(t, running...)
	replace := func() {
		s.do(t, msg{r: SetMemTable, payload: AppendMemTable(nil, oneRegion), fds: []kind{memory}, ack: true, answer: u64(0)})
		for _, r := range []Request{SetVringCall, SetVringErr} {
			s.do(t, msg{r: r, payload: fdOf(0), fds: []kind{event}, ack: true, answer: u64(0)})
		}
	}
	replace()
	const few = 3
	first := len(held(t))
	for range 100 {
		replace()
	}
	// What the last message replaced may go a moment after its answer.
	if n := len(held(t)); n > first+few {
		t.Errorf("%d descriptors and mappings after the first replacement, and %d after all", first, n)
	}
	if err := s.hangUp(t); err != nil {
		t.Error(err)
	}
	_ = s.front.Close()
	noLeak(t, before)
}
