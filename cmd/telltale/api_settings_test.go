package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"telltale/web"
)

func TestSettingsAreChangedByVersion(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	srv := startTestServer(t, dir, everything(t), "alerts: {ntfy: {url: https://ntfy.example/geheim}}\n")
	first := srv.call("GET", "/settings", "", nil)
	var all web.AllSettings
	if first.into(t, &all); first.status != 200 || first.tag == "" || strings.Contains(first.body, "geheim") {
		t.Fatalf("got %+v", first)
	}
	if i := slices.IndexFunc(all.Settings, func(s web.Setting) bool { return s.Key == "blocking.ttl" }); all.Settings[i].Value != "10s" || all.Settings[i].Source != "default" || !all.Settings[i].Live {
		t.Errorf("got %+v", all.Settings[i])
	}
	got := srv.call("PATCH", "/settings", first.tag, web.SettingsChange{Set: map[string]any{"blocking.ttl": "30s", "limits.waiting": 50, "devices": []any{map[string]any{"name": "tv", "address": "127.0.0.9"}}}})
	var c web.SettingsChanged
	if got.into(t, &c); got.status != 200 || !slices.Equal(c.Live, []string{"blocking.ttl", "devices"}) || !slices.Equal(c.Restart, []string{"limits.waiting"}) {
		t.Fatalf("got %+v", got)
	}
	if got := srv.app.cfg.Load(); got.Blocking.TTL.String() != "30s" || len(got.Devices) != 1 {
		t.Errorf("got %+v", got.Blocking)
	}
	overlay := filepath.Join(dir, "lists", "settings.yaml")
	before, err := os.ReadFile(overlay)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []struct {
		what   string
		tag    string
		body   any
		status int
		want   string
	}{
		{"a version that is gone", first.tag, web.SettingsChange{Set: map[string]any{"blocking.ttl": "40s"}}, 412, `"text":"# Settings that`},
		{"a wrong value beside a good one", got.tag, web.SettingsChange{Set: map[string]any{"blocking.ttl": "40s", "blocking.mode": "nx"}}, 422, `"settings":[{"key":"blocking.mode","where":"` + overlay},
		{"what does not fit the rest", "", web.SettingsChange{Set: map[string]any{"groups": []any{map[string]any{"name": "g", "lists_on": []any{"nosuch"}}}}}, 422, "nosuch"},
		{"a record that is none", "", web.SettingsChange{Set: map[string]any{"local.records": []any{"x"}}}, 422, "local.records[0]"},
		{"a program", "", web.SettingsChange{Set: map[string]any{"tls.acme.hook": "/bin/sh"}}, 422, "tls.acme.hook"},
		{"null", "", map[string]any{"set": map[string]any{"node": nil}}, 422, "node"},
		{"nothing", "", web.SettingsChange{}, 422, "nothing is to be set"},
		{"deep", "", map[string]any{"set": map[string]any{"devices": deep(5000)}}, 422, "devices"},
	} {
		if got := srv.call("PATCH", "/settings", f.tag, f.body); got.status != f.status || !strings.Contains(got.body, f.want) {
			t.Errorf("%s: got %d %.400s, want %d %s", f.what, got.status, got.body, f.status, f.want)
		}
	}
	if after, _ := os.ReadFile(overlay); string(after) != string(before) {
		t.Errorf("the overlay is\n%s", after)
	}
	if got := srv.call("GET", "/settings", "", nil); !strings.Contains(got.body, `"pending":"50"`) {
		t.Errorf("got %.300s", got.body)
	}
}

// deep is n lists, each in the next.
func deep(n int) any {
	var v any = "x"
	for range n {
		v = []any{v}
	}
	return v
}
