package main

import (
	"archive/zip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"telltale/evidence"
	"telltale/evidence/bundle"
	"telltale/querylog"
	"telltale/web"
)

// send sends a request with a body to the server's API as a caller.
func (srv *testServer) send(caller web.Caller, method, path, body string) (status int, answer string) {
	srv.t.Helper()
	r := httptest.NewRequest(method, web.Prefix+path, strings.NewReader(body))
	w := httptest.NewRecorder()
	web.Handler(srv.app.apiOptions()).ServeHTTP(w, r.WithContext(web.WithCaller(r.Context(), caller)))
	return w.Code, w.Body.String()
}

// exported has a bundle made, and returns the last line of the answer.
func (srv *testServer) exported(caller web.Caller, body string) (last web.BundleStep) {
	srv.t.Helper()
	status, answer := srv.send(caller, "POST", "/evidence/export", body)
	if status != http.StatusOK {
		srv.t.Fatalf("%s: got %d %s", body, status, answer)
	}
	steps := 0
	for d := json.NewDecoder(strings.NewReader(answer)); ; steps++ {
		var step web.BundleStep
		if err := d.Decode(&step); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			srv.t.Fatal(err)
		}
		last = step
	}
	if !last.Done || last.Error == "" && steps < 3 {
		srv.t.Fatalf("%s: got %s", body, answer)
	}
	return last
}

// A bundle that the API made is one that others can check, has the rows of those devices alone that the
// caller may see, and can be fetched by that caller alone.
func TestABundleByTheAPI(t *testing.T) {
	t.Parallel()
	srv := asked(t, 2)
	all := web.Caller{Name: "anna", Access: web.Read}
	tv := web.Caller{Name: "kid", Access: web.Read, Limited: true, Devices: []string{"tv"}}
	if _, answer := srv.route(all, "/evidence/checkpoints"); answer != "[]\n" && !strings.Contains(answer, `"leaves"`) {
		t.Errorf("before anything is signed: got %s", answer)
	}
	srv.stop() // which signs what is sealed
	srv.start()
	out, exit := srv.run("evidence", "checkpoint", "--json")
	_, answer := srv.route(all, "/evidence/checkpoints")
	var heads []web.Checkpoint
	var head web.Checkpoint
	if err := errors.Join(json.Unmarshal([]byte(answer), &heads), json.Unmarshal([]byte(out), &head)); err != nil || exit != 0 || len(heads) != 1 || heads[0].Leaves < 2 || heads[0].Origin != head.Origin {
		t.Fatalf("got %s and %s, %v", answer, out, err)
	}
	files, err := os.ReadDir(srv.app.cfg.Load().Data.Dir)
	if err != nil {
		t.Fatal(err)
	}
	whole, own := srv.exported(all, `{"from":"1d"}`).Bundle, srv.exported(tv, `{"device":"tv"}`).Bundle
	if whole == nil || own == nil || own.Rows == 0 || own.Rows >= whole.Rows || own.Withheld <= whole.Withheld {
		t.Fatalf("got %+v and %+v", whole, own)
	}
	if after, err := os.ReadDir(srv.app.cfg.Load().Data.Dir); err != nil || len(after) != len(files) {
		t.Errorf("bundles leave files: got %v, want %v; %v", after, files, err)
	}
	for _, f := range []struct {
		what   string
		caller web.Caller
		of     *web.Bundle
		hidden []string
	}{{"of all", all, whole, nil}, {"of the TV", tv, own, []string{"handset", "crash.example", "shop-", "02:00:5e:10:00:02"}}} {
		status, text := srv.route(f.caller, "/evidence/bundles/"+f.of.ID)
		sum := sha256.Sum256([]byte(text))
		if status != http.StatusOK || int64(len(text)) != f.of.Bytes || hex.EncodeToString(sum[:]) != f.of.SHA256 {
			t.Fatalf("%s: got %d, %d octets with the hash %x, want %+v", f.what, status, len(text), sum, f.of)
		}
		r, err := bundle.Verify(strings.NewReader(text), int64(len(text)), &bundle.Trust{Key: f.of.Key})
		if err != nil || !r.Known || r.Counts[bundle.Row] != f.of.Rows {
			t.Errorf("%s: got %+v, %v", f.what, r, err)
		}
		for name, entry := range entriesOfZip(t, text) {
			for _, word := range f.hidden {
				if strings.Contains(entry, word) {
					t.Errorf("%s: %s has %q", f.what, name, word)
				}
			}
		}
	}
	for _, f := range []struct {
		caller       web.Caller
		method, path string
		body         string
		status       int
		want         string
	}{
		{tv, "GET", "/evidence/bundles/" + whole.ID, "", 404, "no such bundle of yours"},
		{all, "GET", "/evidence/bundles/" + own.ID, "", 404, "no such bundle of yours"},
		{web.Caller{Name: "kid", Access: web.Read, Limited: true, Devices: []string{"handset"}}, "GET", "/evidence/bundles/" + own.ID, "", 404, "no such bundle of yours"}, // who has another device now
		{all, "GET", "/evidence/bundles/x", "", 404, "no such bundle of yours"},
		{tv, "POST", "/evidence/export", `{}`, 403, "all devices"},
		{tv, "POST", "/evidence/export", `{"device":"handset"}`, 403, "may see"},
		{tv, "GET", "/evidence/checkpoints", "", 403, ""},
		{all, "POST", "/evidence/export", `{"device":"nobody"}`, 404, "nobody"},
		{all, "POST", "/evidence/export", `{"from":"someday"}`, 422, "someday"},
		{all, "POST", "/evidence/export", `{"redact_others":true}`, 422, "redact_others"},
		{all, "POST", "/evidence/export", `{"since":"1d"}`, 422, "since"},
	} {
		if status, answer := srv.send(f.caller, f.method, f.path, f.body); status != f.status || !strings.Contains(answer, f.want) {
			t.Errorf("%s %s %s by %s: got %d %s, want %d %s", f.method, f.path, f.body, f.caller.Name, status, answer, f.status, f.want)
		}
	}
	srv.app.bundles.making.Lock()
	if last := srv.exported(all, `{}`); !strings.Contains(last.Error, "another bundle is being made") {
		t.Errorf("two at once: got %+v", last)
	}
	srv.app.bundles.making.Unlock()
	_, ledger := srv.route(anybody, "/ledger?kind=change")
	if n := strings.Count(ledger, `"export-evidence"`); n != 3 || !strings.Contains(ledger, `"kid"`) {
		t.Errorf("the ledger has %d exports: %s", n, ledger)
	}
}

