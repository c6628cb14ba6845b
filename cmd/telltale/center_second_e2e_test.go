//go:build e2e && !small

package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// secondOf starts a center that follows another one.
func secondOf(t *testing.T, first *testCenter) *testCenter {
	t.Helper()
	dir := t.TempDir()
	c := &testCenter{t: t, dir: dir, config: filepath.Join(dir, "telltale.yaml")}
	writeFile(t, c.config, "data: {dir: data}\nlists: {dir: lists}\ncenter: {listen: [\"127.0.0.1:0\"]}\n")
	for _, file := range []string{"authority.key", "authority.crt"} {
		text, err := os.ReadFile(filepath.Join(first.dir, "data", "center", "authority", file))
		if err != nil {
			t.Fatal(err)
		}
		to := filepath.Join(dir, "data", "center", "authority", file)
		writeFile(t, to, string(text))
		if err := os.Chmod(to, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c.run(nil, "center", "follow", "https://"+first.addr)
	c.start()
	return c
}

// rows returns how many rows the merged log has of each name and node.
func (c *testCenter) rows() map[string]int {
	all := map[string]int{}
	for line := range strings.Lines(c.run(nil, "log", "--all-nodes", "--json", "--since", "1h")) {
		var row struct{ Name, Node string }
		if err := json.Unmarshal([]byte(line), &row); err != nil {
			c.t.Fatalf("%v: %s", err, line)
		}
		all[row.Node+" "+row.Name]++
	}
	return all
}

// Of two centers the second is promoted while the first is dead: nodes go on with it by themselves, each row is there once, and
// the first one leads no more when it is back.
func TestE2EASecondCenterIsPromoted(t *testing.T) {
	t.Parallel()
	first := startCenter(t)
	second := secondOf(t, first)
	var nodes []*fleetNode
	for _, name := range []string{"attic", "cellar"} {
		dir := t.TempDir()
		data, lists := filepath.Join(dir, "data"), filepath.Join(dir, "lists")
		writeFile(t, filepath.Join(lists, "ads.txt"), "tracker.example\n")
		first.join(name, first.addr+",https://"+second.addr, data)
		p := startServe(t, dir, nil, "--data-dir", data, "--lists-dir", lists, "--listen-dns", "127.0.0.1:0", "--upstreams", "127.0.0.1:1")
		nodes = append(nodes, &fleetNode{p, name})
	}
	want := map[string]int{}
	ask := func(name string) {
		t.Helper()
		for _, n := range nodes {
			if err := n.ask(name + ".tracker.example."); err != nil {
				t.Fatal(err)
			}
			want[n.name+" "+name+".tracker.example"] = 1
		}
	}
	waits := func(what string, is func() bool) {
		t.Helper()
		for end := time.Now().Add(2 * patience); !is(); time.Sleep(50 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s: not so\n%s\n%s", what, first.errs.String(), second.errs.String())
			}
		}
	}
	has := func(c *testCenter) func() bool {
		return func() bool {
			got := c.rows()
			for name := range want {
				if got[name] == 0 {
					return false
				}
			}
			return true
		}
	}
	ask("before")
	for _, n := range nodes {
		n.waits(0, time.Now())
	}
	waits("the first center has the rows", has(first))
	waits("the second center has copied the nodes and the policy", func() bool {
		_, err := os.Stat(filepath.Join(second.dir, "data", "center", "followed", "current"))
		return err == nil && len(second.nodes()) == 2 && strings.Contains(second.run(nil, "center", "nodes"), "This center follows https://"+first.addr+", last ")
	})
	if got := second.run(nil, "center", "nodes"); !strings.Contains(got, "This center follows https://"+first.addr+", last ") {
		t.Errorf("the second center says %s", got)
	}
	before := first.rows()
	first.kill()
	ask("between")
	second.run(nil, "center", "promote")
	writeFile(t, filepath.Join(second.dir, "lists", "own.txt"), "192.0.2.8 rules.example\n")
	for _, n := range nodes {
		t.Logf("%s follows the second center after %v", n.name, n.waits(7, time.Now()).Round(time.Millisecond))
		if got := n.says("settings.example."); got != 1 {
			t.Errorf("%s: the settings that the first center shared: got %d, want 1", n.name, got)
		}
	}

	// The first one is back as if nothing had happened, with an edit that nobody is to have.
	writeFile(t, first.config, fmt.Sprintf("data: {dir: data}\nlists: {dir: lists}\ncenter: {listen: [%q]}\n", first.addr))
	first.policy(4)
	first.start()
	waits("the first center is told", func() bool { return strings.Contains(first.errs.String(), "ANOTHER CENTER WAS PROMOTED") })
	ask("after")
	waits("the second center has all rows", has(second))
	if got := second.rows(); !maps.Equal(got, want) {
		t.Errorf("the second center has %v, want each of %v once", got, want)
	}
	if got := first.rows(); !maps.Equal(got, before) {
		t.Errorf("the first center took rows after another one was promoted: %v, had %v", got, before)
	}
	for _, n := range nodes {
		if got := n.says("rules.example."); got != 8 {
			t.Errorf("%s answers by the policy of the first center: %d", n.name, got)
		}
	}

	// It follows the second one, and can be promoted in its turn.
	first.run(nil, "center", "follow", "https://"+second.addr)
	waits("the first center follows", func() bool {
		return strings.Contains(first.run(nil, "center", "nodes"), "This center follows https://"+second.addr+", last ")
	})
	first.run(nil, "center", "promote")
	waits("the second center leads no more", func() bool {
		return strings.Contains(second.run(nil, "center", "nodes"), "Another center was promoted")
	})
	first.policy(6)
	for _, n := range nodes {
		n.waits(6, time.Now())
	}
	waits("the first center has all rows", has(first))
	if got := first.rows(); !maps.Equal(got, want) {
		t.Errorf("the first center has %v, want each of %v once", got, want)
	}
}
