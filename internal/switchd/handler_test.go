package switchd

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"vsockets.dev/internal/forward"
	"vsockets.dev/vswitch"
)

// noSwitch takes everything and does nothing: what it is asked is made up, and no
// socket or forward may come of it.
type noSwitch struct{}

func (noSwitch) Contexts() []Context {
	return []Context{{Info: vswitch.Info{CID: 2}}, {Info: vswitch.Info{CID: 3}}}
}
func (noSwitch) AddGuest(s GuestSpec) error           { return invalid(s.check()) }
func (noSwitch) RemoveGuest(uint32) error             { return nil }
func (noSwitch) Policy() Policy                       { return Policy{} }
func (noSwitch) SetPolicy(Policy) error               { return nil }
func (noSwitch) Forwards() []Forward                  { return nil }
func (noSwitch) AddForward(s forward.Spec) error      { return invalid(checkForward(s)) }
func (noSwitch) RemoveForward(forward.Endpoint) error { return nil }
func (noSwitch) ChangeGuest(_ uint32, p GuestPatch) error {
	_, err := p.applied(GuestSpec{CID: 3, Socket: "/x"})
	return invalid(err)
}

func request(method, target, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "http://switch/", strings.NewReader(body))
	r.URL.Path, r.URL.RawQuery, _ = strings.Cut(target, "?")
	w := httptest.NewRecorder()
	newHandler(noSwitch{}).ServeHTTP(w, r)
	return w
}

func TestHandler(t *testing.T) {
	for _, tc := range []struct {
		method, target, body string
		status               int
		want                 string
	}{
		{"GET", "/v1/contexts", "", 200, `{"contexts":[{"cid":2,`},
		{"GET", "/v1/contexts/3", "", 200, `{"cid":3,`},
		{"GET", "/v1/contexts/9", "", 404, "no context with CID 9"},
		{"GET", "/v1/contexts/x", "", 400, "no CID"},
		{"GET", "/v1/contexts/4294967296", "", 400, "no CID"},
		{"GET", "/v1/nothing", "", 404, "docs/SWITCH.md"},
		{"GET", "/", "", 404, "docs/SWITCH.md"},
		{"POST", "/v1/contexts", "", 405, "there is no POST /v1/contexts"},
		{"POST", "/v1/guests", `{"cid":3,"socket":"/x"}`, 201, `{"cid":3,`},
		{"POST", "/v1/guests", `{"cid":3,"socket":"/x","sokcet":"/y"}`, 400, "sokcet"},
		{"POST", "/v1/guests", `{"cid":-1}`, 400, "JSON"},
		{"POST", "/v1/guests", `{"cid":3,"socket":"/x"} {}`, 400, "follows"},
		{"POST", "/v1/guests", `{"cid":3,"socket":"/x"} }`, 400, "JSON"},
		{"POST", "/v1/guests", "", 400, "JSON"},
		{"POST", "/v1/guests", `{"socket":"` + strings.Repeat("x", maxBody) + `"}`, 413, "limit"},
		{"PATCH", "/v1/guests/3", `{"limits":{"connections":5}}`, 200, `{"cid":3,`},
		{"PATCH", "/v1/guests/3", `{"limits":{"connection":5}}`, 400, "connection"},
		{"PATCH", "/v1/guests/3", `{"cid":1}`, 400, "reserved"},
		{"DELETE", "/v1/guests/3", "", 204, ""},
		{"PUT", "/v1/policy", `{"rules":["deny 3 host:22"]}`, 200, "rules"},
		{"PUT", "/v1/policy", `{"rules":["deny 3"]}`, 400, "want"},
		{"PUT", "/v1/policy", `{}`, 400, "rules are missing"},
		{"POST", "/v1/forwards", `{"forward":"host:1=tcp:1"}`, 201, "host:1=tcp:127.0.0.1:1"},
		{"POST", "/v1/forwards", `{"forward":"host:1"}`, 400, "FROM=TO"},
		{"POST", "/v1/forwards", `{}`, 400, "missing"},
		{"DELETE", "/v1/forwards?from=host:1", "", 204, ""},
		{"DELETE", "/v1/forwards", "", 400, "from"},
		{"GET", "/v1/version", "", 200, `"go":"go`},
		{"GET", "/v1/process", "", 200, `{"goroutines":`},
	} {
		w := request(tc.method, tc.target, tc.body)
		if w.Code != tc.status || !strings.Contains(w.Body.String(), tc.want) {
			t.Errorf("%s %s %.50s: %d %s; want %d %s", tc.method, tc.target, tc.body, w.Code, w.Body, tc.status, tc.want)
		}
	}
	if allow := request("POST", "/v1/contexts", "").Header().Get("Allow"); !strings.Contains(allow, "GET") {
		t.Errorf("Allow: %q", allow)
	}
}

// FuzzHandler has every answer be of the API: JSON, and with an error if it is one.
func FuzzHandler(f *testing.F) {
	f.Add("GET", "/v1/contexts/3", "")
	f.Add("POST", "/v1/guests", `{"cid":3,"socket":"/x","groups":["a"],"limits":{"connections":5}}`)
	f.Add("PATCH", "/v1/guests/3", `{"cid":4,"groups":[],"limits":{"byte_rate":-1}}`)
	f.Add("PUT", "/v1/policy", `{"rules":["allow * @a:1-5"]}`)
	f.Add("POST", "/v1/forwards", `{"forward":"host:1=exec:cat"}`)
	f.Add("DELETE", "/v1/forwards?from=unix:%2Fx", "")
	f.Add("POST", "/v1//guests/..", "{}")
	f.Fuzz(func(t *testing.T, method, target, body string) {
		switch method {
		case "GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "CONNECT", "OPTIONS":
		default:
			method = http.MethodGet // the server itself refuses what is no method
		}
		w := request(method, target, body)
		switch {
		case w.Code == http.StatusNoContent, w.Code/100 == 3:
			return
		case w.Code >= 500:
			t.Errorf("status %d: %s", w.Code, w.Body)
		}
		var answer map[string]any
		if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
			t.Fatalf("status %d: %q: %v", w.Code, w.Body, err)
		}
		if text, _ := answer["error"].(string); (text != "") != (w.Code >= 400) {
			t.Errorf("status %d: %s", w.Code, w.Body)
		}
	})
}
