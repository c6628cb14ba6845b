package main

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"telltale/config"
	"telltale/querylog"
)

// What 'fleet status' says of the log, as the cursor in its store has it.
func TestFleetStatusSaysHowFarTheLogIsSent(t *testing.T) {
	t.Parallel()
	cfg := &config.Config{Data: config.Data{Dir: t.TempDir()}}
	said := func() string {
		t.Helper()
		l, err := readFleetLog(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		return l.text(time.Now())
	}
	wants := func(want string) {
		t.Helper()
		if got := said(); !strings.Contains(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	l, err := querylog.Open(querylog.Options{Dir: cfg.Data.Dir, Node: "attic", Program: "a test", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil { // its start and end are in the ledger: a window
		t.Fatal(err)
	}
	wants("1 window not sent, the first of ")
	if l, err = querylog.Open(querylog.Options{Dir: cfg.Data.Dir, Node: "attic", Program: "a test", Logger: slog.New(slog.DiscardHandler)}); err != nil {
		t.Fatal(err)
	}
	until := time.Now().Add(time.Hour)
	if err := l.SetCursor(t.Context(), querylog.Cursor{Shipped: until.Unix(), Sending: 7}); err != nil {
		t.Fatal(err)
	}
	wants("all sent, up to " + when(until))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if got, want := (*fleetLog)(nil).text(until), "none yet"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A machine that left its fleet does not tell of rows any more that nobody was sent; one that is about to end, or joined anew, does.
func TestRowsAreNotCountedAsUnsentOnceAMachineHasLeftItsFleet(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name         string
		joined, ends bool
		want         bool // lines of the ledger
	}{{name: "left"}, {name: "joined anew", joined: true, want: true}, {name: "ends", ends: true, want: true}} {
		dir := t.TempDir()
		cfg := &config.Config{Data: config.Data{Dir: dir}}
		if c.joined {
			joinedAs(t, identityDir(cfg), "attic")
		}
		l, err := querylog.Open(querylog.Options{Dir: dir, Node: "attic", Program: "a test", Shipping: querylog.ListedShipped, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		a := &app{background: ctx, log: l, logger: slog.New(slog.DiscardHandler)}
		a.cfg.Store(cfg)
		if c.ends {
			stop()
		}
		a.endShipping()
		stop()
		is, err := l.Shipping(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got := is != querylog.NothingShipped; got != c.want {
			t.Errorf("%s: rows are counted as unsent: %v, want %v", c.name, got, c.want)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
}
