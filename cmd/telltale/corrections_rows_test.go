package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"telltale/querylog"
)

// What people say of devices changes what is shown and no row; forgetting a device removes
// its rows, and changes none of another's.
func TestCorrectionsRewriteNoRow(t *testing.T) {
	dir := t.TempDir()
	settings := "devices:\n  - {name: tv, address: 127.0.0.2}\n  - {name: pad, address: 127.0.0.3}\n  - {name: box, address: 127.0.0.4}\n"
	srv := startTestServer(t, dir, netip.MustParseAddrPort("127.0.0.1:1"), settings)
	for from, names := range map[string][]string{"127.0.0.2": {"mistat.xiaomi.com", "data.mistat.xiaomi.com"}, "127.0.0.3": {"mistat.xiaomi.com", "adtech.example"}, "127.0.0.4": {"tracking.miui.com"}} {
		for _, name := range names {
			if _, err := srv.ask([]string{name, "A", "from=" + from}); err != nil {
				t.Fatal(err)
			}
		}
	}
	srv.stop() // the rows are stored
	before := checksums(t, filepath.Join(dir, "data"))
	if len(before) != 5 {
		t.Fatalf("%d rows", len(before))
	}
	srv.start()
	for _, step := range []struct {
		command, device string
		shown           int // rows of the device, after it
	}{
		{"name tv Lounge", "Lounge", 2},
		{"merge Lounge pad", "Lounge", 4},
		{"kind Lounge tv", "Lounge", 4},
		{"split Lounge --from 1h --name Other", "Other", 4},
		{"ignore box", "box", 1},
		{"undo 5", "box", 1},
		{"undo 4", "Lounge", 4},
		{"undo 3", "Lounge", 4},
		{"undo 2", "Lounge", 2},
		{"undo 1", "tv", 2},
	} {
		if out, exit := srv.run(append([]string{"devices"}, strings.Fields(step.command)...)...); exit != 0 {
			t.Fatalf("%s: %s", step.command, out)
		}
		out, _ := srv.run("log", "--device", step.device, "--json")
		if got := strings.Count(out, `"client":`); got != step.shown {
			t.Errorf("after %q %s has %d rows, want %d:\n%s", step.command, step.device, got, step.shown, out)
		}
		if got := checksums(t, filepath.Join(dir, "data")); !maps.Equal(got, before) {
			t.Errorf("%q has changed rows", step.command)
		}
	}
	srv.stop()
	if err := os.WriteFile(filepath.Join(dir, "telltale.yaml"), nil, 0o644); err != nil { // which named it
		t.Fatal(err)
	}
	srv.start()
	srv.app.lastDay.last = &day{clients: map[string]uint64{"192.168.1.20": 7}}
	if out, exit := srv.run("devices", "forget", "tv", "--yes"); exit != 0 {
		t.Fatal(out)
	}
	if srv.app.lastDay.last != nil {
		t.Error("what findings rest on was read before, and is kept")
	}
	maps.DeleteFunc(before, func(_ int64, sum string) bool { return strings.HasSuffix(sum, " tv") })
	if got := checksums(t, filepath.Join(dir, "data")); !maps.Equal(got, before) || len(got) != 3 {
		t.Errorf("after it was forgotten there are %v, want %v", slices.Collect(maps.Values(got)), slices.Collect(maps.Values(before)))
	}
}

// checksums returns that of each row of a store, with the device behind it, by the row's number.
func checksums(t *testing.T, data string) map[int64]string {
	t.Helper()
	r, err := querylog.OpenReader(data)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	sums := map[int64]string{}
	for row, err := range r.Rows(ctx, querylog.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(row)
		if err != nil {
			t.Fatal(err)
		}
		sums[row.ID] = fmt.Sprintf("%x %s", sha256.Sum256(text), row.Device)
	}
	return sums
}
