package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestDnsperfOutputIsRead(t *testing.T) {
	const out = `Statistics:

  Queries sent:         1000
  Queries completed:    990 (99.00%)
  Queries lost:         10 (1.00%)

  Response codes:       NOERROR 900 (90.91%), SERVFAIL 30 (3.03%), NXDOMAIN 60 (6.06%)
  Average packet size:  request 37, response 53
  Run time (s):         0.500000
  Queries per second:   1980.000000

  Average Latency (s):  0.001500 (min 0.000020, max 0.025000)
`
	got, err := parseDnsperf(out)
	want := cost{
		Queries: 990, Lost: 10, Wrong: 30, Took: 500 * time.Millisecond, Latency: 1500 * time.Microsecond, Max: 25 * time.Millisecond,
	}
	if err != nil || got != want {
		t.Errorf("%+v, %v, want %+v", got, err, want)
	}
	if _, err := parseDnsperf("Segmentation fault"); err == nil {
		t.Error("output without a run time is no error")
	}
}

func TestH2loadOutputIsRead(t *testing.T) {
	const out = `finished in 2.50s, 400.00 req/s, 27.36KB/s
requests: 1000 total, 1000 started, 990 done, 985 succeeded, 5 failed, 3 errored, 7 timeout
status codes: 985 2xx, 0 3xx, 5 4xx, 0 5xx
`
	got, err := parseH2load(out)
	if want := (cost{Queries: 990, Lost: 10, Wrong: 5, Took: 2500 * time.Millisecond}); err != nil || got != want {
		t.Errorf("%+v, %v, want %+v", got, err, want)
	}
	if _, err := parseH2load("Segmentation fault"); err == nil {
		t.Error("output without requests is no error")
	}
}

func TestLoadsAreWhatTheyAreCalled(t *testing.T) {
	c, err := makeCatalogue(t.TempDir(), 5000)
	if err != nil {
		t.Fatal(err)
	}
	list, err := os.ReadFile(c.list)
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{}
	for line := range strings.Lines(string(list)) {
		listed[strings.TrimSpace(line)] = true
	}
	if len(listed) != c.size {
		t.Errorf("%d names in the list, want %d", len(listed), c.size)
	}
	files, err := c.writeLoads(0.01)
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, name := range c.unlisted {
		known[name] = true
	}
	tests := []struct {
		load                   string
		listed, cached, misses float64 // shares
	}{
		{"blocked", 1, 0, 0},
		{"cached", 0, 1, 0},
		{"miss", 0, 0, 1},
		{"mix", .3, .6, .1},
		{"half", .5, .5, 0},
	}
	missed := map[string]bool{}
	for _, tt := range tests {
		text, err := os.ReadFile(files[tt.load])
		if err != nil {
			t.Fatal(err)
		}
		var all, blocked, cached, misses float64
		for line := range strings.Lines(string(text)) {
			name := strings.Fields(line)[0]
			all++
			switch {
			case listed[name]:
				blocked++
			case known[name]:
				cached++
			case missed[name]:
				t.Fatalf("%s: %s is asked for twice and called a miss", tt.load, name)
			case c.covered(name):
				t.Fatalf("%s: %s is below a listed name", tt.load, name)
			default:
				missed[name] = true
				misses++
			}
		}
		if near := func(got, want float64) bool { return got/all > want-.01 && got/all < want+.01 }; !near(blocked, tt.listed) || !near(cached, tt.cached) || !near(misses, tt.misses) {
			t.Errorf("%s: %.0f listed, %.0f cached, %.0f missed of %.0f, want %v, %v, %v", tt.load, blocked, cached, misses, all, tt.listed, tt.cached, tt.misses)
		}
	}
}

func TestEveryWayOfEditingAddsAndRemovesWhatItSays(t *testing.T) {
	dir := t.TempDir()
	e := &edited{name: "small", path: filepath.Join(dir, "lists.d", "small.txt"), base: []byte("kept.example\n")}
	if err := os.Mkdir(filepath.Dir(e.path), 0o755); err != nil {
		t.Fatal(err)
	}
	e.slot = e.next("slot")
	if err := os.WriteFile(e.path, e.text(), 0o644); err != nil {
		t.Fatal(err)
	}
	for n := range 3 * len(ways) {
		way := ways[n%len(ways)]
		added, removed, err := way.edit(e)
		if err != nil {
			t.Fatalf("%s: %v", way.name, err)
		}
		text, err := os.ReadFile(e.path)
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Fields(string(text))
		has := map[string]bool{}
		for _, line := range lines {
			has[line] = true
		}
		if !has["kept.example"] || !has[added] {
			t.Errorf("%s: %q is not in %q", way.name, added, lines)
		}
		for _, name := range removed {
			if has[name] {
				t.Errorf("%s: %q is still in %q", way.name, name, lines)
			}
		}
	}
}

func TestMedians(t *testing.T) {
	tests := []struct {
		all  []float64
		want float64
	}{
		{nil, 0},
		{[]float64{3}, 3},
		{[]float64{9, 1, 2}, 2},
		{[]float64{4, 1, 3, 2}, 2.5},
	}
	for _, tt := range tests {
		if got := median(tt.all); got != tt.want {
			t.Errorf("median of %v is %v, want %v", tt.all, got, tt.want)
		}
	}
}

func TestRatiosAreOfTheSameRound(t *testing.T) {
	one := func(server string, run, size, queries int) round {
		return round{Section: "servers", Server: server, Run: run, Size: size, Loads: map[string]cost{"mix": {Queries: queries, CPU: time.Second}}}
	}
	r := report{rounds: []round{
		one("echo", 0, 10, 100), one("echo", 1, 10, 200), one("echo", 0, 20, 1000),
		one("telltale", 0, 10, 50), one("telltale", 1, 10, 100), one("telltale", 0, 20, 900),
	}}
	if got := r.ratio("servers", "telltale", "echo", 10, perCPU("mix")); got != .5 {
		t.Errorf("%v at size 10, want 0.5", got)
	}
	if got := r.ratio("servers", "telltale", "echo", 20, perCPU("mix")); got != .9 {
		t.Errorf("%v at size 20, want 0.9", got)
	}
}
