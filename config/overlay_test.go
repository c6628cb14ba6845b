package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// settingsDir returns a directory with a settings file of that text, whose lists
// are in lists.d beside it and whose data is in data.
func settingsDir(t *testing.T, text string) (dir, file string) {
	t.Helper()
	dir = t.TempDir()
	for _, d := range []string{"lists.d", "data"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	file = filepath.Join(dir, "telltale.yaml")
	writeFile(t, file, "lists:\n  dir: lists.d\n"+text)
	return dir, file
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestTheOverlaysListsComeBehindThoseOfTheFile(t *testing.T) {
	dir, file := settingsDir(t, "  subscriptions: [{name: mine, url: https://a.example/l}]\n")
	overlay := filepath.Join(dir, "lists.d", OverlayName)
	writeFile(t, overlay, "lists:\n  subscriptions:\n  - {name: added, url: https://b.example/l, observe: true}\n")
	c, err := Load(file, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := c.Lists.Subscriptions
	if len(s) != 2 || s[0].Name != "mine" || s[1].Name != "added" || !s[1].Observe.On || !s[1].Enabled {
		t.Errorf("got %+v", s)
	}
	if c.Overlay != overlay || c.InOverlay("mine") || !c.InOverlay("ADDED") {
		t.Errorf("got overlay %q, mine in it: %v, added in it: %v", c.Overlay, c.InOverlay("mine"), c.InOverlay("ADDED"))
	}
}

func TestMistakesOfTheOverlay(t *testing.T) {
	for _, f := range []struct{ name, text, want string }{
		{"no YAML", "a: [", "subscriptions.yaml:1: not YAML"},
		{"another setting", "lists:\n  dir: /elsewhere\n", "subscriptions.yaml:2: lists.dir: cannot be set in this file; expected only lists.subscriptions"},
		{"another section", "blocking: {mode: nxdomain}", "subscriptions.yaml:1: blocking: cannot be set in this file"},
		{"a key that is none", "list: {}", "did you mean lists?"},
		{"a list without URL", "lists:\n  subscriptions:\n  - name: b\n", "subscriptions.yaml:3: lists.subscriptions[1]: no url"},
		{"a name of the file's", "lists:\n  subscriptions:\n  - {url: https://b.example/l,\n     name: MINE}\n", `subscriptions.yaml:4: lists.subscriptions[1].name: found "mine" a second time`},
		{"a wrong word", "lists: {subscriptions: [{name: b, url: https://b.example/l, mode: nx}]}", `subscriptions.yaml:1: lists.subscriptions[1].mode: found "nx"`},
	} {
		dir, file := settingsDir(t, "  subscriptions: [{name: mine, url: https://a.example/l}]\n")
		writeFile(t, filepath.Join(dir, "lists.d", OverlayName), f.text)
		c, err := Load(file, nil, nil)
		if err == nil || !strings.Contains(err.Error(), f.want) {
			t.Errorf("%s: got %v, %v\nwant %s", f.name, c, err, f.want)
		}
	}
	dir, file := settingsDir(t, "")
	if err := os.Mkdir(filepath.Join(dir, "lists.d", OverlayName), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(file, nil, nil); err == nil || !strings.Contains(err.Error(), "subscriptions.yaml: not a regular file") {
		t.Errorf("a directory: got %v", err)
	}
}

func TestASubscriptionIsAddedAndRemoved(t *testing.T) {
	dir, file := settingsDir(t, "")
	overlay := filepath.Join(dir, "lists.d", OverlayName)
	load := func() *Config {
		t.Helper()
		c, err := Load(file, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	add := func(name, url string) {
		t.Helper()
		text, err := load().WithSubscription(name, url)
		if err != nil {
			t.Fatal(err)
		}
		writeFile(t, overlay, string(text))
	}
	add("one", "https://a.example/l?x=1&y=: #")
	text, _ := os.ReadFile(overlay)
	if !strings.HasPrefix(string(text), overlayHead) {
		t.Errorf("a new overlay begins with\n%s", text)
	}
	writeFile(t, overlay, strings.Replace(string(text), "- name: one", "- name: one # a comment\n      observe: true", 1))
	add("two: - x", "https://b.example/l")
	s := load().Lists.Subscriptions
	if len(s) != 2 || s[0].URL != "https://a.example/l?x=1&y=: #" || !s[0].Observe.On || s[1].Name != "two: - x" {
		t.Errorf("got %+v", s)
	}
	if text, _ := os.ReadFile(overlay); !strings.Contains(string(text), "# a comment") {
		t.Errorf("a comment is gone:\n%s", text)
	}
	if _, ok, err := load().WithoutSubscription("three"); ok || err != nil {
		t.Errorf("removing what is not there: got %v, %v", ok, err)
	}
	out, ok, err := load().WithoutSubscription("ONE")
	if !ok || err != nil {
		t.Fatalf("got %v, %v", ok, err)
	}
	writeFile(t, overlay, string(out))
	if s := load().Lists.Subscriptions; len(s) != 1 || s[0].Name != "two: - x" {
		t.Errorf("got %+v", s)
	}
}
