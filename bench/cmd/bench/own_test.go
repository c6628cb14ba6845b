package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func TestOwnCostsAreOfTheSameRound(t *testing.T) {
	b := &bench{set: &settings{sizes: []int{600_000}, base: "bench/bin/telltale-b016c21"}}
	add := func(server string, run int, each time.Duration) {
		r := round{Section: "own", Server: server, Size: 600_000, Run: run, Loads: map[string]cost{}}
		for _, load := range ownLoads {
			r.Loads[load.name] = cost{Queries: 1000, CPU: 1000 * each}
		}
		b.report.rounds = append(b.report.rounds, r)
	}
	// The machine was twice as slow in the second round, and the third lacks its echo.
	for run, slow := range []time.Duration{1, 2} {
		add("echo", run, slow*2*time.Microsecond)
		add(earlier, run, slow*4*time.Microsecond)
		add("telltale", run, slow*3*time.Microsecond)
	}
	add("telltale", 2, time.Millisecond)
	if got, ok := b.report.ownCost("telltale", "blocked"); got != 1.5 || !ok {
		t.Errorf("own cost: got %v, %v, want 1.5", got, ok)
	}
	if got, ok := b.report.ownRatio("blocked"); got != 0.5 || !ok {
		t.Errorf("to the earlier commit's: got %v, %v, want 0.5", got, ok)
	}
	var p strings.Builder
	b.pageOwn(&p)
	if want := "| blocked (listed) | 3.00 | 3.00 | 1.50 | 0.50 | 0.65 |"; !strings.Contains(p.String(), want) || !strings.Contains(p.String(), "commit b016c21") {
		t.Errorf("got %s\nwant a line %s", p.String(), want)
	}
	if got := b.ownFigures("miss", 0.75); len(got) != 1 || !got[0].held {
		t.Errorf("got %+v", got)
	}
}

func TestWithoutHistoryWhatIsNowStandsAlone(t *testing.T) {
	b := &bench{set: &settings{sizes: []int{600_000}}}
	b.report.rounds = []round{{Section: "own", Server: "echo"}, {Section: "own", Server: "telltale"}}
	var p strings.Builder
	b.pageOwn(&p)
	if !strings.Contains(p.String(), "| blocked (listed) | 0.00 | - | 0.00 | - | 0.65 |") || b.ownFigures("blocked", 0.65) != nil {
		t.Errorf("got %s", p.String())
	}
}

func TestProcessorTimeOfAProcess(t *testing.T) {
	s := &server{cmd: &exec.Cmd{Process: &os.Process{Pid: os.Getpid()}}}
	got, err := s.cpuSoFar()
	if err != nil || got <= 0 {
		t.Errorf("got %v, %v of process %d", got, err, os.Getpid())
	}
}

func TestInstructionsAreComparedWithTheFigureThatIsKept(t *testing.T) {
	kept := parseKept("# a comment\nblocked 4000\ncached 5000\n")
	for _, test := range []struct {
		load string
		got  float64
		want string
		held bool
	}{
		{"blocked", 4000, "blocked 4000 (kept: 4000)", true},
		{"blocked", 4079, "blocked 4079 (kept: 4000)", true},
		{"cached", 5500, "cached 5500 (kept: 5000, 10.0 % more)", false},
		{"cached", 4000, "cached 4000 (kept: 5000, 20.0 % fewer: keep the new figure in bench/instructions.txt)", true},
		{"miss", 1, "miss 1", true},
	} {
		if got, held := kept.compare(test.load, test.got); got != test.want || held != test.held {
			t.Errorf("got %q, %v, want %q, %v", got, held, test.want, test.held)
		}
	}
}
