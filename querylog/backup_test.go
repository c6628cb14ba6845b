package querylog

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// backup copies the log in a directory to a new one.
func backup(t *testing.T, dir string) (to string, c Copy) {
	t.Helper()
	r, err := OpenReader(dir)
	if err != nil {
		t.Fatal(err)
	}
	to = t.TempDir()
	if c, err = r.Backup(context.Background(), to, nil); err != nil {
		t.Fatal(err)
	}
	return to, c
}

// A backup has what the log has at its moment, in store and journal, while a server
// goes on writing; restored, it is a log of its own, which begins with a gap.
func TestALogIsRestoredFromABackup(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := open(t, Options{Dir: dir, Node: "attic"})
	ask := func(l *Log, name string) {
		l.Append([]Record{lookup(t, nil, time.Now(), phone(1), name)})
	}
	ask(l, "stored.example")
	closeLog(t, l)
	l = open(t, Options{Dir: dir, Node: "attic"})
	ask(l, "journaled.example")
	l.Flush()
	copied, c := backup(t, dir)
	original := rows(t, dir, Filter{})
	for range 3 {
		ask(l, "later.example")
	}
	l.Flush()

	if c.Store == "" || c.Journals != 1 || len(original) != 2 {
		t.Fatalf("%+v of %d rows, want a store, a journal and 2 rows", c, len(original))
	}
	got := rows(t, copied, Filter{})
	for i := range got {
		if got[i] != original[i] {
			t.Errorf("a copied row:\n got %+v\nwant %+v", got[i], original[i])
		}
	}
	journals, _ := filepath.Glob(filepath.Join(copied, journalDir, "*"))
	for _, path := range append(journals, filepath.Join(copied, storeName)) {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", path, info, err)
		}
	}

	var used *InUseError
	if err := Restore(dir, copied, filepath.Join(dir, "aside"), c.Taken.Time, "cellar"); !errors.As(err, &used) {
		t.Errorf("while a server runs: %v", err)
	}
	closeLog(t, l)
	before := rows(t, dir, Filter{})
	if err := Restore(dir, copied, filepath.Join(dir, "aside"), c.Taken.Time, "cellar"); err != nil {
		t.Fatal(err)
	}
	if kept := rows(t, filepath.Join(dir, "aside"), Filter{}); len(kept) != len(before) {
		t.Errorf("%d rows are kept aside, want %d", len(kept), len(before))
	}
	restored := rows(t, dir, Filter{})
	if len(restored) != 2 || restored[0].Name != "stored.example" || restored[1].Name != "journaled.example" {
		t.Fatalf("restored %+v", restored)
	}
	if restored[0].ID != original[0].ID || restored[0].Store == original[0].Store || restored[0].Store == "" {
		t.Errorf("number %d of store %q, was %d of %q: want another store and the same number", restored[0].ID, restored[0].Store, original[0].ID, original[0].Store)
	}

	l = open(t, Options{Dir: dir, Node: "cellar"})
	ask(l, "after.example")
	closeLog(t, l)
	all := events(t, dir)
	if got := kinds(all); got != "start stop start restored start stop" {
		t.Errorf("ledger %s", got)
	}
	e := all[3]
	if e.Node != "cellar" || e.Subject != original[0].Store || !strings.Contains(e.Detail, restored[0].Store) || e.Since.UnixMilli() != c.Taken.UnixMilli() {
		t.Errorf("%+v", e)
	}
	for _, r := range rows(t, dir, Filter{}) {
		if strings.Contains(e.Detail, fmt.Sprint(r.ID)) || (r.Name == "after.example") != (r.ID > restored[1].ID) {
			t.Errorf("%s has number %d", r.Name, r.ID)
		}
	}
	if got := total(rows(t, dir, Filter{})); len(got) != 3 || got["later.example"] != 0 || got["journaled.example"] != 1 {
		t.Errorf("%v", got)
	}
	whole := coverage(t, dir, c.Taken.Time, e.Until.Time)
	if whole.Recorded() > time.Millisecond {
		t.Errorf("recorded %v between the backup and its return: %+v", whole.Recorded(), whole.Gaps)
	}
}

// A log without a store yet is copied all the same, and one that is being copied from
// an earlier version is not.
func TestBackupsOfHalfALog(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	copied, c := backup(t, dir)
	if c.Store != "" || c.Journals != 0 {
		t.Errorf("%+v of nothing", c)
	}
	if err := Restore(dir, copied, filepath.Join(dir, "aside"), c.Taken.Time, "node"); err != nil {
		t.Fatal(err)
	}
	if got := kinds(events(t, dir)); got != "restored" {
		t.Errorf("ledger %q", got)
	}
	if err := os.WriteFile(filepath.Join(dir, oldStoreName), unpack(t, "store-1.db.gz"), 0o600); err != nil {
		t.Fatal(err)
	}
	r, _ := OpenReader(dir)
	if _, err := r.Backup(context.Background(), t.TempDir(), nil); err != errMigrating {
		t.Errorf("while a store of version 1 is there: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	os.Remove(filepath.Join(dir, oldStoreName))
	if _, err := r.Backup(ctx, t.TempDir(), nil); err == nil {
		t.Error("an interrupted backup ends well")
	}
}
