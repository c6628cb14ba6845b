package blocklists

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestPause(t *testing.T) {
	clk, told := newClock(), &reports{}
	dir, state := files(t, map[string]string{"a.txt": "ads.example\n", "own.txt": "192.168.1.9 nas.lan\n"}), t.TempDir()
	o := Options{Dir: dir, StateDir: state, Now: clk.now, Report: told.add}
	s := loaded(t, o)
	if err := s.Pause(clk.now()); !errors.Is(err, ErrPauseEnds) {
		t.Errorf("a pause that is over: got %v, want %v", err, ErrPauseEnds)
	}
	check(t, s.Pause(clk.now().Add(time.Hour)))
	if got, want := s.says(t, "ads.example"), "observe a ads.example"; got != want {
		t.Errorf("paused: got %q, want %q", got, want)
	}
	if got, want := s.says(t, "nas.lan"), "answer own 192.168.1.9 nas.lan"; got != want {
		t.Errorf("paused: got %q, want %q", got, want)
	}

	clk.advance(30 * time.Minute)
	again := loaded(t, o)
	if got, want := again.says(t, "ads.example"), "observe a ads.example"; got != want {
		t.Errorf("after a restart: got %q, want %q", got, want)
	}
	if until, ok := again.Paused(); !ok || !until.Equal(clk.now().Add(30*time.Minute)) {
		t.Errorf("after a restart: paused until %v, %v", until, ok)
	}

	clk.advance(30 * time.Minute)
	again.reload()
	if got, want := again.says(t, "ads.example"), "block a ads.example"; got != want {
		t.Errorf("after its time: got %q, want %q", got, want)
	}
	if !told.has("pause everything") || !told.has("resume everything") {
		t.Errorf("reported: got %v", told.seen)
	}
	if _, err := os.Stat(filepath.Join(state, pauseFile)); err == nil {
		t.Error("the pause is over and its file is still there")
	}
}

