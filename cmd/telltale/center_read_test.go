//go:build !small

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"telltale/fleet"
	"telltale/fleet/clickhouse"
	"telltale/fleet/clickhouse/servertest"
	"telltale/fleet/storetest"
	"telltale/querylog"
)

// mergedLogs are the settings of two centers with the same logs of two nodes: one keeps them in SQLite, one in ClickHouse.
func mergedLogs(t *testing.T, srv *servertest.Server) (sqlite, elsewhere string) {
	t.Helper()
	settings := func(name, center string) string {
		dir := t.TempDir()
		file := filepath.Join(dir, "telltale.yaml")
		writeFile(t, file, "data: {dir: "+dir+"}\nlists: {dir: "+filepath.Join(dir, "lists.d")+"}\ncenter: {dir: "+filepath.Join(dir, "center")+center+"}\n")
		return file
	}
	host := srv.Host
	sqlite, elsewhere = settings("sqlite", ""), settings("clickhouse", `, store: "clickhouse://`+host+`/merged"`)
	keep := querylog.Retention{Listed: -1, Unlisted: -1, Totals: -1}
	one, err := fleet.OpenSQLite(querylog.Options{Dir: filepath.Join(filepath.Dir(sqlite), "center", "log"), Node: "center", Retention: keep})
	if err != nil {
		t.Fatal(err)
	}
	address, err := clickhouse.ParseAddress("clickhouse://" + host + "/merged")
	if err != nil {
		t.Fatal(err)
	}
	two, err := clickhouse.Open(t.Context(), clickhouse.Options{Address: address, Keep: keep})
	if err != nil {
		t.Fatal(err)
	}
	for i, name := range []string{"attic", "cellar"} {
		n := storetest.NewNode(t, name)
		n.Now = n.Now.Add(time.Duration(i) * 30 * time.Second)
		for range 3 {
			n.Store(storetest.Lookup{Device: 1, Name: "metrics.aurora.example", Times: 3}, storetest.Lookup{Device: 2, Name: "viewing.brightline.example"}, storetest.Lookup{Device: 1, Name: "shop.example", Times: 2})
			n.Now = n.Now.Add(17 * time.Minute)
		}
		for _, s := range []fleet.Store{one, two} {
			if got, err := s.Append(t.Context(), n.Batches(0, 0, true)); err != nil || got[0].Err != nil {
				t.Fatal(got, err)
			}
		}
	}
	for _, s := range []fleet.Store{one, two} {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return sqlite, elsewhere
}

// Rows have another number in a SQLite center than at their node; when a report was made is in it.
var ofTheEngine = regexp.MustCompile(`"(id|store|binding|made)":\s*("[^"]*"|\d+),?`)

func TestCommandsSayTheSameOfAMergedLogInSQLiteAndInClickHouse(t *testing.T) {
	t.Parallel()
	srv := servertest.Start(t, servertest.Options{})
	sqlite, elsewhere := mergedLogs(t, srv)
	since, until := storetest.Began.Add(-time.Hour).UTC().Format(time.RFC3339), storetest.Began.Add(3*time.Hour).UTC().Format(time.RFC3339)
	for _, c := range []string{
		"log --json", "log --format csv --vendor aurora", "log --json --limit 4", "log --json --device mac:02:00:00:00:00:01", "log --json --name shop",
		"top names --json", "top devices --json", "top vendors --json", "top names",
		"report --json", "report mac:02:00:00:00:00:01 --json", "report --vendor Brightline --json", "report --format text",
	} {
		var said [2]string
		for i, file := range []string{sqlite, elsewhere} {
			out, exit := runs(t, append(strings.Fields(c), "--all-nodes", "--since", since, "--until", until, "--config", file)...)
			if exit != 0 {
				t.Fatalf("%s of %s: exit %d: %s", c, file, exit, out)
			}
			said[i] = ofTheEngine.ReplaceAllString(out, "")
		}
		if strings.HasPrefix(c, "log --format csv") {
			for i := range said {
				said[i] = withoutColumns(said[i], "id", "store", "binding")
			}
		}
		if said[0] != said[1] {
			t.Errorf("%s: ClickHouse and SQLite differ: %s", c, firstDifference(said[1], said[0]))
		}
		if !strings.Contains(said[0], "Brightline") && !strings.Contains(said[0], "aurora") && !strings.Contains(said[0], "02:00:00:00:00:01") && !strings.Contains(said[0], "shop.example") {
			t.Errorf("%s shows nothing: %s", c, said[0])
		}
	}
	srv.Kill()
	for _, c := range []string{"log", "top names", "report"} {
		if out, exit := runs(t, append(strings.Fields(c), "--all-nodes", "--config", elsewhere)...); exit != 1 || !strings.Contains(out, "center.store") {
			t.Errorf("%s of a server that is down: exit %d: %s", c, exit, out)
		}
	}
}

// withoutColumns leaves columns of CSV without quotes out.
func withoutColumns(text string, names ...string) string {
	var out strings.Builder
	var keep []int
	for n, line := range strings.Split(strings.TrimSpace(text), "\n") {
		fields := strings.Split(line, ",")
		if n == 0 {
			for i, f := range fields {
				if !strings.Contains(" "+strings.Join(names, " ")+" ", " "+f+" ") {
					keep = append(keep, i)
				}
			}
		}
		for _, i := range keep {
			if i < len(fields) {
				fmt.Fprintf(&out, "%s,", fields[i])
			}
		}
		out.WriteByte('\n')
	}
	return out.String()
}

func TestAMergedLogInClickHouseThatNoCenterKeptIsSaidToBeNone(t *testing.T) {
	t.Parallel()
	srv := servertest.Start(t, servertest.Options{})
	dir := t.TempDir()
	file := filepath.Join(dir, "telltale.yaml")
	writeFile(t, file, "data: {dir: "+dir+"}\ncenter: {store: \"clickhouse://"+srv.Host+"/none\"}\n")
	if out, exit := runs(t, "log", "--all-nodes", "--config", file); exit != 1 || !strings.Contains(out, "no center has kept one there yet") {
		t.Errorf("exit %d: %s", exit, out)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("reading made %v (%v)", entries, err)
	}
}

// firstDifference returns the first line in which two texts differ.
func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range max(len(g), len(w)) {
		if i >= len(g) || i >= len(w) {
			return fmt.Sprintf("got %d lines, want %d", len(g), len(w))
		}
		if g[i] != w[i] {
			return fmt.Sprintf("line %d: got %s, want %s (behind %s)", i+1, g[i], w[i], strings.Join(w[max(0, i-6):i], "\n"))
		}
	}
	return "not at all"
}
