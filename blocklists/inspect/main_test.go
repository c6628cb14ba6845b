package inspect

import (
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"

	"go.uber.org/goleak"

	"telltale/blocklists"
	"telltale/dnswire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// files writes list files into a new directory.
func files(t testing.TB, contents map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range contents {
		check(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	return dir
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
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

func openStore(t testing.TB, o blocklists.Options) *blocklists.Store {
	t.Helper()
	s, err := blocklists.OpenReadOnly(o)
	check(t, err)
	t.Cleanup(func() { s.Close() })
	return s
}

func policyOf(t testing.TB, o blocklists.Options) *blocklists.Policy {
	t.Helper()
	return openStore(t, o).Current()
}

func name(t testing.TB, s string) *dnswire.Name {
	t.Helper()
	n, err := dnswire.ParseName(s)
	check(t, err)
	return &n
}

// said is a verdict in words.
func said(v blocklists.Verdict) string {
	if v.Rule == 0 {
		return v.Action.String()
	}
	r := v.Policy.Rule(v.Rule)
	return v.Action.String() + " " + r.List + " " + r.Text
}
