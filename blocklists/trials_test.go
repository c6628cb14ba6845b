package blocklists

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"telltale/dnswire"
)

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestTrialsComeAndGo(t *testing.T) {
	until := time.Date(2026, 12, 31, 10, 0, 0, 0, time.UTC)
	trial := func(s string, clients ...string) Trial { return Trial{*name(t, s), clients, until} }
	for _, before := range []string{
		"", "# mine\nx.example\n", "#@ vendor=Acme\nads.acme.example\n", "#@ vendor=Acme\r\nads.acme.example\r\n",
	} {
		end := "\n"
		if strings.Contains(before, "\r") {
			end = "\r\n"
		}
		path := filepath.Join(t.TempDir(), "own.txt")
		write(t, path, before)
		if err := SetTrials(path, []Trial{trial("a.example", "Kid's TV", "192.0.2.7"), trial("b.example", "fe80::1")}); err != nil {
			t.Fatal(err)
		}
		got := read(t, path)
		rest, ok := strings.CutPrefix(got, before)
		want := "@@||a.example^$client='Kid\\'s TV'|'192.0.2.7'  #@ until=2026-12-31T10:00:00Z  " + trialMark + end
		if !ok || !strings.Contains(rest, want) || !strings.HasPrefix(rest, "#@ ") {
			t.Errorf("%q became\n%s\nwant it unchanged, an end of its annotations, and %s", before, got, want)
		}
		if err := SetTrials(path, []Trial{trial("c.example", "tv")}); err != nil {
			t.Fatal(err)
		}
		if got := read(t, path); strings.Contains(got, "a.example^") || !strings.Contains(got, "c.example^") {
			t.Errorf("got\n%s\nwant the later trial alone", got)
		}
		if err := SetTrials(path, nil); err != nil {
			t.Fatal(err)
		}
		if got := read(t, path); got != before {
			t.Errorf("afterwards the file is %q, want %q", got, before)
		}
	}
}

func TestARuleBehindTrialsKeepsItsMeaning(t *testing.T) {
	until := time.Date(2026, 12, 31, 10, 0, 0, 0, time.UTC)
	path := filepath.Join(t.TempDir(), "own.txt")
	for _, c := range []struct{ before, after string }{
		{"#@ vendor=Acme\nads.acme.example\n", "#@ vendor=Acme\nads.acme.example\n#@\nx.example\n"},
		{"#@ vendor=Acme\r\nads.acme.example\r\n", "#@ vendor=Acme\r\nads.acme.example\r\n#@\r\nx.example\r\n"},
		{"y.example\n", "y.example\nx.example\n"},
	} {
		write(t, path, c.before)
		check(t, SetTrials(path, []Trial{{*name(t, "a.example"), []string{"tv"}, until}}))
		check(t, EditOwn(path, "", Block, name(t, "x.example"), "", time.Time{}))
		check(t, SetTrials(path, []Trial{{*name(t, "b.example"), []string{"tv"}, until}}))
		check(t, SetTrials(path, nil))
		if got := read(t, path); got != c.after {
			t.Errorf("%q became %q, want %q", c.before, got, c.after)
		}
	}
}

func TestNoTrialsLeaveAFileAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "own.txt")
	if err := SetTrials(path, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("the file was made")
	}
	write(t, path, "x.example") // no end of line
	if err := SetTrials(path, nil); err != nil {
		t.Fatal(err)
	}
	if got := read(t, path); got != "x.example" {
		t.Errorf("got %q", got)
	}
}

func TestATrialIsForSomebodyAndEnds(t *testing.T) {
	path := filepath.Join(t.TempDir(), "own.txt")
	for what, trial := range map[string]Trial{
		"for nobody": {Name: *name(t, "a.example"), Until: time.Unix(1, 0)},
		"no end":     {Name: *name(t, "a.example"), Clients: []string{"tv"}},
		"no name":    {Name: dnswire.Name{}, Clients: []string{"tv"}, Until: time.Unix(1, 0)},
	} {
		if err := SetTrials(path, []Trial{trial}); err == nil {
			t.Errorf("%s: it was written", what)
		}
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("a file was made")
	}
}

// A trial attributes nothing: the lookups that it lets through are the name's, as the
// lists say.
func TestATrialLetsOneDeviceThrough(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "ads.txt"), "tracker.example\n")
	own := filepath.Join(dir, "own.txt")
	write(t, own, "#@ vendor=Acme\nacme.example\n")
	if err := SetTrials(own, []Trial{{*name(t, "tracker.example"), []string{"tv"}, time.Now().Add(time.Hour)}}); err != nil {
		t.Fatal(err)
	}
	s, err := Open(Options{Dir: dir, CacheDir: t.TempDir(), Groups: []GroupSettings{{Name: "tv", ClientNames: []string{"tv"}}, {Name: "phone", ClientNames: []string{"phone"}}}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	p := s.Current()
	if v := p.Decide(name(t, "x.tracker.example"), 1, 1); v.Action != Allow || v.Level >= ByList {
		t.Errorf("for the TV: %v, attributed by %v", v.Action, v.Level)
	}
	if v := p.Decide(name(t, "x.tracker.example"), 1, 2); v.Action != Block {
		t.Errorf("for the phone: %v", v.Action)
	}
}
