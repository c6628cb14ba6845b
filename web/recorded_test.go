package web

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"telltale/querylog"
)

// Whoever changes something is in the ledger, with what it was; whoever only looks, or is
// refused, is not.
func TestChangesAreInTheLedger(t *testing.T) {
	var lines []string
	handler := Handler(Options{
		Report:       func(kind, subject, detail string) { lines = append(lines, kind+": "+subject+": "+detail) },
		Status:       func() Status { return Status{} },
		AddRule:      func(Rule, string) (Change, error) { return Change{}, nil },
		RemoveRule:   func(Rule, string) (Change, error) { return Change{}, NotInForce(http.ErrNoLocation) },
		AcceptList:   func(name string) error { return NotFound(http.ErrNoLocation) },
		Pause:        func(Pause) (Temporary, error) { return Temporary{}, nil },
		Resume:       func(Resume) (Resumed, error) { return Resumed{}, nil },
		PreviewRules: nil, // it must not be reached
	})
	for _, f := range []struct{ method, path, body string }{
		{"GET", "/status", ""},
		{"POST", "/rules", `{"name":"ads.example","action":"block","device":"Anna's phone","comment":"of Anna"}`},
		{"POST", "/rules", `{"name":"ads.example"}`},
		{"POST", "/lists/accept", `{"name":"x"}`},
		{"DELETE", "/rules?name=ads.example", ""},
		{"PUT", "/pause", `{"of":"device","name":"Anna's phone","seconds":60}`},
		{"PUT", "/pause", `{"seconds":60}`},
		{"PUT", "/pause", `{"of":"list","name":"ads","kind":"observe","seconds":60}`},
		{"DELETE", "/pause", ""},
		{"DELETE", "/pause?of=device&name=tv", ""},
		{"DELETE", "/pause?of=list&name=ads&kind=observe", ""},
	} {
		r := httptest.NewRequest(f.method, Prefix+f.path, strings.NewReader(f.body))
		handler.ServeHTTP(httptest.NewRecorder(), r.WithContext(WithCaller(r.Context(), Caller{Name: "anna", Access: Admin})))
	}
	want := []string{"change: anna: add-rule block ads.example", "change: anna: remove-rule ads.example, not in force", "change: anna: pause device", "change: anna: pause everything",
		"change: anna: pause observe list ads", "change: anna: resume", "change: anna: resume device", "change: anna: resume observe list ads"}
	if !slices.Equal(lines, want) {
		t.Errorf("got %q, want %q", lines, want)
	}
}

// What commands tell of by themselves is in the ledger where it does not come by the control
// socket: a token may send it.
func TestWhatCommandsDoIsRecordedOfOthers(t *testing.T) {
	var lines []string
	handler := Handler(Options{
		Report:      func(kind, subject, detail string) { lines = append(lines, kind+": "+subject+": "+detail) },
		BeginSearch: func(context.Context, NewSearch) (Search, error) { return Search{}, nil },
		Import: func(context.Context, *querylog.ImportBatch) (querylog.Imported, error) {
			return querylog.Imported{}, nil
		},
		MarkNetwork: func(NetworkFindings) error { return nil },
	})
	send := func(ctx context.Context) []string {
		lines = nil
		for _, f := range []struct{ method, path, body string }{
			{"POST", "/import", `{"key":"k","format":"x","file":"f"}`},
			{"PUT", "/findings/network", `{"findings":[]}`},
			{"POST", "/broke/search", `{"device":"Anna's phone"}`},
		} {
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, httptest.NewRequest(f.method, Prefix+f.path, strings.NewReader(f.body)).WithContext(ctx))
			if w.Code >= 300 {
				t.Errorf("%s: got %d %s", f.path, w.Code, w.Body)
			}
		}
		return lines
	}
	if got, want := send(t.Context()), []string{"change: command: begin-search"}; !slices.Equal(got, want) {
		t.Errorf("by the socket: got %q, want %q", got, want)
	}
	want := []string{"change: token t: import", "change: token t: mark-network", "change: token t: begin-search"}
	if got := send(WithCaller(t.Context(), Caller{Name: "token t", Access: Admin})); !slices.Equal(got, want) {
		t.Errorf("by a token: got %q, want %q", got, want)
	}
}