// Of bundles few are kept, for a while; one that is being fetched ends when that does.
func TestFewBundlesAreKept(t *testing.T) {
	t.Parallel()
	a := &app{}
	by := web.Caller{Name: "anna"}
	ctx := web.WithCaller(t.Context(), by)
	keep := func(id string, expires time.Time) *os.File {
		f, err := os.Create(filepath.Join(t.TempDir(), id))
		if err == nil {
			_, err = f.WriteString(id)
		}
		if err != nil {
			t.Fatal(err)
		}
		a.bundles.add(&keptBundle{Bundle: web.Bundle{ID: id, Bytes: int64(len(id)), Expires: expires}, by: by, file: f})
		return f
	}
	later := time.Now().Add(time.Hour)
	first := keep("first", later)
	held, err := a.bundleFile(ctx, "first")
	if err != nil {
		t.Fatal(err)
	}
	for range mostBundles {
		keep("more", later)
	}
	if _, err := a.bundleFile(ctx, "first"); !errors.Is(err, web.ErrNotFound) {
		t.Errorf("the oldest of too many: got %v", err)
	}
	if text, err := io.ReadAll(held); string(text) != "first" || err != nil {
		t.Errorf("who fetches it already: got %q, %v", text, err)
	}
	held.Close()
	if _, err := first.Write([]byte("x")); !errors.Is(err, os.ErrClosed) {
		t.Errorf("its file is not closed: got %v", err)
	}
	expired := keep("expired", time.Now())
	soon(t, "the expired one", "closed", func() string {
		if _, err := expired.Stat(); errors.Is(err, os.ErrClosed) {
			return "closed"
		}
		return "open"
	})
	a.bundles.close()
	if _, err := a.bundleFile(ctx, "more"); !errors.Is(err, web.ErrNotFound) {
		t.Errorf("after the end: got %v", err)
	}
}