func TestAPauseThatCannotBeKeptIsInForce(t *testing.T) {
	clk, state := newClock(), filepath.Join(t.TempDir(), "state")
	write(t, state, "no directory")
	s := loaded(t, Options{Dir: files(t, map[string]string{"a.txt": "ads.example\n"}), StateDir: state, Now: clk.now})
	err := s.Pause(clk.now().Add(time.Hour))
	if want := "but a restart would end that: " + filepath.Join(state, pauseFile) + " cannot be written: not a directory"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
	if got, want := s.says(t, "ads.example"), "observe a ads.example"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestPauseEndsByItself(t *testing.T) {
	dir := files(t, map[string]string{"a.txt": "ads.example\n"})
	s := openStoreT(t, Options{Dir: dir, StateDir: t.TempDir(), Poll: -1})
	check(t, s.Pause(time.Now().Add(50*time.Millisecond)))
	eventually(t, "it blocks again", func() bool { return s.says(t, "ads.example") == "block a ads.example" })
}

func TestResume(t *testing.T) {
	dir := files(t, map[string]string{"a.txt": "ads.example\n"})
	s := openStoreT(t, Options{Dir: dir, StateDir: t.TempDir(), Poll: -1})
	check(t, s.Resume()) // nothing to end
	check(t, s.Pause(time.Now().Add(time.Hour)))
	check(t, s.Resume())
	if got, want := s.says(t, "ads.example"), "block a ads.example"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestRulesEndWhenDue(t *testing.T) {
	clk := newClock()
	dir := files(t, map[string]string{"a.txt": "ads.example #@ until=2026-01-01T12:30:00Z\nmore.example\n"})
	s := loaded(t, Options{Dir: dir, Now: clk.now, Groups: []GroupSettings{{ObserveUntil: clk.now().Add(time.Hour)}}})
	if got, want := s.says(t, "ads.example"), "block a ads.example"; got != want {
		t.Fatalf("before: got %q, want %q (%v)", got, want, s.of(t, "a").Bad)
	}
	if got, want := s.untilDue(), 30*time.Minute; got != want {
		t.Errorf("due: got %v, want %v", got, want)
	}
	clk.advance(30 * time.Minute)
	s.reload()
	if got, want := s.says(t, "ads.example"), "pass"; got != want {
		t.Errorf("when due: got %q, want %q", got, want)
	}
	if got, want := s.untilDue(), 30*time.Minute; got != want {
		t.Errorf("due: got %v, want %v", got, want)
	}
	if got, want := said(s.Current().Decide(name(t, "more.example"), 1, 1)), "observe a more.example"; got != want {
		t.Errorf("the group: got %q, want %q", got, want)
	}
	clk.advance(30 * time.Minute)
	s.reload()
	if got, want := said(s.Current().Decide(name(t, "more.example"), 1, 1)), "block a more.example"; got != want {
		t.Errorf("the group when due: got %q, want %q", got, want)
	}
}

// A clock that was ahead and is set back makes nothing last longer: what was to end
// after an hour ends after an hour of the steady clock.
func TestWhatEndsDoesNotOutliveAClockSetBack(t *testing.T) {
	clk, steady := newClock(), time.Duration(0)
	tick := func(d time.Duration) { clk.advance(d); steady += d }
	hour := clk.now().Add(time.Hour)
	o := Options{
		Dir: files(t, map[string]string{
			"own.txt":   "@@ok.example  #@ until=" + hour.UTC().Format(time.RFC3339) + "\n",
			"a.txt":     "ok.example\nads.example\n",
			"trial.txt": "try.example\n",
		}),
		StateDir: t.TempDir(), Now: clk.now, Steady: func() time.Duration { return steady },
		Lists:  []ListSettings{{Name: "trial", ObserveUntil: hour}},
		Groups: []GroupSettings{{Name: "tv", ObserveUntil: hour}, {Name: "tablet", GroupObserveUntil: hour}},
	}
	s := loaded(t, o)
	expect := func(when string, want ...string) {
		t.Helper()
		got := []string{s.says(t, "ok.example"), s.says(t, "try.example")}
		for group := range Group(2) {
			got = append(got, s.Current().Decide(name(t, "ads.example"), 1, group+1).Action.String())
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", when, got, want)
		}
	}
	before := []string{"allow own @@ok.example", "observe trial try.example", "observe", "observe"}
	after := []string{"block a ok.example", "block trial try.example", "block", "block"}
	expect("at first", before...)
	clk.advance(-3 * time.Hour)
	s.reload()
	expect("set back", before...)
	if got, want := s.untilDue(), time.Hour; got != want {
		t.Errorf("set back: due in %v, want %v", got, want)
	}
	tick(30 * time.Minute)
	s.reload()
	expect("after half an hour", before...)
	tick(30 * time.Minute)
	s.reload()
	expect("after the hour", after...)

	check(t, s.Pause(clk.now().Add(time.Hour)))
	clk.advance(-3 * time.Hour)
	tick(59 * time.Minute)
	s.reload()
	if until, ok := s.Paused(); !ok || !until.Equal(clk.now().Add(time.Minute)) {
		t.Errorf("paused until %v, %v; want one minute from %v", until, ok, clk.now())
	}
	tick(time.Minute)
	s.reload()
	if _, ok := s.Paused(); ok || s.says(t, "ads.example") != "block a ads.example" {
		t.Errorf("an hour after the pause began: %s", s.says(t, "ads.example"))
	}
	if _, err := os.Stat(filepath.Join(o.StateDir, pauseFile)); err == nil {
		t.Error("a restart would pause again")
	}
}

// By the wall clock things end all the same: a machine that slept, or whose clock
// was behind.
func TestWhatEndsEndsByTheWallClock(t *testing.T) {
	clk := newClock()
	s := loaded(t, Options{
		Dir: files(t, map[string]string{"a.txt": "ads.example\n"}), StateDir: t.TempDir(), Now: clk.now,
		Steady: func() time.Duration { return 0 },
	})
	check(t, s.Pause(clk.now().Add(time.Hour)))
	clk.advance(time.Hour)
	s.reload()
	if got, want := s.says(t, "ads.example"), "block a ads.example"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
