package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"telltale/blocklists"
	"telltale/config"
)

// What a file has is there after a kill: it is written before anything is in force.
func TestTemporaryChangesAreKept(t *testing.T) {
	t.Parallel()
	path, now := filepath.Join(t.TempDir(), temporaryName), time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	open := func(now time.Time) *temporaryFile {
		t.Helper()
		f, err := openTemporary(path, now)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	of := func(kind blocklists.TemporaryKind, of blocklists.Scope, name string, long time.Duration) temporaryChange {
		return temporaryChange{Kind: kind, Of: of, Name: name, From: now, Until: now.Add(long)}
	}
	f := open(now)
	for _, c := range []temporaryChange{
		of(blocklists.Pause, blocklists.OfGroup, "kids", time.Hour),
		of(blocklists.Observing, blocklists.OfGroup, "kids", time.Hour),
		of(blocklists.Pause, blocklists.OfGroup, "KIDS", 2*time.Hour), // takes the place of the first
		of(blocklists.Pause, blocklists.Everything, "", time.Hour),
	} {
		if err := f.add(c); err != nil {
			t.Fatal(err)
		}
	}
	says := func(f *temporaryFile) (all []string) {
		for _, c := range f.all() {
			all = append(all, fmt.Sprint(c.Kind, " ", c.subject(), " ", c.Until.Sub(now)))
		}
		return all
	}
	want := []string{"observe group kids 1h0m0s", "pause group KIDS 2h0m0s", "pause everything 1h0m0s"}
	if got := says(open(now.Add(30 * time.Minute))); !slices.Equal(got, want) {
		t.Errorf("after a restart: got %q, want %q", got, want)
	}
	// The clock was an hour ahead when they began: none lasts longer for that.
	if got, want := says(open(now.Add(-time.Hour))), []string{"observe group kids 0s", "pause group KIDS 1h0m0s", "pause everything 0s"}; !slices.Equal(got, want) {
		t.Errorf("the clock was set back: got %q, want %q", got, want)
	}
	f = open(now)
	ended, err := f.remove(func(c *temporaryChange) bool { return c.Kind == blocklists.Pause })
	if err != nil || len(ended) != 2 {
		t.Errorf("got %d ended, %v; want 2", len(ended), err)
	}
	if got, want := says(open(now)), []string{"observe group kids 1h0m0s"}; !slices.Equal(got, want) {
		t.Errorf("after an end: got %q, want %q", got, want)
	}
	if _, err := f.remove(func(*temporaryChange) bool { return true }); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("nothing is in force, and the file is still there")
	}
	for i := range mostTemporary {
		if err := f.add(of(blocklists.Pause, blocklists.OfDevice, fmt.Sprint(i), time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.add(of(blocklists.Pause, blocklists.OfDevice, "0", time.Hour)); err != nil {
		t.Errorf("one in the place of another: %v", err)
	}
	if err := f.add(of(blocklists.Pause, blocklists.OfDevice, "one more", time.Hour)); !errors.Is(err, errTooMany) {
		t.Errorf("got %v, want %v", err, errTooMany)
	}
}

func TestADamagedFileOfPausesIsNotObeyed(t *testing.T) {
	path := filepath.Join(t.TempDir(), temporaryName)
	save(t, path, "[{")
	f, err := openTemporary(path, time.Now())
	if err == nil || f == nil || len(f.all()) != 0 {
		t.Errorf("got %v, %v; want an empty file and an error", f, err)
	}
	if err := f.add(temporaryChange{Kind: blocklists.Pause, Of: blocklists.Everything, Until: time.Now().Add(time.Hour)}); err != nil {
		t.Error(err)
	}
	if again, err := openTemporary(path, time.Now()); err != nil || len(again.all()) != 1 {
		t.Errorf("got %v, want one pause", err)
	}
}

func TestAPauseThatCannotBeKeptIsInForce(t *testing.T) {
	f, err := openTemporary(filepath.Join(t.TempDir(), "no", "such", "directory", temporaryName), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := f.add(temporaryChange{Kind: blocklists.Pause, Of: blocklists.Everything}); err == nil || len(f.all()) != 1 {
		t.Errorf("got %v, %d in force; want an error, and one", err, len(f.all()))
	}
}

// A pause is of a device, whatever name it gets in the settings while it lasts.
func TestAPauseFollowsItsDevice(t *testing.T) {
	const mac = "02:00:5e:10:00:01"
	cfg := &config.Config{Devices: []config.Device{{Name: "tv", MACs: []string{mac}}}}
	changes := []temporaryChange{{Kind: blocklists.Pause, Of: blocklists.OfDevice, Name: "mac:" + mac, Shown: mac, Until: time.Unix(1, 0)}}
	s := newMembership(cfg, newIdentities(cfg, nil, nil), changes, nil, nil)
	if s.devices["mac:"+mac] != nil || s.members["mac:"+mac].device != "tv" {
		t.Errorf("got members %v; want the pause to be of tv", s.members)
	}
	want := blocklists.Temporary{Kind: blocklists.Pause, Of: blocklists.OfDevice, Name: "tv", Until: time.Unix(1, 0)}
	if got := s.inLists(changes); !slices.Equal(got, []blocklists.Temporary{want}) {
		t.Errorf("the lists have %v, want %v", got, want)
	}
	named := changes[0].named(newIdentities(cfg, nil, nil).last)
	if !named.is(&temporaryChange{Kind: blocklists.Pause, Of: blocklists.OfDevice, Name: "tv"}) {
		t.Errorf("got %v; want 'resume --device tv' to find it", named)
	}
}

// A pause ends for good also where the lists know its device by another identity by then.
func TestAPauseEndsUnderAnotherIdentity(t *testing.T) {
	a := startTestServer(t, t.TempDir(), netip.MustParseAddrPort("127.0.0.1:1"), "").app
	until := time.Now().Add(-time.Second)
	change := temporaryChange{Kind: blocklists.Pause, Of: blocklists.OfDevice, Name: "mac:00:1b:21:00:00:01", Until: until}
	if err := a.temporary.add(change); err != nil {
		t.Fatal(err)
	}
	a.temporaryEnded(blocklists.Temporary{Kind: blocklists.Pause, Of: blocklists.OfDevice, Name: "tv", Until: until.Add(time.Hour)})
	if all := a.temporary.all(); len(all) != 1 {
		t.Errorf("another one has ended, and %v are left", all)
	}
	a.temporaryEnded(blocklists.Temporary{Kind: blocklists.Pause, Of: blocklists.OfDevice, Name: "tv", Until: until})
	if all := a.temporary.all(); len(all) != 0 {
		t.Errorf("%v are left", all)
	}
}
