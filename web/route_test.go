package web

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

// Parameters of each kind are read, and what is wrong with them is said together with its place.
func TestParametersAreRead(t *testing.T) {
	type request struct {
		ID    string   `path:"id"`
		Names []string `query:"names"`
		Most  int      `query:"most" default:"7" minimum:"1" maximum:"10"`
		All   bool     `query:"all"`
		Match string   `header:"If-Match"`
	}
	var got request
	mux := http.NewServeMux()
	api := humago.New(mux, document())
	add(api, operation(http.MethodGet, "/things/{id}", "get-thing", "A thing", http.StatusOK), func(_ context.Context, r *request) (tagged[[]string], error) {
		got = *r
		return tagged[[]string]{"v1", r.Names}, nil
	})
	for _, f := range []struct {
		path   string
		status int
		want   string
		most   int
	}{
		{"/things/a%2Fb?names=x,y&all=true", 200, `["x","y"]`, 7},
		{"/things/a%2Fb?most=10", 200, `null`, 10},
		{"/things/a?most=11", 422, `"location":"query.most"`, 0},
		{"/things/a?most=99999999999999999999", 422, "invalid integer", 0},
		{"/things/a?all=perhaps", 422, "invalid boolean", 0},
		{"/things/", 404, "", 0},
	} {
		got = request{}
		r := httptest.NewRequest(http.MethodGet, Prefix+f.path, nil)
		r.Header.Set("If-Match", `"v0"`)
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		if w.Code != f.status || !strings.Contains(w.Body.String(), f.want) || got.Most != f.most {
			t.Errorf("%s: got %d %s and most %d, want %d %s and %d", f.path, w.Code, w.Body.String(), got.Most, f.status, f.want, f.most)
		}
		if f.status == http.StatusOK && (got.ID != "a/b" || got.Match != `"v0"` || w.Header().Get("ETag") != `"v1"`) {
			t.Errorf("%s: got %+v with ETag %s", f.path, got, w.Header().Get("ETag"))
		}
	}
}

// However much is wrong with a body, the answer is small and is made with little memory, and what was
// meant as a pass phrase is not in it.
func TestAnswersToWrongBodiesAreSmall(t *testing.T) {
	keys := func(n int, name string) string {
		var b strings.Builder
		b.WriteString(`{"passphras":"correct horse"`)
		for i := range n {
			fmt.Fprintf(&b, `,"%s%d":1`, name, i)
		}
		return b.String() + "}"
	}
	handler := Handler(Options{})
	for _, f := range []struct {
		what, method, path, body string
		want                     string
	}{
		{"unknown keys", "POST", "/session", keys(5000, "k"), "more"},
		{"long unknown keys", "POST", "/session", keys(15, strings.Repeat("k", 4000)), "body.k"},
		{"many keys of a rule", "POST", "/rules", keys(5000, "k"), "more"},
		{"a misspelled key", "POST", "/session", `{"name":"anna","passphras":"correct horse"}`, "body.passphras"},
		{"a short pass phrase", "POST", "/setup", `{"token":"t","passphrase":"horse"}`, "body.passphrase"},
		{"a long value", "POST", "/rules", `{"name":"x.example","action":"` + strings.Repeat("b", 5000) + `"}`, "body.action"},
		{"a short value", "POST", "/rules", `{"name":"x.example","action":"blok"}`, `"value":"blok"`},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest(f.method, Prefix+f.path, strings.NewReader(f.body)))
		runtime.ReadMemStats(&after)
		if w.Code != http.StatusUnprocessableEntity || w.Body.Len() > 8<<10 || !strings.Contains(w.Body.String(), f.want) || strings.Contains(w.Body.String(), "horse") {
			t.Errorf("%s: got %d and %d octets, want 422, at most 8192 and %s: %.300s", f.what, w.Code, w.Body.Len(), f.want, w.Body.String())
		}
		if used := after.TotalAlloc - before.TotalAlloc; used > 16<<20 {
			t.Errorf("%s: a body of %d octets took %d octets of memory", f.what, len(f.body), used)
		}
	}
}
