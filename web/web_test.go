package web

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"go.uber.org/goleak"
)

var update = flag.Bool("update", false, "write openapi.json anew")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestASharedHandlerIsMadeOnceForTheFirstRequest(t *testing.T) {
	made := 0
	h := SharedHandler(func() Options { made++; return Options{FlushLog: func() {}} })
	for requests := range 3 {
		if made != min(requests, 1) {
			t.Errorf("made %d times for %d requests", made, requests)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, Prefix+"/openapi.json", nil))
		if w.Code != http.StatusOK {
			t.Errorf("got %d", w.Code)
		}
	}
}

// openapi.json is what others write clients by: a change of it is a change of the
// API.
func TestTheDocumentIsAsCheckedIn(t *testing.T) {
	got, err := openAPI()
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := json.Indent(&b, got, "", "  "); err != nil {
		t.Fatal(err)
	}
	b.WriteByte('\n')
	if *update {
		if err := os.WriteFile("openapi.json", b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b.Bytes(), want) {
		t.Error("the API is not as web/openapi.json says: `go test ./web -update` writes it; a key that goes or changes its meaning needs another version of the API")
	}
	var document struct {
		OpenAPI string
		Paths   map[string]any
	}
	if err := json.Unmarshal(got, &document); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(document.OpenAPI, "3.1") {
		t.Errorf("got OpenAPI %s", document.OpenAPI)
	}
	for path := range document.Paths {
		if !strings.HasPrefix(path, Prefix+"/") {
			t.Errorf("%s is not below %s", path, Prefix)
		}
	}
}

// Each line is a request and what it is answered with.
func TestRequests(t *testing.T) {
	var paused int64
	var rule Rule
	handler := Handler(Options{
		Status: func() Status {
			return Status{Started: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC), Listen: []string{}, Upstreams: []Upstream{}, Gateways: []string{}}
		},
		Health:     func(context.Context) (Health, error) { return Health{}, errors.New("nobody answers") },
		Lists:      func() []List { return []List{} },
		FlushCache: func(name string) (Flushed, error) { return Flushed{Entries: len(name)}, nil },
		ListDiff:   func(string, bool) (Diff, error) { return Diff{}, NotFound(errors.New("no list")) },
		AcceptList: func(name string) error { return errors.New(name + " is not held back") },
		RefreshList: func(_ context.Context, names []string, step func(Refreshed)) error {
			step(Refreshed{Name: strings.Join(names, "+")})
			step(Refreshed{Name: "a", Done: true, Outcome: "updated"})
			return errors.New("out of disk")
		},
		Catalogue: func() Catalogue { return Catalogue{Edition: "2026-11-27"} },
		UpdateCatalogue: func(context.Context) (CatalogueUpdate, error) {
			return CatalogueUpdate{Outcome: "failed", Error: "its signature does not fit"}, nil
		},
		AcceptCatalogue: func() (CatalogueUpdate, error) { return CatalogueUpdate{}, errors.New("no update is held back") },
		AddRule:         func(r Rule, _ string) (Change, error) { rule = r; return Change{File: "own.txt"}, nil },
		Broke: func(_ context.Context, device string, seconds int64) (Breakage, error) {
			return Breakage{Name: device, Missed: int(seconds), Suspects: []Suspect{}}, nil
		},
		BeginSearch: func(_ context.Context, n NewSearch) (Search, error) {
			return Search{}, NotFound(errors.New("no device " + n.Device))
		},
		AnswerSearch: func(_ context.Context, a SearchAnswer) (Search, error) {
			return Search{Name: a.Device, Question: a.Question, Again: a.Works}, nil
		},
		StopSearch: func(context.Context, string) error { return nil },
		Explain: func(_ context.Context, q Question) (Explanation, error) {
			return Explanation{Name: q.Name, Type: q.Type, Matches: []Match{}}, nil
		},
		Pause: func(p Pause) (Temporary, error) {
			paused = p.Seconds
			return Temporary{Kind: p.Kind, Of: p.Of, Name: p.Name, Until: time.Unix(0, 0).UTC()}, nil
		},
		Resume: func(r Resume) (Resumed, error) { return Resumed{Ended: []Temporary{{Kind: r.Kind, Of: r.Of}}}, nil },
	})
	for _, f := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"GET", "/status", "", 200, `"started":"2026-05-01T12:00:00Z"`},
		{"GET", "/openapi.json", "", 200, `"openapi":"3.1`},
		{"GET", "/health", "", 503, `"detail":"nobody answers"`},
		{"GET", "/lists", "", 200, "[]"},
		{"GET", "/lists/diff?name=x", "", 404, `"detail":"no list"`},
		{"GET", "/lists/diff", "", 422, "required query parameter is missing"},
		{"POST", "/lists/accept", `{"name":"x"}`, 409, `"detail":"x is not held back"`},
		{"POST", "/lists/accept", `{"nam":"x"}`, 422, "unexpected property"},
		{"POST", "/lists/accept", `{`, 400, "unexpected end of JSON input"},
		{"POST", "/lists/accept", `{"name":"` + strings.Repeat("x", 1<<17) + `"}`, 413, "Request Entity Too Large"},
		{"POST", "/lists/refresh", `{"names":["a","b"]}`, 200, "{\"name\":\"a+b\",\"bytes\":0}\n{\"name\":\"a\",\"bytes\":0,\"done\":true,\"outcome\":\"updated\"}\n{\"name\":\"\",\"bytes\":0,\"done\":true,\"error\":\"out of disk\"}\n"},
		{"GET", "/catalogue", "", 200, `"edition":"2026-11-27"`},
		{"POST", "/catalogue/update", "", 200, `"outcome":"failed","error":"its signature does not fit"`},
		{"POST", "/catalogue/accept", "", 409, `"detail":"no update is held back"`},
		{"POST", "/rules", `{"name":"x.example","action":"block","device":"tv","seconds":60}`, 201, `"file":"own.txt"`},
		{"POST", "/rules", `{"name":"x.example","action":"block","seconds":315360001}`, 422, "expected number <= 3.1536e+08"},
		{"POST", "/rules", `{"name":"x.example","action":"deny"}`, 422, "expected value to be one of"},
		{"DELETE", "/cache?name=abc", "", 200, `"entries":3`},
		{"DELETE", "/cache", "", 200, `"entries":0`},
		{"GET", "/cache", "", 422, "required query parameter is missing"},
		{"GET", "/broke?device=tv", "", 200, `"name":"tv","since":"0001-01-01T00:00:00Z","until":"0001-01-01T00:00:00Z","suspects":[],"missed":900}`},
		{"GET", "/broke", "", 422, "required query parameter is missing"},
		{"GET", "/broke?device=tv&last=4000", "", 422, "expected number <= 3600"},
		{"POST", "/broke/search", `{"device":"tv"}`, 404, `"detail":"no device tv"`},
		{"POST", "/broke/search", `{"device":"tv","seconds":315360001}`, 422, "expected number <= 3.1536e+08"},
		{"POST", "/broke/search", `{"device":"tv","comment":"` + strings.Repeat("x", 501) + `"}`, 422, "expected length <= 500"},
		{"PUT", "/pause", `{"seconds":315360001}`, 422, "expected number <= 3.1536e+08"},
		{"POST", "/broke/search", `{"device":""}`, 422, "expected length >= 1"},
		{"POST", "/broke/search/answer", `{"device":"tv","works":true,"question":2}`, 200, `"question":2`},
		{"POST", "/broke/search/answer", `{"device":"tv"}`, 422, "expected required property works to be present"},
		{"DELETE", "/broke/search?device=tv", "", 204, ""},
		{"GET", "/explain?name=x.example&device=tv", "", 200, `"type":"A"`},
		{"PUT", "/pause", `{"seconds":60}`, 200, `"kind":"pause","of":"everything","until":"1970-01-01T00:00:00Z"`},
		{"PUT", "/pause", `{"kind":"observe","of":"list","name":"x","seconds":60}`, 200, `"kind":"observe","of":"list","name":"x"`},
		{"PUT", "/pause", `{"of":"street","seconds":60}`, 422, "expected value to be one of"},
		{"PUT", "/pause", `{"seconds":0}`, 422, "expected number >= 1"},
		{"DELETE", "/pause", "", 200, `{"kind":"pause","of":"",`},
		{"DELETE", "/pause?kind=observe&of=group&name=kids", "", 200, `{"kind":"observe","of":"group",`},
		{"GET", "/nothing", "", 404, "there is no such operation"},
		{"GET", "", "", 404, "there is no such operation"},
		{"POST", "/status", "", 405, "GET, HEAD"},
	} {
		r := httptest.NewRequest(f.method, Prefix+f.path, strings.NewReader(f.body))
		if f.body != "" {
			r.Header.Set("Content-Type", "application/json")
		}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if w.Code != f.status || !strings.Contains(w.Body.String(), f.want) {
			t.Errorf("%s %s: got %d %s, want %d %s", f.method, f.path, w.Code, w.Body.String(), f.status, f.want)
		}
		if kind := w.Header().Get("Content-Type"); f.status >= 400 && f.want != "" && kind != "application/problem+json" {
			t.Errorf("%s %s: got an error of type %q", f.method, f.path, kind)
		}
		if allow := w.Header().Get("Allow"); f.status == 405 && allow != "GET, HEAD" {
			t.Errorf("%s %s: got Allow: %q", f.method, f.path, allow)
		}
	}
	if want := (Rule{Name: "x.example", Action: "block", Device: "tv", Seconds: 60}); paused != 60 || rule != want {
		t.Errorf("got %d seconds and %+v", paused, rule)
	}
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	if w.Code != 404 {
		t.Errorf("/: got %d", w.Code)
	}
}

