//go:build !small

package main

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"telltale/fleet/clickhouse/servertest"
)

func TestTablesOfTheMergedLogAreMadeByACommand(t *testing.T) {
	t.Parallel()
	srv := servertest.Start(t, servertest.Options{})
	dir := t.TempDir()
	settings := filepath.Join(dir, "telltale.yaml")
	write := func(store string) {
		t.Helper()
		text := "data:\n  dir: " + dir + "\nlists:\n  dir: " + filepath.Join(dir, "lists.d") + "\ncenter:\n  store: " + store + "\n"
		if err := os.WriteFile(settings, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("clickhouse://" + srv.Host + "/migrated")
	for range 2 { // a second time there is nothing to do
		if out, exit := commandIn(t, dir, "center", "migrate", "--config", settings); exit != 0 || !strings.Contains(out, "are of this version") {
			t.Fatalf("exit %d: %s", exit, out)
		}
	}
	r, err := http.Get("http://" + srv.Host + "/?query=SELECT+count()+FROM+migrated.lookup")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusOK {
		t.Errorf("the table of rows is not there: status %d", r.StatusCode)
	}
	write("clickhouse://127.0.0.1:1/migrated")
	if out, exit := commandIn(t, dir, "center", "migrate", "--config", settings); exit == 0 || !strings.Contains(out, "center.store") || !strings.Contains(out, "127.0.0.1:1") {
		t.Errorf("a server that is not there, exit %d: %s", exit, out)
	}
	write(`""`)
	if out, exit := commandIn(t, dir, "center", "migrate", "--config", settings); exit != 0 || !strings.Contains(out, "nothing to do") {
		t.Errorf("SQLite, exit %d: %s", exit, out)
	}
}
