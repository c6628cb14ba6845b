package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestGoalsAreOfWhatWasMeasured(t *testing.T) {
	load := func(queries int) map[string]cost {
		one := cost{Queries: queries, CPU: time.Second}
		return map[string]cost{"blocked": one, "cached": one, "mix": one, "miss": one}
	}
	b := &bench{set: &settings{sizes: []int{600_000, 1_200_000}, runs: 1}}
	if got := b.goals(); len(got) != 0 {
		t.Fatalf("%d goals of nothing: %+v", len(got), got)
	}
	b.report.rounds = []round{
		{Section: "servers", Server: "echo", Size: 600_000, Loads: load(1000)},
		{Section: "servers", Server: "telltale", Size: 600_000, Loads: load(900), Ready: time.Second, Again: 50 * time.Millisecond},
		{Section: "servers", Server: "telltale-nolog", Size: 600_000, Loads: load(1000)},
		{Section: "servers", Server: "echo", Size: 1_200_000, Loads: load(1000)},
		{Section: "servers", Server: "telltale", Size: 1_200_000, Loads: load(500)},
	}
	b.report.footprints = []footprint{{Size: 600_000, Text: memory{RSS: 47 << 20}, Compiled: memory{RSS: 40 << 20, Anon: 20 << 20}, Reloading: memory{Peak: 80 << 20}}}
	want := []goal{
		{"blocked answers, log on, ratio to the echo", "0.85", "0.90 with 600,000 names; 0.50 with 1,200,000 names", false},
		{"cached answers, log on, ratio to the echo", "0.85", "0.90 with 600,000 names; 0.50 with 1,200,000 names", false},
		{"mix of 30 % blocked, 60 % cached, 10 % misses", "0.60", "0.90 with 600,000 names; 0.50 with 1,200,000 names", false},
		{"misses", "0.32", "0.90 with 600,000 names; 0.50 with 1,200,000 names", true},
		{"more CPU a query with the log on", "at most 8 %", "11.1 % blocked; 11.1 % cached", false},
		{"RSS with 600,000 names, log on, 20,000 answers cached", "at most 48 MB", "47.0 MB", true},
		{"of it anonymous, lists mapped", "below 22 MB", "20.0 MB with 600,000 names", true},
		{"peak RSS during a full reload, to RSS before", "at most 1.5", "2.00 with 600,000 names", false},
		{"exec to first right blocked answer, from text, 600,000 names", "0.5 s", "1.00 s", false},
		{"exec to first right blocked answer, from compiled lists", "0.1 s", "0.05 s", true},
	}
	got := b.goals()
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(got):
			t.Errorf("nothing, want %+v", want[i])
		case i >= len(want) || got[i] != want[i]:
			t.Errorf("got %+v, want the one of line %d", got[i], i)
		}
	}
}

// What fails and what there is no time for is on the page, and the page is
// written.
func TestAPageIsWrittenWhateverHappens(t *testing.T) {
	ctx, stop := context.WithTimeoutCause(context.Background(), time.Hour, errLimit)
	defer stop()
	dir := t.TempDir()
	b := &bench{
		ctx: ctx, end: time.Now().Add(time.Minute), begun: time.Now(), took: map[string]time.Duration{},
		set: &settings{page: filepath.Join(dir, "page.md"), results: dir, limit: time.Hour, sizes: []int{1000}, seconds: []float64{1}, runs: 2},
	}
	runs := 0
	parts := []part{
		{name: "what is well", rounds: 2, measure: func(*bench, int) error { runs++; return nil }},
		{name: "a peer", rounds: 1, peer: true, measure: func(*bench, int) error { return errors.New("is not itself") }},
		{name: "what takes long", rounds: 1, guess: time.Hour, measure: func(*bench, int) error { t.Error("begun in vain"); return nil }},
	}
	if err := b.measureAll(parts); err != nil {
		t.Errorf("a peer's failure is an error: %v", err)
	}
	if err := b.write(); err != nil {
		t.Fatal(err)
	}
	if runs != 2 {
		t.Errorf("%d rounds, want 2", runs)
	}
	page, err := os.ReadFile(b.set.page)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"**Failed**: a peer: is not itself", "**Cut off** by the limit of 1h0m0s: what takes long."} {
		if !strings.Contains(string(page), want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	parts = []part{{name: "ours", rounds: 1, measure: func(*bench, int) error { return errors.New("broke") }}}
	if err := b.measureAll(parts); err == nil {
		t.Error("our own failure is no error")
	}
}

func TestProfilesAreReadByWhoseTheTimeIs(t *testing.T) {
	const top = `File: telltale
Type: cpu
Showing nodes accounting for 1230ms, 100% of 1230ms total
      flat  flat%   sum%        cum   cum%
     800ms 65.04% 65.04%      800ms 65.04%  internal/runtime/syscall/linux.Syscall6
     200ms 16.26% 81.30%      900ms 73.17%  telltale/resolver.(*reader).batch
      90ms  7.32% 88.62%       90ms  7.32%  runtime.memmove
      80ms  6.50% 95.12%       80ms  6.50%  github.com/ncruces/go-sqlite3-wasm/v6.load32[go.shape.uint64] (inline)
      60ms  4.88%   100%       60ms  4.88%  runtime.futex
         0     0%   100%       60ms  4.88%  main.main
`
	got := readTop(top)
	if got.total != 1230*time.Millisecond {
		t.Errorf("%v in all, want 1.23 s", got.total)
	}
	want := []share{
		{"the kernel (system calls)", 800 * time.Millisecond}, {"resolver", 200 * time.Millisecond}, {"Go's runtime", 90 * time.Millisecond},
		{"SQLite", 80 * time.Millisecond}, {"the kernel, for Go's scheduler", 60 * time.Millisecond}, {"others", 0},
	}
	if len(got.parts) != len(want) {
		t.Fatalf("%v, want %v", got.parts, want)
	}
	for i := range want {
		if got.parts[i] != want[i] {
			t.Errorf("%v, want %v", got.parts[i], want[i])
		}
	}
}

func TestOverloadIsReadFromItsLastLine(t *testing.T) {
	const line = `{"quota_percent":25,"most":40000,"one":{"asked":3.0,"in_time":0.91,"p50_ms":3.1,"p99_ms":9.0},` +
		`"noisy_3":{"asked":3.0,"others_in_time":1.000,"others_p99_ms":8.1,"in_time":0.93},` +
		`"noisy_10":{"asked":9.8,"others_in_time":%s,"others_p99_ms":9.5,"in_time":0.9},"dropped_unread":12}`
	for others, held := range map[string]bool{"0.999": true, "0.4": false} {
		got, err := readOverload("held to 25 %\nasked much\n" + strings.Replace(line, "%s", others, 1) + "\n")
		if err != nil || got.held != held || got.said != "held to 25 %\nasked much" || !strings.HasPrefix(got.short, "0.91 in time when asked 3.0 times") {
			t.Errorf("%+v, %v", got, err)
		}
	}
	if _, err := readOverload("overload: control groups need root"); err == nil {
		t.Error("no figures are no error")
	}
}
