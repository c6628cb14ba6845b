package blocklists

import (
	"errors"
	"os"
	"path/filepath"
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
