package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"telltale/config"
)

// A candidate is not observed where that would block it: for all, or for a group.
func TestACandidateIsNeverBlocked(t *testing.T) {
	for _, c := range []struct {
		change func(*config.Config)
		want   string
	}{
		{func(*config.Config) {}, ""},
		{func(c *config.Config) { c.Blocking.Tier = "mixed" }, "blocking.tier is mixed"},
		{func(c *config.Config) { c.Groups = []config.Group{{Name: "kids", Tier: "mixed"}} }, "tier of the group kids is mixed"},
		{func(c *config.Config) { c.Lists.Settings = []config.List{{Name: "candidates", Tier: "mixed"}} }, "tier of the list candidates is mixed"},
		{func(c *config.Config) {
			c.Blocking.Tier, c.Lists.Settings = "mixed", []config.List{{Name: "candidates", Tier: "telemetry"}}
		}, ""},
	} {
		cfg := &config.Config{}
		cfg.Lists.Dir, cfg.Data.Dir = t.TempDir(), t.TempDir()
		c.change(cfg)
		name, err := parseHost("data.eu.example")
		if err != nil {
			t.Fatal(err)
		}
		path, _, err := observeCandidate(cfg, &name, false, func() error { return alreadyListed(cfg, &name) })
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %q", err, c.want)
		}
		if _, stat := os.Stat(path); (stat == nil) != (c.want == "") {
			t.Errorf("%q: the file is there: %v", c.want, stat == nil)
		}
	}
}

// A name that another list attributes or blocks is not observed as a candidate: it would be
// taken from its vendor, and blocked all the same.
func TestACandidateIsOnNoOtherList(t *testing.T) {
	cfg := &config.Config{}
	cfg.Lists.Dir, cfg.Data.Dir = t.TempDir(), t.TempDir()
	cfg.Blocking.Tier = "telemetry"
	if err := os.WriteFile(filepath.Join(cfg.Lists.Dir, "own.txt"), []byte("ads.example\nmail.example #@ vendor=Acme tier=mixed purpose=service\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, want string }{
		{"data.mistat.xiaomi.com", "of the list xiaomi (mistat.xiaomi.com)"},
		{"x.ads.example", "line 1 of the list own"},
		{"mail.example", "line 2 of the list own"},
		{"data.eu.example", ""},
		{"data.eu.example", ""}, // observed already
		{"more.data.eu.example", ""},
		{"com", "com is too wide to observe"},
		{".", ". is too wide to observe"},
	} {
		name, err := parseHost(c.name)
		if err != nil {
			t.Fatal(err)
		}
		_, changed, err := observeCandidate(cfg, &name, false, func() error { return alreadyListed(cfg, &name) })
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, %v, want %q", c.name, changed, err, c.want)
		}
	}
}

// A name below one that is observed has no line of its own that could be removed: it is said which one has it.
func TestANameBelowAnObservedOneIsNotRemovedByItself(t *testing.T) {
	cfg := &config.Config{}
	cfg.Lists.Dir, cfg.Data.Dir = t.TempDir(), t.TempDir()
	observe := func(text string, remove bool) error {
		name, err := parseHost(text)
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = observeCandidate(cfg, &name, remove, func() error { return nil })
		return err
	}
	for _, name := range []string{"one.example", "data.one.example"} {
		if err := observe(name, false); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{
		"a.data.one.example": "has a line for data.one.example, which has all names below it; 'telltale candidates observe --remove data.one.example'",
		"b.one.example":      "--remove one.example'",
		"someone.example":    "has no line for someone.example",
		"two.example":        "has no line for two.example",
	} {
		if err := observe(name, true); !errors.Is(err, errNotObserved) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", name, err, want)
		}
	}
}
