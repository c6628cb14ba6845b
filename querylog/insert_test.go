package querylog

import (
	"context"
	"errors"
	"testing"

	"github.com/ncruces/go-sqlite3"
)

// Rows are stored several at a time. Those of a window that is interrupted are
// not stored with the next one, however many waited.
func TestRowsOfAnInterruptedWindowAreNotStored(t *testing.T) {
	dir := t.TempDir()
	s, err := openStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	f := foldOf(listed(t, 3*rowsAtOnce+5))
	want := 0
	for n := range 2*rowsAtOnce + 3 { // whole statements, and what remains
		interrupted, stop := context.WithCancel(context.Background())
		s.conn.SetInterrupt(interrupted)
		_, _, err := s.commit(&windowData{number: int64(2*n + 1), node: "attic", entries: func(yield func(int, *entry) bool) {
			left := n
			for i, e := range f.entries {
				if left--; left < 0 {
					stop()
				}
				if !yield(i, e) {
					return
				}
			}
		}})
		s.conn.SetInterrupt(context.Background())
		if !errors.Is(err, sqlite3.INTERRUPT) {
			t.Fatalf("got %v from a window that is interrupted", err)
		}
		rows, _, err := s.commit(&windowData{number: int64(2*n + 2), node: "attic", entries: func(yield func(int, *entry) bool) {
			left := n
			for i, e := range f.entries {
				if left--; left < 0 || !yield(i, e) {
					return
				}
			}
		}})
		if err != nil || rows != uint64(n) {
			t.Fatalf("got %d rows stored, %v, want %d", rows, err, n)
		}
		want += n
	}
	got := rows(t, dir, Filter{})
	if len(got) != want {
		t.Errorf("got %d rows, want the %d of the windows that were stored", len(got), want)
	}
	names := map[int64]string{}
	for i, e := range f.entries {
		names[int64(i)] = nameText(e.Name)
	}
	for _, r := range got { // names are stored several at a time, too
		if want := names[r.ID&(1<<rowBits-1)]; r.Name != want {
			t.Fatalf("row %d has the name %q, want %q", r.ID, r.Name, want)
		}
	}
}

// A name that waited when its transaction was undone is not stored by the next one.
func TestNamesOfAnUndoneTransactionAreNotStored(t *testing.T) {
	s, err := openStore(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	undone := errors.New("undone")
	for table, names := range s.names {
		store := func(name string, end error) error {
			return s.transact(func() error {
				if _, err := names.number(1<<rowBits, wire(t, name), wireName); err != nil {
					return err
				}
				if end != nil {
					return end
				}
				return names.flush()
			})
		}
		if err := store("undone.example", undone); !errors.Is(err, undone) {
			t.Fatal(err)
		}
		s.forget()
		if err := store("stored.example", nil); err != nil {
			t.Fatal(err)
		}
		var got []string
		if err := s.texts(`SELECT name FROM `+table+`_name`, func(stmt *sqlite3.Stmt) { got = append(got, stmt.ColumnText(0)) }); err != nil {
			t.Fatal(err)
		}
		if len(got) != 1 || got[0] != "stored.example" {
			t.Errorf("%s has names %q, want those of what was committed", table, got)
		}
	}
}
