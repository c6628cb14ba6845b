//go:build !small

package catalog

import (
	"runtime"
	"testing"
	"time"
)

func TestEntriesAreReadOnceForAllWhoHaveThem(t *testing.T) {
	e := newEdition(acme("2026-11-28", nil), "2026-11-28")
	first, err := e.Load()
	if err != nil {
		t.Fatal(err)
	}
	if second, err := e.Load(); second != first || err != nil {
		t.Errorf("the second reader got other entries: %v", err)
	}
	if first.version != e.Version() || first.version != versionOf(e.files) {
		t.Errorf("the entries are of version %s, want %s, that of the text", first.version, versionOf(e.files))
	}
	runtime.KeepAlive(first)
	first = nil
	for end := time.Now().Add(30 * time.Second); e.loaded.Value() != nil; runtime.GC() {
		if time.Now().After(end) {
			t.Fatal("nobody has the entries, and they stay in memory")
		}
	}
	if again, err := e.Load(); err != nil || len(again.Entries()) == 0 {
		t.Errorf("read again, the edition has %d entries (%v)", len(again.Entries()), err)
	}
}
