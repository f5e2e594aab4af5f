package switchd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"vsockets.dev/internal/forward"
)

// Limits of a Client.
const (
	clientTime = 30 * time.Second // for one request
	maxAnswer  = 64 << 20         // bytes, of all contexts that a switch may have
)

// ErrNoSwitch is what a Client's errors match where nobody serves its control socket.
var ErrNoSwitch = errors.New("no switch answers at the control socket")

// Client is the other end of a control socket.
type Client struct {
	path string
	http http.Client
}

// NewClient makes a client for the control socket at a path. It keeps no connection,
// so that it needs no closing.
func NewClient(path string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}
	return &Client{path: path, http: http.Client{
		Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true},
		Timeout:   clientTime,
	}}
}

// StatusError is a switch's refusal. It matches the error that the Daemon gave:
// ErrInvalid, ErrNotFound, ErrInUse, ErrConfined or ErrClosed.
type StatusError struct {
	Status int // of HTTP
	Text   string
}

func (e *StatusError) Error() string { return e.Text }

// Is compares with the reasons of errors.
func (e *StatusError) Is(target error) bool {
	switch e.Status {
	case http.StatusBadRequest:
		return target == ErrInvalid
	case http.StatusForbidden:
		return target == ErrConfined
	case http.StatusNotFound:
		return target == ErrNotFound
	case http.StatusConflict:
		return target == ErrInUse
	case http.StatusServiceUnavailable:
		return target == ErrClosed
	}
	return false
}

// Contexts tells of all contexts, by CID.
func (c *Client) Contexts(ctx context.Context) ([]Context, error) {
	var list contextList
	err := c.do(ctx, http.MethodGet, "/v1/contexts", nil, &list)
	return list.Contexts, err
}

// Context tells of one context.
func (c *Client) Context(ctx context.Context, cid uint32) (Context, error) {
	var one Context
	err := c.do(ctx, http.MethodGet, fmt.Sprintf("/v1/contexts/%d", cid), nil, &one)
	return one, err
}

// AddGuest joins a guest.
func (c *Client) AddGuest(ctx context.Context, s GuestSpec) (Context, error) {
	var one Context
	err := c.do(ctx, http.MethodPost, "/v1/guests", s, &one)
	return one, err
}

// ChangeGuest changes a guest.
func (c *Client) ChangeGuest(ctx context.Context, cid uint32, p GuestPatch) (Context, error) {
	var one Context
	err := c.do(ctx, http.MethodPatch, guestPath(cid), p, &one)
	return one, err
}

// RemoveGuest takes a guest out.
func (c *Client) RemoveGuest(ctx context.Context, cid uint32) error {
	return c.do(ctx, http.MethodDelete, guestPath(cid), nil, nil)
}

func guestPath(cid uint32) string { return fmt.Sprintf("/v1/guests/%d", cid) }

// Policy tells who may connect to whom.
func (c *Client) Policy(ctx context.Context) (Policy, error) {
	var p Policy
	err := c.do(ctx, http.MethodGet, "/v1/policy", nil, &p)
	return p, err
}

// SetPolicy replaces the policy.
func (c *Client) SetPolicy(ctx context.Context, p Policy) error {
	return c.do(ctx, http.MethodPut, "/v1/policy", p, nil)
}

// Forwards tells of all forwards.
func (c *Client) Forwards(ctx context.Context) ([]Forward, error) {
	var list forwardList
	err := c.do(ctx, http.MethodGet, "/v1/forwards", nil, &list)
	return list.Forwards, err
}

// AddForward adds a forward.
func (c *Client) AddForward(ctx context.Context, s forward.Spec) error {
	return c.do(ctx, http.MethodPost, "/v1/forwards", forwardBody{s}, nil)
}

// RemoveForward ends the forward that listens at an endpoint.
func (c *Client) RemoveForward(ctx context.Context, from forward.Endpoint) error {
	return c.do(ctx, http.MethodDelete, "/v1/forwards?from="+url.QueryEscape(from.String()), nil, nil)
}

// Version tells which switch it is.
func (c *Client) Version(ctx context.Context) (Version, error) {
	var v Version
	err := c.do(ctx, http.MethodGet, "/v1/version", nil, &v)
	return v, err
}

// Process tells of the switch's process.
func (c *Client) Process(ctx context.Context) (Process, error) {
	var p Process
	err := c.do(ctx, http.MethodGet, "/v1/process", nil, &p)
	return p, err
}

// do makes a request. A nil result drops the answer.
func (c *Client) do(ctx context.Context, method, path string, body, result any) error {
	var send io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return err
		}
		send = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://switch"+path, send)
	if err != nil {
		return err
	}
	r, err := c.http.Do(req)
	if err != nil {
		return c.unreachable(err)
	}
	defer func() { _ = r.Body.Close() }()
	answer := json.NewDecoder(io.LimitReader(r.Body, maxAnswer))
	if r.StatusCode >= http.StatusMultipleChoices {
		var e errorBody
		if err := answer.Decode(&e); err != nil {
			e.Error = "the switch answers " + r.Status
		}
		return &StatusError{r.StatusCode, e.Error}
	}
	if result == nil {
		return nil
	}
	if err := answer.Decode(result); err != nil {
		return fmt.Errorf("control socket %s: the answer cannot be read: %w", c.path, err)
	}
	return nil
}

func (c *Client) unreachable(err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err // the URL says nothing
	}
	return fmt.Errorf("%w %s: %w; start one with vsock switch --control, or name its socket with --control", ErrNoSwitch, c.path, err)
}
