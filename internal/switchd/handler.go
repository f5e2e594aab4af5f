package switchd

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"syscall"

	"vsockets.dev/internal/forward"
)

// maxBody is the largest body of a request: a policy of a thousand rules, or so.
const maxBody = 64 << 10

// controlled is what the control API shows and changes: a Daemon, or what takes its
// place where requests are made up.
type controlled interface {
	Contexts() []Context
	AddGuest(GuestSpec) error
	ChangeGuest(cid uint32, p GuestPatch) error
	RemoveGuest(cid uint32) error
	Policy() Policy
	SetPolicy(Policy) error
	Forwards() []Forward
	AddForward(forward.Spec) error
	RemoveForward(from forward.Endpoint) error
}

// Bodies that have one field.
type (
	contextList struct {
		Contexts []Context `json:"contexts"`
	}
	forwardList struct {
		Forwards []Forward `json:"forwards"`
	}
	forwardBody struct {
		Forward forward.Spec `json:"forward"`
	}
	errorBody struct {
		Error string `json:"error"`
	}
)

// newHandler serves the control API, which docs/SWITCH.md describes.
func newHandler(c controlled) http.Handler {
	h := handler{c}
	mux := http.NewServeMux()
	for pattern, f := range map[string]func(*http.Request) (any, error){
		"GET /v1/version":         func(*http.Request) (any, error) { return ThisVersion(), nil },
		"GET /v1/process":         func(*http.Request) (any, error) { return ThisProcess(), nil },
		"GET /v1/contexts":        func(*http.Request) (any, error) { return contextList{c.Contexts()}, nil },
		"GET /v1/contexts/{cid}":  h.context,
		"POST /v1/guests":         h.addGuest,
		"PATCH /v1/guests/{cid}":  h.changeGuest,
		"DELETE /v1/guests/{cid}": h.removeGuest,
		"GET /v1/policy":          func(*http.Request) (any, error) { return c.Policy(), nil },
		"PUT /v1/policy":          h.setPolicy,
		"GET /v1/forwards":        func(*http.Request) (any, error) { return forwardList{c.Forwards()}, nil },
		"POST /v1/forwards":       h.addForward,
		"DELETE /v1/forwards":     h.removeForward,
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			r.Body = http.MaxBytesReader(w, r.Body, maxBody)
			result, err := f(r)
			answer(w, r, result, err)
		})
	}
	if d, ok := c.(*Daemon); ok {
		mux.Handle("GET /v1/capture", &captures{sw: d.sw})
		mux.Handle("GET /v1/connections", connections(d.sw))
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, pattern := mux.Handler(r); pattern == "" {
			missing(mux, w, r)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// missing answers what the mux would, but in JSON: 404, or 405 with Allow.
func missing(mux *http.ServeMux, w http.ResponseWriter, r *http.Request) {
	s := statusOnly{header: w.Header(), status: http.StatusNotFound}
	mux.ServeHTTP(&s, r)
	text := fmt.Sprintf("there is no %s %s; docs/SWITCH.md lists what there is", r.Method, r.URL.Path)
	write(w, s.status, errorBody{text})
}

// statusOnly drops the body of an answer.
type statusOnly struct {
	header http.Header
	status int
}

func (s *statusOnly) Header() http.Header         { return s.header }
func (s *statusOnly) WriteHeader(status int)      { s.status = status }
func (s *statusOnly) Write(b []byte) (int, error) { return len(b), nil }

// answer writes what a request led to.
func answer(w http.ResponseWriter, r *http.Request, result any, err error) {
	switch {
	case err != nil:
		write(w, statusOf(err), errorBody{err.Error()})
	case result == nil:
		w.WriteHeader(http.StatusNoContent)
	case r.Method == http.MethodPost:
		write(w, http.StatusCreated, result)
	default:
		write(w, http.StatusOK, result)
	}
}

func write(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // a client that has gone needs no answer
}

// statusOf gives the status code of an error.
func statusOf(err error) int {
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return http.StatusRequestEntityTooLarge
	case errors.Is(err, ErrInvalid):
		return http.StatusBadRequest
	case errors.Is(err, ErrNotFound):
		return http.StatusNotFound
	case errors.Is(err, ErrInUse), errors.Is(err, syscall.EADDRINUSE):
		return http.StatusConflict
	case errors.Is(err, ErrConfined):
		return http.StatusForbidden
	case errors.Is(err, ErrClosed):
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

// handler has what takes more than a line.
type handler struct{ controlled }

func (h handler) context(r *http.Request) (any, error) {
	cid, err := pathCID(r)
	if err != nil {
		return nil, err
	}
	return h.find(cid)
}

func (h handler) find(cid uint32) (any, error) {
	for _, c := range h.Contexts() {
		if c.CID == cid {
			return c, nil
		}
	}
	return nil, because(ErrNotFound, "there is no context with CID %d", cid)
}

func (h handler) addGuest(r *http.Request) (any, error) {
	var s GuestSpec
	if err := decodeBody(r, &s); err != nil {
		return nil, err
	}
	if err := h.AddGuest(s); err != nil {
		return nil, err
	}
	return h.find(s.CID)
}

// changeGuest answers with the guest as it is then: under its old CID still, if the
// new one waits for its next boot.
func (h handler) changeGuest(r *http.Request) (any, error) {
	cid, err := pathCID(r)
	if err != nil {
		return nil, err
	}
	var p GuestPatch
	if err := decodeBody(r, &p); err != nil {
		return nil, err
	}
	if err := h.ChangeGuest(cid, p); err != nil {
		return nil, err
	}
	if p.CID != nil {
		if c, err := h.find(*p.CID); err == nil {
			return c, nil
		}
	}
	return h.find(cid)
}

func (h handler) removeGuest(r *http.Request) (any, error) {
	cid, err := pathCID(r)
	if err != nil {
		return nil, err
	}
	return nil, h.RemoveGuest(cid)
}

func (h handler) setPolicy(r *http.Request) (any, error) {
	var p Policy
	if err := decodeBody(r, &p); err != nil {
		return nil, err
	}
	if p.Rules == nil {
		return nil, because(ErrInvalid, "rules are missing; an empty list is the policy without rules")
	}
	if err := h.SetPolicy(p); err != nil {
		return nil, err
	}
	return h.Policy(), nil
}

func (h handler) addForward(r *http.Request) (any, error) {
	var b forwardBody
	if err := decodeBody(r, &b); err != nil {
		return nil, err
	}
	if b.Forward == (forward.Spec{}) {
		return nil, because(ErrInvalid, "forward is missing; write FROM=TO, such as host:8080=tcp:127.0.0.1:80")
	}
	return b, h.AddForward(b.Forward)
}

func (h handler) removeForward(r *http.Request) (any, error) {
	from, err := forward.ParseEndpoint(r.URL.Query().Get("from"))
	if err != nil {
		return nil, invalid(fmt.Errorf("the query's from: %w", err))
	}
	return nil, h.RemoveForward(from)
}

func pathCID(r *http.Request) (uint32, error) {
	cid, err := strconv.ParseUint(r.PathValue("cid"), 10, 32)
	if err != nil {
		return 0, because(ErrInvalid, "%q is no CID; use a number of 32 bits", r.PathValue("cid"))
	}
	return uint32(cid), nil
}

func decodeBody(r *http.Request, v any) error {
	err := decodeStrict(r.Body, v)
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return fmt.Errorf("the body has more than %d bytes, which is the limit: %w", maxBody, err)
	}
	return invalid(err)
}

// decodeStrict reads one JSON value, and refuses fields that it does not know.
func decodeStrict(from io.Reader, v any) error {
	d := json.NewDecoder(from)
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("the JSON cannot be used: %w", err)
	}
	switch _, err := d.Token(); {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		return fmt.Errorf("the JSON cannot be used: %w", err)
	}
	return errors.New("the JSON cannot be used: something follows the value")
}
