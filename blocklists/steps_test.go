package blocklists

import (
	"fmt"
	"strings"
	"testing"
)

func TestPatternsAreBoundedByWhatTheyCost(t *testing.T) {
	var dear, cheap, mine strings.Builder
	for i := range 300 {
		fmt.Fprintf(&dear, "/^([a-c]|[d-f]x){3}[0-9]+(q|w%d)[a-z]*[xyz]{2}\\.com/\n", i)
		fmt.Fprintf(&cheap, "/^tracker%d[0-9]*\\.vendor\\./\n", i)
	}
	mine.WriteString("/^[a-z]+mine[0-9]*[xyz]+$/\n")
	dir := files(t, map[string]string{"dear.txt": dear.String(), "cheap.txt": cheap.String(), "own.txt": mine.String()})
	s := loaded(t, Options{Dir: dir})
	p := s.Current()
	if p.steps > maxSteps+1000 {
		t.Errorf("got %d steps, want %d at most", p.steps, maxSteps)
	}
	of := s.of(t, "dear")
	if of.Steps == 0 || len(of.Warnings) == 0 || !strings.Contains(of.Warnings[0], "patterns are not in force: those in force take") {
		t.Errorf("dear: got %d steps, %q", of.Steps, of.Warnings)
	}
	if of := s.of(t, "cheap"); len(of.Warnings) > 0 || of.Steps < 300 || of.Steps > 750 {
		t.Errorf("cheap: got %d steps, %q, want all in force", of.Steps, of.Warnings)
	}
	for ask, want := range map[string]string{"tracker299.vendor.example": "block cheap", "amine7x": "block own"} {
		if got := s.says(t, ask); !strings.HasPrefix(got, want) {
			t.Errorf("%s: got %q, want %s", ask, got, want)
		}
	}
}
