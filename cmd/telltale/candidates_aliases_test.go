package main

import (
	"encoding/json"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"testing"

	"telltale/config"
	"telltale/web"
)

// A name that the server refuses to look up is left out, and those behind it are not; without a server none is asked for again.
func TestAliasesAreAskedForBehindANameThatIsRefused(t *testing.T) {
	cfg := &config.Config{}
	cfg.Control.Socket = filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", cfg.Control.Socket)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := r.URL.Query().Get("name")
		if name == "refused.example" {
			http.Error(w, `{"detail": "no"}`, http.StatusUnprocessableEntity)
			return
		}
		json.NewEncoder(w).Encode([]web.CachedAnswer{{Answer: []string{name + ". 60 IN CNAME to." + name + "."}}})
	})}
	go srv.Serve(l)
	aliases := (&cli{}).keptAliases(t.Context(), &openedLog{cfg: cfg})
	for _, c := range []struct {
		name string
		want []string
	}{{"a.example", []string{"to.a.example"}}, {"refused.example", nil}, {"b.example", []string{"to.b.example"}}} {
		if got := aliases(c.name); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
	srv.Close()
	if got := aliases("a.example"); got != nil {
		t.Errorf("without a server: got %q, want none", got)
	}
	if l, err = net.Listen("unix", cfg.Control.Socket); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if got := aliases("a.example"); got != nil { // nobody accepts: it would wait
		t.Errorf("after the server was gone: got %q, want none", got)
	}
}
