package main

import (
	"path/filepath"
	"strings"
	"testing"

	"telltale/web"
)

func TestTextsAreLookedOver(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	srv := startTestServer(t, dir, everything(t), "")
	save(t, filepath.Join(dir, "lists", "mine.txt"), "ads.example\nno rule !\n")
	soon(t, "a bad line", "200", func() string {
		got := srv.call("GET", "/lists/mistakes?name=mine", "", nil)
		if got.status == 200 && strings.Contains(got.body, `"total":1,"bad":[{"line":2`) {
			return "200"
		}
		return got.body
	})
	for _, f := range []struct {
		method, path string
		body         any
		status       int
		want         string
	}{
		{"GET", "/lists/mistakes?name=nosuch", nil, 404, "no list called nosuch"},
		{"GET", "/lists/mistakes?name=mine&limit=0", nil, 422, "expected number"},
		{"GET", "/lists/presets", nil, 200, `"name":"hagezi-light"`},
		{"POST", "/lists/check", web.ListText{Text: "ads.example\nx.ads.example\nno rule !\n192.168.1.9 nas.lan\n"}, 200, `"kind":"redundant"`},
		{"POST", "/lists/check", web.ListText{Text: "192.168.1.9 nas.lan\n", Own: true}, 200, `"bad_lines":0`},
		{"POST", "/lists/check", web.ListText{Text: "^ads[0-9]+\\.example$\n", Format: "regex"}, 200, `"regex":1`},
		{"POST", "/lists/check", web.ListText{Text: "x", Format: "word"}, 422, "expected value to be one of"},
		{"POST", "/lists/check", web.ListText{}, 200, `"rules":0`},
	} {
		if got := srv.call(f.method, f.path, "", f.body); got.status != f.status || !strings.Contains(got.body, f.want) {
			t.Errorf("%s %s %+v: got %d %.400s, want %d %s", f.method, f.path, f.body, got.status, got.body, f.status, f.want)
		}
	}
}
