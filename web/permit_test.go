package web

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// Looking does not have the server ask others, nor write into the ledger, but for an administrator.
func TestProbingNeedsAdmin(t *testing.T) {
	probed := false
	handler := Handler(Options{Findings: func(_ context.Context, probe bool) []Finding { probed = probe; return nil }})
	for _, f := range []struct {
		query  string
		caller Caller
		want   bool
	}{
		{"", Caller{Access: Admin}, true},
		{"", socketCaller, true},
		{"?probe=false", Caller{Access: Admin}, false},
		{"", Caller{Access: Read}, false},
		{"?probe=true", Caller{Access: Rules}, false},
	} {
		r := httptest.NewRequest(http.MethodGet, Prefix+"/findings"+f.query, nil)
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r.WithContext(WithCaller(r.Context(), f.caller)))
		if w.Code != http.StatusOK || probed != f.want {
			t.Errorf("%q by %+v: got %d, probed %v, want %v", f.query, f.caller, w.Code, probed, f.want)
		}
	}
}

// Each operation says what it needs, and refuses who has less.
func TestOperationsNeedAccess(t *testing.T) {
	handler := Handler(Options{
		Status:     func() Status { return Status{} },
		AddRule:    func(Rule, string) (Change, error) { return Change{}, nil },
		AcceptList: func(string) error { return nil },
	})
	for _, f := range []struct {
		method, path, body string
		caller             Caller
		want               int
	}{
		{"GET", "/status", "", Caller{Access: Read}, 200},
		{"GET", "/status", "", Caller{Access: Rules}, 200},
		{"GET", "/status", "", Caller{}, 401},
		{"GET", "/status", "", Caller{Access: "root"}, 403},
		{"GET", "/status", "", Caller{Access: Read, Limited: true, Devices: []string{"a"}}, 403}, // it is of all devices
		{"POST", "/rules", `{"name":"x.example","action":"block"}`, Caller{Access: Read}, 403},
		{"POST", "/rules", `{`, Caller{Access: Read}, 403}, // before anything is read
		{"POST", "/rules", `{"name":"x.example","action":"block"}`, Caller{Access: Rules}, 201},
		{"GET", "/query?name=x.example", "", Caller{Access: Read}, 403}, // it asks upstreams, and nothing is logged
		{"POST", "/lists/accept", `{"name":"x"}`, Caller{Access: Rules}, 403},
		{"POST", "/lists/accept", `{"name":"x"}`, Caller{Access: Admin}, 204},
	} {
		r := httptest.NewRequest(f.method, Prefix+f.path, strings.NewReader(f.body))
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r.WithContext(WithCaller(r.Context(), f.caller)))
		if w.Code != f.want {
			t.Errorf("%s %s by %+v: got %d %s, want %d", f.method, f.path, f.caller, w.Code, w.Body.String(), f.want)
		}
	}
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	if got := Who(r.Context()); got != "command" {
		t.Errorf("who asks over the socket: got %q", got)
	}
	if got := Who(WithCaller(r.Context(), Caller{Name: "anna"})); got != "anna" {
		t.Errorf("got %q", got)
	}
}
