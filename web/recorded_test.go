package web

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

// Whoever changes something is in the ledger, with what it was; whoever only looks, or is
// refused, is not.
func TestChangesAreInTheLedger(t *testing.T) {
	var lines []string
	handler := Handler(Options{
		Report:       func(kind, subject, detail string) { lines = append(lines, kind+": "+subject+": "+detail) },
		Status:       func() Status { return Status{} },
		AddRule:      func(Rule, string) (Change, error) { return Change{}, nil },
		AcceptList:   func(name string) error { return NotFound(http.ErrNoLocation) },
		Pause:        func(Pause) (Temporary, error) { return Temporary{}, nil },
		PreviewRules: nil, // it must not be reached
	})
	for _, f := range []struct{ method, path, body string }{
		{"GET", "/status", ""},
		{"POST", "/rules", `{"name":"ads.example","action":"block","device":"Anna's phone","comment":"of Anna"}`},
		{"POST", "/rules", `{"name":"ads.example"}`},
		{"POST", "/lists/accept", `{"name":"x"}`},
		{"PUT", "/pause", `{"of":"device","name":"Anna's phone","seconds":60}`},
	} {
		r := httptest.NewRequest(f.method, Prefix+f.path, strings.NewReader(f.body))
		handler.ServeHTTP(httptest.NewRecorder(), r.WithContext(WithCaller(r.Context(), Caller{Name: "anna", Access: Admin})))
	}
	want := []string{"change: anna: add-rule block ads.example", "change: anna: pause pause of device"}
	if !slices.Equal(lines, want) {
		t.Errorf("got %q, want %q", lines, want)
	}
}