// What is observed by the API is in force when it returns, and nothing is blocked by it; notes and
// templates are as the commands have them.
func TestCandidatesNotesAndTemplatesByTheAPI(t *testing.T) {
	t.Parallel()
	srv := asked(t, 1)
	rules := web.Caller{Name: "token t", Access: web.Rules}
	for _, f := range []struct {
		caller             web.Caller
		method, path, body string
		status             int
		want               string
	}{
		{anybody, "POST", "/candidates/observe", `{"name":"site-0.example"}`, 403, "rules"},
		{rules, "POST", "/candidates/observe", `{"name":"site-0.example"}`, 200, `"changed":true`},
		{rules, "POST", "/candidates/observe", `{"name":"site-0.example."}`, 200, `"changed":false`},
		{anybody, "GET", "/explain?name=site-0.example&offline=true", "", 200, `candidate site-0.example`},
		{rules, "POST", "/candidates/observe", `{"name":"a.tracker.example"}`, 409, "is listed already"},
		{rules, "POST", "/candidates/observe", `{"name":"192.0.2.1"}`, 422, "is an address"},
		{rules, "DELETE", "/candidates/observe?name=site-0.example", "", 200, `"changed":true`},
		{rules, "DELETE", "/candidates/observe?name=site-0.example", "", 404, "is not observed"},
		{anybody, "GET", "/candidates/proposal?name=site-0.example", "", 404, "is no candidate"},
		{anybody, "GET", "/candidates/proposal?name=..", "", 422, ""},
		{rules, "POST", "/notes", `{"text":"away","device":"tv"}`, 201, `"text":"away"`},
		{rules, "POST", "/notes", `{"text":"away","device":"nobody"}`, 404, "nobody"},
		{rules, "POST", "/notes", `{"text":""}`, 422, "body.text"},
		{rules, "POST", "/notes", `{"text":"x","at":"2126-01-01T00:00:00Z"}`, 422, "still to come"},
		{anybody, "POST", "/notes", `{"text":"away"}`, 403, "rules"},
		{anybody, "GET", "/experiments/templates?template=none", "", 404, "none"},
		{anybody, "GET", "/experiments/templates", "", 200, `"show_not"`},
	} {
		if status, answer := srv.send(f.caller, f.method, f.path, f.body); status != f.status || !strings.Contains(answer, f.want) {
			t.Errorf("%s %s %s by %s: got %d %s, want %d %s", f.method, f.path, f.body, f.caller.Name, status, answer, f.status, f.want)
		}
	}
	if out, exit := srv.run("candidates", "observe", "shop-0.example"); exit != 0 || !strings.Contains(out, "is observed: ") {
		t.Errorf("the command: got %d %s", exit, out)
	}
	if names, err := observedNames(srv.app.cfg.Load()); err != nil || !slices.Equal(names, []string{"shop-0.example"}) {
		t.Errorf("observed are %v, %v", names, err)
	}
	_, ledger := srv.route(anybody, "/ledger?kind=change&order=oldest")
	for _, want := range []string{"observe-candidate site-0.example", "end-observing site-0.example", "add-note", "observe-candidate shop-0.example"} {
		if !strings.Contains(ledger, want) {
			t.Errorf("the ledger has no %q: %s", want, ledger)
		}
	}
	if strings.Contains(ledger, "away") {
		t.Errorf("the ledger has the text of a note: %s", ledger)
	}
}

// entriesOfZip are the texts of an archive's entries, by name.
func entriesOfZip(t *testing.T, text string) map[string]string {
	t.Helper()
	r, err := zip.NewReader(strings.NewReader(text), int64(len(text)))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, f := range r.File {
		in, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(in)
		if err != nil {
			t.Fatal(err)
		}
		all[f.Name] = string(b)
	}
	return all
}

// What the ledger says of others' devices is not in the report of who may see some devices alone: the gaps are
// there, and not whose they are.
func TestReportsForSomeDevicesNameNoOthers(t *testing.T) {
	r := &evidence.Report{Coverage: evidence.Coverage{Gaps: []querylog.Gap{
		{Kind: "mac-shared", Subject: "02:00:5e:10:00:02", Detail: "it answers for 9 IPv4 addresses"}, {Kind: "address-contested", Subject: "192.0.2.7", Detail: "both 02:00:5e:10:00:02 and x answer for it"},
		{Kind: querylog.KindCrash, Detail: "the server had ended without notice"},
	}}}
	redactGaps(r.Coverage.Gaps)
	text, err := json.Marshal(r)
	if err != nil || strings.Contains(string(text), "02:00:5e:10:00:02") || strings.Contains(string(text), "192.0.2.7") {
		t.Errorf("got %s, %v", text, err)
	}
	if g := r.Coverage.Gaps; len(g) != 3 || g[0].Kind != "mac-shared" || g[2].Detail == "" {
		t.Errorf("got %+v", g)
	}
}
