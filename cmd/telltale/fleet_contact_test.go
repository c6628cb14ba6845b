package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"telltale/config"
	"telltale/fleet/authority"
)

func TestANodeKeepsHowItsCenterAnswers(t *testing.T) {
	t.Parallel()
	cfg := &config.Config{Data: config.Data{Dir: t.TempDir()}}
	if err := os.Mkdir(filepath.Join(cfg.Data.Dir, "fleet"), 0o700); err != nil {
		t.Fatal(err)
	}
	if got := readContact(cfg); got != nil {
		t.Errorf("before the first report: got %v, want nothing", got)
	}
	k := contactKeeper{file: contactFile(cfg)}
	at := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	away := errors.New("connection refused")
	for i, c := range []struct {
		err  error
		want string
	}{
		{away, "NO ANSWER since " + when(at) + ", last heard never: connection refused"},
		{nil, "answers since " + when(at.Add(time.Minute))},
		{nil, "answers since " + when(at.Add(time.Minute))},
		{away, "NO ANSWER since " + when(at.Add(3*time.Minute)) + ", last heard " + when(at.Add(2*time.Minute)) + ": connection refused"},
		{&authority.RefusedError{Why: "node attic was revoked"}, "REFUSED since " + when(at.Add(4*time.Minute)) + ", last heard " + when(at.Add(2*time.Minute)) + ": node attic was revoked"},
	} {
		if err := k.note(c.err, at.Add(time.Duration(i)*time.Minute)); err != nil {
			t.Fatal(err)
		}
		if got := readContact(cfg); got == nil || !strings.Contains(got.String(), c.want) {
			t.Errorf("report %d: got %v, want %s", i, got, c.want)
		}
	}
	if err := errors.Join(removeContact(cfg), removeContact(cfg)); err != nil {
		t.Error(err)
	}
	if got := readContact(cfg); got != nil {
		t.Errorf("after it is removed: got %v, want nothing", got)
	}
}
