package switchd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	"vsockets.dev/internal/capture"
	"vsockets.dev/internal/packet"
	"vsockets.dev/vswitch"
)

const (
	// maxCaptures is how many captures there are at a time: they take the room of
	// the control socket's other clients.
	maxCaptures = 4

	// captureWriteTime is how long a client may take nothing of what was captured.
	captureWriteTime = 10 * time.Second

	captureType = "application/x-pcapng"
)

// captures serves GET /v1/capture: a pcapng file, without an end.
type captures struct {
	sw      *vswitch.Switch
	running atomic.Int32
}

func (c *captures) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if c.running.Add(1) > maxCaptures {
		c.running.Add(-1)
		write(w, http.StatusServiceUnavailable, errorBody{fmt.Sprintf("%d captures are running, which is the limit; end one", maxCaptures)})
		return
	}
	defer c.running.Add(-1)
	cfg, err := captureConfig(r.URL.Query())
	if err != nil {
		write(w, statusOf(err), errorBody{err.Error()})
		return
	}
	tap, err := c.sw.Capture(cfg)
	if err != nil {
		write(w, http.StatusServiceUnavailable, errorBody{err.Error()})
		return
	}
	defer tap.Close()
	// The control socket's end is that of a capture too.
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	if s, ok := r.Context().Value(http.ServerContextKey).(*http.Server); ok {
		s.RegisterOnShutdown(cancel)
	}
	w.Header().Set("Content-Type", captureType)
	s := &captureStream{w: w, rc: http.NewResponseController(w), tap: tap}
	_ = s.run(ctx, max(cfg.SnapLen, 0)) // a client that has gone needs no answer
}

// captureConfig reads snaplen and filter.
func captureConfig(q url.Values) (vswitch.CaptureConfig, error) {
	cfg := vswitch.CaptureConfig{SnapLen: vswitch.DefaultSnapLen}
	for key := range q {
		if key != "snaplen" && key != "filter" {
			return cfg, because(ErrInvalid, "the query's %s is unknown; use snaplen and filter", key)
		}
	}
	if s := q.Get("snaplen"); s != "" {
		n, err := strconv.ParseUint(s, 10, 31)
		if err != nil {
			return cfg, because(ErrInvalid, "the query's snaplen %q is no number of bytes", s)
		}
		if cfg.SnapLen = int(n); n == 0 {
			cfg.SnapLen = -1 // no payload
		}
	}
	wanted, err := capture.ParseFilter(q.Get("filter"))
	if err != nil {
		return cfg, invalid(err)
	}
	cfg.Filter = func(b *[packet.HeaderSize]byte) bool {
		var h packet.Header
		h.Decode(b)
		return wanted(&h)
	}
	return cfg, nil
}

// captureStream writes what a capture has to a client.
type captureStream struct {
	w   io.Writer
	rc  *http.ResponseController
	tap *vswitch.Capture

	dropped uint64 // as the client knows
}

func (s *captureStream) run(ctx context.Context, snapLen int) error {
	if err := s.rc.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	if err := s.extend(); err != nil {
		return err
	}
	file, err := capture.NewWriter(s.w, snapLen)
	if err != nil {
		return err
	}
	if err := s.rc.Flush(); err != nil {
		return err
	}
	var list []vswitch.CapturedPacket
	for more := true; more; {
		select {
		case <-s.tap.Ready():
		case <-ctx.Done():
			return ctx.Err()
		}
		list, more = s.tap.Next(list[:0])
		if err := s.write(file, list); err != nil {
			return err
		}
		clear(list) // the payloads
	}
	return nil
}

func (s *captureStream) extend() error {
	return s.rc.SetWriteDeadline(time.Now().Add(captureWriteTime))
}

func (s *captureStream) write(file *capture.Writer, list []vswitch.CapturedPacket) error {
	for i := range list {
		if err := s.extend(); err != nil {
			return err
		}
		p := capture.Packet{Time: list[i].Time, Payload: list[i].Payload}
		p.Decode(&list[i].Header)
		if err := file.Write(&p); err != nil {
			return err
		}
	}
	if n := s.tap.Dropped(); n != s.dropped {
		s.dropped = n
		if err := file.Dropped(time.Now(), n); err != nil {
			return err
		}
	}
	return s.rc.Flush()
}

// Capture gives a pcapng file that goes on until the context or the switch ends. The
// caller closes it. Of each packet, so many bytes of payload are kept.
func (c *Client) Capture(ctx context.Context, filter string, snapLen int) (io.ReadCloser, error) {
	q := url.Values{"filter": {filter}, "snaplen": {strconv.Itoa(snapLen)}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://switch/v1/capture?"+q.Encode(), nil)
	if err != nil {
		return nil, err
	}
	unlimited := http.Client{Transport: c.http.Transport} // in time
	r, err := unlimited.Do(req)
	if err != nil {
		return nil, c.unreachable(err)
	}
	if r.StatusCode == http.StatusOK && r.Header.Get("Content-Type") == captureType {
		return r.Body, nil
	}
	defer func() { _ = r.Body.Close() }()
	var e errorBody
	if json.NewDecoder(io.LimitReader(r.Body, maxBody)).Decode(&e) != nil || e.Error == "" {
		return nil, errors.New("the switch answers " + r.Status + "; is it of this version?")
	}
	return nil, &StatusError{r.StatusCode, e.Error}
}
