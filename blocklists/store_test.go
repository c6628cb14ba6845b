package blocklists

import (
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"go.uber.org/goleak"

	"telltale/dnswire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// files writes list files into a new directory.
func files(t testing.TB, contents map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range contents {
		write(t, filepath.Join(dir, name), text)
	}
	return dir
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// shippedFS makes shipped lists.
func shippedFS(contents map[string]string) fstest.MapFS {
	m := fstest.MapFS{}
	for name, text := range contents {
		m[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return m
}

func openStoreT(t testing.TB, o Options) *Store {
	t.Helper()
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func policyOf(t testing.TB, o Options) *Policy {
	t.Helper()
	s, err := OpenReadOnly(o)
	if err != nil {
		t.Fatal(err)
	}
	return s.Current()
}

func name(t testing.TB, s string) *dnswire.Name {
	t.Helper()
	n, err := dnswire.ParseName(s)
	if err != nil {
		t.Fatal(err)
	}
	return &n
}

// said is a verdict as tests write it: "block own:1", "pass".
func said(v Verdict) string {
	s := v.Action.String()
	if v.Rule != 0 {
		r := v.Policy.Rule(v.Rule)
		s += " " + r.List + " " + r.Text
	}
	return s
}

// reports collects what goes to the quality ledger.
type reports struct {
	mu   sync.Mutex
	seen []string
}

func (r *reports) add(kind, subject, detail string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen = append(r.seen, kind+" "+subject)
}

func (r *reports) all() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.seen)
}

func (r *reports) has(want string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.seen {
		if s == want {
			return true
		}
	}
	return false
}

// eventually waits until is true.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !is() {
		if time.Now().After(deadline) {
			t.Fatalf("not within a minute: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}
