package querylog

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestADeletedNameIsNotInTheFiles deletes some of the rows that share pages, and
// looks for their names in all that the directory has.
func TestADeletedNameIsNotInTheFiles(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		l := open(t, Options{Dir: dir})
		add := func(kind string) {
			for i := range 8 {
				l.Append([]Record{lookup(t, nil, time.Now(), phone(6), fmt.Sprintf("%s%d.example", kind, i))})
			}
			time.Sleep(4 * time.Hour)
		}
		add("deleted")
		add("kept")
		time.Sleep(DefaultUnlisted - 6*time.Hour)
		synctest.Wait()
		closeLog(t, l)
		if got := total(rows(t, dir, Filter{})); len(got) != 8 || got["kept0.example"] != 1 {
			t.Errorf("got %v, want the later half of the names", got)
		}
		if !inFiles(t, dir, "kept7") {
			t.Error("got no file with a name that is kept: the test looks for the wrong thing")
		}
		for i := range 8 {
			if name := fmt.Sprintf("deleted%d", i); inFiles(t, dir, name) {
				t.Errorf("%s is deleted, and still in a file", name)
			}
		}
	})
}

// inFiles reports whether any file in a directory has a text in it.
func inFiles(t *testing.T, dir, text string) (found bool) {
	t.Helper()
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err != nil || info.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		found = found || bytes.Contains(b, []byte(text))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// TestAJournalIsKeptUntilItsRowsAreInTheMainFile looks at the journals of stored
// windows: kept until the next checkpoint, then deleted.
func TestAJournalIsKeptUntilItsRowsAreInTheMainFile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		l := open(t, Options{Dir: dir})
		defer l.Close()
		time.Sleep(65 * time.Second) // the start is stored, and moved
		l.Append([]Record{lookup(t, nil, time.Now(), phone(6), "x.example")})
		time.Sleep(15 * time.Second)
		synctest.Wait()
		if got := l.Stats().Rows; got != 1 {
			t.Fatalf("got %d rows stored, want 1", got)
		}
		wal := readStoreLog(t, dir)
		if journals, _ := segments(dir); (len(journals) > 0) != (wal > 0) {
			t.Errorf("got journals %v with %d frames that are not moved", journals, wal)
		}
		time.Sleep(75 * time.Second)
		synctest.Wait()
		if journals, _ := segments(dir); len(journals) > 0 || readStoreLog(t, dir) > 0 {
			t.Errorf("got journals %v, and %d frames that are not moved, want none", journals, readStoreLog(t, dir))
		}
		if got := total(rows(t, dir, Filter{}))["x.example"]; got != 1 {
			t.Errorf("got %d lookups, want 1", got)
		}
		closeLog(t, l)
	})
}

// readStoreLog returns how many frames the store's write-ahead log has.
func readStoreLog(t *testing.T, dir string) int64 {
	t.Helper()
	w, err := readWAL(filepath.Join(dir, storeName+"-wal"))
	if err != nil {
		t.Fatal(err)
	}
	return w.frames
}

// TestTheLocksFileSaysWhatIsInMemoryAlone looks at the lock's file while no
// journal can be written: it counts all lookups but those of the last second and
// a flush, also where the goroutine was awake just before it was due.
func TestTheLocksFileSaysWhatIsInMemoryAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		l := open(t, Options{Dir: dir, window: time.Minute})
		defer l.Close()
		time.Sleep(65 * time.Second) // the start is stored
		synctest.Wait()
		journals := filepath.Join(dir, journalDir)
		if err := errors.Join(os.RemoveAll(journals), os.WriteFile(journals, nil, 0o600)); err != nil {
			t.Fatal(err)
		}
		var came []time.Time
		add := func() {
			l.Append([]Record{lookup(t, nil, time.Now(), phone(6), fmt.Sprintf("n%d.example", len(came)))})
			came = append(came, time.Now())
		}
		add()
		const step = 50 * time.Millisecond
		written := time.Now() // the file, at last
		before := lockState{}
		for begun := time.Now(); time.Since(begun) < 50*time.Second; {
			time.Sleep(step)
			synctest.Wait()
			b, err := os.ReadFile(filepath.Join(dir, "lock"))
			if err != nil {
				t.Fatal(err)
			}
			state := parseLock(b)
			if n := int(state.memory.lookups); n < len(came) && time.Since(came[n]) > exposedEvery+flushEvery {
				t.Fatalf("got %d of %d lookups counted after %v, though the next came %v ago", n, len(came), time.Since(begun), time.Since(came[n]))
			}
			if state.alive != before.alive {
				before, written = state, time.Now()
			}
			switch time.Since(written) {
			case 2 * step:
				add()
			case exposedEvery - step: // an event wakes the goroutine
				l.Report(KindFailure, "", "")
			}
		}
		if len(came) < 25 {
			t.Errorf("got %d lookups, want more", len(came))
		}
	})
}