// The page of the API has every operation, and none that is not there.
func TestThePageHasEveryOperation(t *testing.T) {
	page, err := os.ReadFile("../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	text, err := openAPI()
	if err != nil {
		t.Fatal(err)
	}
	var document struct{ Paths map[string]map[string]any }
	if err := json.Unmarshal(text, &document); err != nil {
		t.Fatal(err)
	}
	there := map[string]bool{}
	for path, methods := range document.Paths {
		for method := range methods {
			operation := strings.ToUpper(method) + " " + strings.TrimPrefix(path, Prefix)
			there[operation] = true
			if !bytes.Contains(page, []byte("`"+operation+"`")) {
				t.Errorf("docs/api.md does not have `%s`: write in its table what it does", operation)
			}
		}
	}
	for _, m := range regexp.MustCompile("`((?:GET|POST|PUT|PATCH|DELETE) /[^` ]*)`").FindAllSubmatch(page, -1) {
		if !there[string(m[1])] {
			t.Errorf("docs/api.md has `%s`, and the API has not", m[1])
		}
	}
}

// openAPI returns the OpenAPI 3.1 document of the API, as
// /api/v1/openapi.json of the full program has it.
func openAPI() ([]byte, error) {
	api := humago.New(http.NewServeMux(), document())
	register(api, &Options{})
	return api.OpenAPI().MarshalJSON()
}
