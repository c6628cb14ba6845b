package main

import (
	"os"
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
		cfg.Lists.Dir = t.TempDir()
		c.change(cfg)
		path, _, err := observeCandidate(cfg, "data.eu.example", false)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %q", err, c.want)
		}
		if _, stat := os.Stat(path); (stat == nil) != (c.want == "") {
			t.Errorf("%q: the file is there: %v", c.want, stat == nil)
		}
	}
}