// TestAWindowEndsEarlyWhereMemoryIsShort fills half of the memory in each second, and
// attempts take some of the rest: windows end after one, so that no name is dropped.
func TestAWindowEndsEarlyWhereMemoryIsShort(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		l := open(t, Options{Dir: dir, MaxMemory: 1 << 20})
		n, each := 0, 0
		add := func() {
			l.Append([]Record{lookup(t, nil, time.Now(), phone(6), fmt.Sprintf("n%d.example", n))})
			n++
		}
		memory := func() int {
			l.mu.Lock()
			defer l.mu.Unlock()
			return l.fold.memory()
		}
		for each = 0; memory() < l.o.MaxMemory*5/10; each++ {
			add()
		}
		for range 5 {
			time.Sleep(1200 * time.Millisecond)
			synctest.Wait()
			for range each {
				add()
			}
		}
		closeLog(t, l)
		if got := l.Stats().Folded; got > 0 {
			t.Errorf("got %d of %d lookups without their name, want none", got, n)
		}
		if got := len(total(rows(t, dir, Filter{}))); got != n {
			t.Errorf("got %d names, want %d", got, n)
		}
	})
}

// TestAStoreThatIsBeingMovedAway moves a store's files one after the other while
// the log notices it: none of the new store's is among them.
func TestAStoreThatIsBeingMovedAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir, away := t.TempDir(), t.TempDir()
		var said sharedText
		l := open(t, Options{Dir: dir, window: 100 * time.Millisecond, Logger: slog.New(slog.NewTextHandler(&said, nil))})
		defer l.Close()
		add := func(name string) {
			l.Append([]Record{lookup(t, nil, time.Now(), phone(6), name)})
			time.Sleep(20 * time.Second)
			synctest.Wait()
		}
		add("before.example")
		move := func(suffix string) {
			os.Rename(filepath.Join(dir, storeName)+suffix, filepath.Join(away, storeName)+suffix)
		}
		move("")
		n := 0
		meanwhile := func() {
			l.Append([]Record{lookup(t, nil, time.Now(), phone(6), "meanwhile.example")})
			n++
			time.Sleep(10 * time.Millisecond)
			synctest.Wait()
		}
		for !strings.Contains(said.String(), "removed or replaced") && n < 2000 {
			meanwhile()
		}
		for range 40 {
			meanwhile()
		}
		move("-wal")
		if got := total(rows(t, away, Filter{})); len(got) != 1 || got["before.example"] != 1 {
			t.Errorf("got %v in the store that was moved away, want before.example once", got)
		}
		move("-shm")
		add("after.example")
		closeLog(t, l)
		for dir, want := range map[string]string{dir: fmt.Sprintf("map[after.example:1 meanwhile.example:%d]", n), away: "map[before.example:1]"} {
			if got := fmt.Sprint(total(rows(t, dir, Filter{}))); got != want {
				t.Errorf("got %v, want %v", got, want)
			}
		}
	})
}

// sharedText is what several goroutines write, and may be read meanwhile.
type sharedText struct {
	mu   sync.Mutex
	text strings.Builder
}

func (s *sharedText) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(b)
}

func (s *sharedText) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}
