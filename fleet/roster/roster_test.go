package roster

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"telltale/querylog/seal"
)

// A sealed is a node's log that is sealed.
type sealed struct {
	t   *testing.T
	key *seal.Key
}

func newSealed(t *testing.T, store string) *sealed {
	key, err := seal.NewKey(seal.OriginOf(store))
	if err != nil {
		t.Fatal(err)
	}
	return &sealed{t, key}
}

// at returns what a node reports whose log has so many leaves, of a past.
func (s *sealed) at(size int64, past string) State {
	s.t.Helper()
	text, err := s.key.Sign(size, sha256.Sum256([]byte(past)))
	if err != nil {
		s.t.Fatal(err)
	}
	return State{Time: time.Now(), Checkpoint: string(text), Key: s.key.Public}
}

func TestANodeWhosePastChangedIsNoticed(t *testing.T) {
	dir := t.TempDir()
	var told []string
	open := func() *Roster {
		r, err := Open(Options{Dir: dir, Changed: func(node, how string) { told = append(told, node+": "+how) }})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	r, log := open(), newSealed(t, "0000000000000001")
	take := func(st State) {
		t.Helper()
		if err := r.Take("kitchen", "192.0.2.1:1", st); err != nil {
			t.Fatal(err)
		}
	}
	take(log.at(10, "a"))
	take(log.at(10, "a"))
	take(log.at(20, "ab"))
	if len(told) > 0 {
		t.Fatalf("a log that only grew: %v", told)
	}
	r = open() // a center that starts again knows it
	take(log.at(15, "a"))
	if len(told) != 1 || !strings.Contains(told[0], "15 leaves, and had 20") {
		t.Errorf("a log that became shorter: %v", told)
	}
	take(log.at(15, "a"))
	if len(told) != 1 {
		t.Errorf("it is told again: %v", told)
	}
	if err := Accept(dir, "kitchen"); err != nil {
		t.Fatal(err)
	}
	take(log.at(20, "xy"))
	if len(told) != 2 || !strings.Contains(told[1], "another root") {
		t.Errorf("a log of the same length with another past: %v", told)
	}
	if err := Accept(dir, "kitchen"); err != nil {
		t.Fatal(err)
	}
	take(newSealed(t, "0000000000000002").at(30, "z"))
	if len(told) != 3 || !strings.Contains(told[2], "another one") {
		t.Errorf("another store: %v", told)
	}
	forged := log.at(40, "z")
	forged.Key = newSealed(t, "0000000000000001").key.Public
	if err := Accept(dir, "kitchen"); err != nil {
		t.Fatal(err)
	}
	take(forged)
	if len(told) != 4 || !strings.Contains(told[3], "not signed") {
		t.Errorf("a checkpoint of another key: %v", told)
	}
	files, err := filepath.Glob(filepath.Join(dir, checkpoints, "kitchen", "*"))
	if err != nil || len(files) == 0 {
		t.Errorf("no checkpoint is kept: %v", err)
	}
}

func TestAReportIsKept(t *testing.T) {
	dir := t.TempDir()
	r, err := Open(Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	h := r.Handler(func(*http.Request) string { return "kitchen" })
	send := func(body []byte) int {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, Path, bytes.NewReader(body)))
		return w.Code
	}
	ahead := State{Time: time.Now().Add(time.Hour), Policy: "v2", Lists: []List{{Name: "ads", Rules: 3}}}
	body, err := json.Marshal(ahead)
	if err != nil {
		t.Fatal(err)
	}
	if code := send(body); code != http.StatusNoContent {
		t.Fatalf("a report is answered %d", code)
	}
	for _, bad := range [][]byte{nil, []byte("{"), bytes.Repeat([]byte(" "), mostReport+1)} {
		if code := send(bad); code != http.StatusBadRequest {
			t.Errorf("%.10q is answered %d", bad, code)
		}
	}
	all, err := Read(dir)
	if err != nil || len(all) != 1 || all[0].Node != "kitchen" || all[0].State.Policy != "v2" || all[0].Ahead < 3590 || all[0].Ahead > 3601 {
		t.Errorf("got %+v, %v", all, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "attic.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if all, err = Read(dir); err != nil || len(all) != 2 || !strings.Contains(all[0].Changed, "attic.json is damaged") {
		t.Errorf("a damaged entry: %+v, %v", all, err)
	}
}

func TestADamagedFileIsMovedAsideAndSaid(t *testing.T) {
	dir := t.TempDir()
	r, err := Open(Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	for _, node := range []string{"attic", "cellar"} {
		if err := r.Take(node, "192.0.2.1:1", State{Time: time.Now(), Policy: "v1"}); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, "attic.json")
	if err := os.WriteFile(path, []byte(`{"node": "attic", "see`), 0o600); err != nil {
		t.Fatal(err)
	}
	entries, err := Read(dir) // by a command, before the center starts
	if err != nil || len(entries) != 2 || !strings.Contains(entries[0].Changed, "is damaged") || entries[1].State.Policy != "v1" {
		t.Errorf("got %+v, %v", entries, err)
	}
	told := ""
	r, err = Open(Options{Dir: dir, Damaged: func(node, aside string) { told = node + " " + aside }})
	if err != nil {
		t.Fatal(err)
	}
	if want := "attic " + path + ".damaged"; told != want {
		t.Errorf("got %q, want %q", told, want)
	}
	if text, err := os.ReadFile(path + ".damaged"); err != nil || !strings.HasSuffix(string(text), `"see`) {
		t.Errorf("what is kept of it: %q, %v", text, err)
	}
	if err := r.Take("attic", "192.0.2.1:1", State{Time: time.Now(), Policy: "v2"}); err != nil {
		t.Fatal(err)
	}
	entries, err = Read(dir)
	if err != nil || len(entries) != 2 || entries[0].State.Policy != "v2" || !strings.HasPrefix(entries[0].Changed, "unknown since ") {
		t.Errorf("got %+v, %v", entries, err)
	}
}

func TestWhatANodeSaysIsTextAlone(t *testing.T) {
	dir := t.TempDir()
	r, err := Open(Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	evil := "a\x1b[2J\u202eb\nc\u009b1m\x00"
	st := State{Time: time.Now(), Program: evil, Policy: evil, Refused: evil, Why: evil, Shipped: Shipping{Problem: evil}, Lists: []List{{Name: evil, Kind: evil, Hash: evil}}}
	if err := r.Take("attic", "192.0.2.1:1", st); err != nil {
		t.Fatal(err)
	}
	entries, err := Read(dir)
	if err != nil || len(entries) != 1 {
		t.Fatalf("got %+v, %v", entries, err)
	}
	got := entries[0].State
	for _, text := range []string{got.Program, got.Policy, got.Refused, got.Why, got.Shipped.Problem, got.Lists[0].Name, got.Lists[0].Kind, got.Lists[0].Hash} {
		if want := "a[2Jb c1m"; text != want {
			t.Errorf("got %q, want %q", text, want)
		}
	}
}
