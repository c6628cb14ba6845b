package querylog

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3"
)

// namesOf returns the names of a log's rows, by a reader.
func namesOf(t *testing.T, r *Reader) (names []string) {
	t.Helper()
	for row, err := range r.Rows(t.Context(), Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, row.Name)
	}
	return names
}

func TestAStoreThatIsKeptOpenIsReadAsItIs(t *testing.T) {
	dir, p, a := t.TempDir(), policy(t, testList), phone(6)
	l := open(t, Options{Dir: dir})
	r := l.Reader()
	for n, name := range []string{"one.example", "two.example", "three.example"} {
		l.Append([]Record{lookup(t, p, time.Now(), a, name)})
		l.Flush()
		if got := len(namesOf(t, r)); got != n+1 {
			t.Errorf("got %d rows, want %d", got, n+1)
		}
		if got := len(l.readers.idle); got != 1 {
			t.Errorf("got %d connections that wait, want 1", got)
		}
	}
	first := l.readers.idle[0]
	if namesOf(t, r); l.readers.idle[0] != first {
		t.Error("the store was opened anew")
	}

	// What is left in the middle, or interrupted, does not hold up the next.
	for range r.Rows(t.Context(), Filter{}) {
		break
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := r.Page(gone, Filter{}, 1, false); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want that it was cancelled", err)
	}
	if moment, err := r.AtOnce(t.Context()); err != nil {
		t.Error(err)
	} else if namesOf(t, moment); moment.Close() != nil || !l.readers.idle[0].conn.GetAutocommit() {
		t.Error("a connection that waits has a transaction")
	}
	if got := len(namesOf(t, r)); got != 3 {
		t.Errorf("got %d rows, want 3", got)
	}
	closeLog(t, l)
	if _, err := os.Stat(filepath.Join(dir, storeName+"-wal")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the write-ahead log is left by a stop: %v", err)
	}
	if got := len(namesOf(t, r)); got != 3 || len(l.readers.idle) != 0 {
		t.Errorf("a log that is closed: got %d rows, and %d connections that wait", got, len(l.readers.idle))
	}
}

func TestAStoreThatWasReplacedIsOpenedAnew(t *testing.T) {
	dir, p, a := t.TempDir(), policy(t, testList), phone(6)
	r := &Reader{dir: dir, kept: &keptStores{}}
	for _, name := range []string{"one.example", "two.example"} {
		l := open(t, Options{Dir: dir})
		l.Append([]Record{lookup(t, p, time.Now(), a, name)})
		l.Flush()
		if got := namesOf(t, r); len(got) != 1 || got[0] != name {
			t.Errorf("got %q, want %s alone", got, name)
		}
		if len(r.kept.idle) != 1 {
			t.Error("no connection waits")
		}
		closeLog(t, l)
		for _, suffix := range storeSuffixes {
			if err := os.Rename(filepath.Join(dir, storeName+suffix), filepath.Join(dir, "moved-"+name+suffix)); err != nil && !errors.Is(err, os.ErrNotExist) {
				t.Fatal(err)
			}
		}
	}
	if got := namesOf(t, r); got != nil {
		t.Errorf("where there is no store: got %q", got)
	}
	r.kept.close()
}

func TestAConnectionThatWaitsHoldsNothingUp(t *testing.T) {
	s := openForTest(t, t.TempDir())
	dir := filepath.Dir(s.path)
	h := newSizeHome(50)
	if _, _, err := s.commit(&windowData{number: sizeFirstTime, node: "n", clock: clockMark{wall: sizeFirstTime * 1000}, entries: h.window(sizeFirstTime, 50)}); err != nil {
		t.Fatal(err)
	}
	r := &Reader{dir: dir, kept: &keptStores{}}
	defer r.kept.close()
	if got := len(namesOf(t, r)); got != 50 || len(r.kept.idle) != 1 {
		t.Fatalf("got %d rows and %d connections that wait", got, len(r.kept.idle))
	}
	if _, _, err := s.conn.WALCheckpoint("", sqlite3.CHECKPOINT_TRUNCATE); err != nil {
		t.Errorf("the write-ahead log cannot be begun anew: %v", err)
	}
	if info, err := os.Stat(s.path + "-wal"); err != nil || info.Size() != 0 {
		t.Errorf("got %v, %v; want an empty write-ahead log", info, err)
	}
	if err := s.conn.Exec(`BEGIN IMMEDIATE; DELETE FROM listed; COMMIT`); err != nil {
		t.Error(err)
	}
	if got := len(namesOf(t, r)); got == 50 || got == 0 {
		t.Errorf("got %d rows, want those that are left", got)
	}
	if err := s.conn.Exec(`PRAGMA user_version = 9999`); err != nil {
		t.Fatal(err)
	}
	var newer *NewerError
	if _, _, err := r.Page(t.Context(), Filter{}, 1, false); !errors.As(err, &newer) {
		t.Errorf("of a store that is brought to a later version: got %v, want that it is newer", err)
	}
}

