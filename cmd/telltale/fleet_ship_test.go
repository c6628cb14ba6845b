package main

import (
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"telltale/config"
	"telltale/fleet/authority"
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

// joinedAs makes a directory that of a node's identity.
func joinedAs(t *testing.T, dir, node string) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	of := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: node}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(nil, of, of, public, private)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, authority.IdentityFiles[0]), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
}