// What a cancelled call did not come to read is not taken for what the log has.
func TestAConnectionKeepsNothingOfACallThatFailed(t *testing.T) {
	dir, p, a := t.TempDir(), policy(t, testList), phone(6)
	l := open(t, Options{Dir: dir})
	defer closeLog(t, l)
	l.Append([]Record{lookup(t, p, time.Now(), a, "one.example")})
	l.Flush()
	r := l.Reader()
	f := Filter{Until: time.Now().Add(time.Hour)}
	ctx, cancel := context.WithCancel(t.Context())
	s, err := r.look(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	cancel() // before it is asked which windows are of the time
	if err := s.rows(f, 0, func(Row) bool { return true }); err == nil {
		t.Error("a cancelled call has no error")
	}
	if got := s.store.windows; len(got) != 0 {
		t.Errorf("got %v of the windows, want nothing", got)
	}
	s.close()
	if got := len(l.readers.idle); got != 0 {
		t.Errorf("got %d connections that wait, want none: its call failed", got)
	}
	rows, _, err := r.Page(t.Context(), f, 10, false)
	if err != nil || len(rows) != 1 {
		t.Errorf("the same question then: got %d rows and %v, want 1", len(rows), err)
	}
	s, err = r.look(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2 * boundsKept {
		if _, _, err := s.store.bounds(&Filter{Until: f.Until.Add(time.Duration(i) * time.Millisecond)}); err != nil {
			t.Fatal(err)
		}
	}
	if got := len(s.store.windows); got > boundsKept {
		t.Errorf("got %d bounds that are kept, want at most %d", got, boundsKept)
	}
	s.close()
}

func TestAConnectionThatWaitsIsClosedAfterItsMinute(t *testing.T) {
	dir, p, a := t.TempDir(), policy(t, testList), phone(6)
	l := open(t, Options{Dir: dir})
	l.Append([]Record{lookup(t, p, time.Now(), a, "one.example")})
	l.Flush()
	r, k := l.Reader(), &l.readers
	one, err := r.AtOnce(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	namesOf(t, r)
	begun := time.Now()
	if one.Close(); len(k.idle) != 2 {
		t.Fatalf("got %d connections that wait, want 2", len(k.idle))
	}
	if one.Close(); len(k.idle) != 2 {
		t.Errorf("closed twice: got %d connections that wait, want 2", len(k.idle))
	}
	k.closeUnused(time.Now())
	if got := len(k.idle); got != 2 {
		t.Errorf("within the minute: got %d connections that wait, want 2", got)
	}
	k.idle[0].waits = begun.Add(-storesKeptFor) // the other one is used
	if k.closeUnused(begun); len(k.idle) != 1 {
		t.Errorf("one waits longer: got %d connections that wait, want 1", len(k.idle))
	}
	s, err := r.look(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(s.store.file.path, s.store.file.path+"-moved"); err != nil {
		t.Fatal(err)
	}
	if s.close(); len(k.idle) != 0 {
		t.Error("a connection to a store that was moved waits")
	}
	if err := os.Rename(filepath.Join(dir, storeName+"-moved"), filepath.Join(dir, storeName)); err != nil {
		t.Fatal(err)
	}
	closeLog(t, l)
}
