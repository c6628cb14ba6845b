package querylog

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ncruces/go-sqlite3"
)

// TestAWriteAheadLogIsReadAsSQLiteDoes damages write-ahead logs at random, or cuts
// them, and compares how many frames there are with what SQLite finds.
func TestAWriteAheadLogIsReadAsSQLiteDoes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "x.db")
	conn, err := sqlite3.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.Exec(`PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0; CREATE TABLE t (x)`); err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(5, 5))
	seen := map[int64]bool{}
	for round := range 150 {
		if round%20 == 19 { // begun anew in place, with older frames behind
			conn.WALCheckpoint("", sqlite3.CHECKPOINT_RESTART)
		}
		if err := conn.Exec(fmt.Sprintf(`INSERT INTO t VALUES (randomblob(%d))`, rng.IntN(20_000))); err != nil {
			t.Fatal(err)
		}
		at := filepath.Join(dir, fmt.Sprint(round), "x.db")
		os.Mkdir(filepath.Dir(at), 0o700)
		for _, suffix := range []string{"", "-wal"} {
			b, err := os.ReadFile(path + suffix)
			if err == nil {
				err = os.WriteFile(at+suffix, b, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		switch round % 3 {
		case 1:
			damageLog(rng, at+"-wal")
		case 2:
			info, _ := os.Stat(at + "-wal")
			os.Truncate(at+"-wal", rng.Int64N(info.Size()))
		}
		got, err := readWAL(at + "-wal")
		if err != nil {
			t.Fatal(err)
		}
		c, err := sqlite3.Open(at)
		if err != nil {
			t.Fatal(err)
		}
		c.Exec(`SELECT * FROM t`) // which reads the log
		want, _, err := c.WALCheckpoint("", sqlite3.CHECKPOINT_NOOP)
		if err != nil || got.frames != int64(want) {
			t.Errorf("round %d: got %d frames, want the %d that SQLite reads (%v)", round, got.frames, want, err)
		}
		c.Close()
		seen[got.frames] = true
	}
	if len(seen) < 20 {
		t.Errorf("got %d lengths in all, want logs of many", len(seen))
	}
}

// TestADamagedLogOfMovedPagesLosesNothing damages a write-ahead log whose pages
// are all in the store's main file, but that somebody still reads.
func TestADamagedLogOfMovedPagesLosesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		l := open(t, Options{Dir: dir})
		add := func(from int) {
			for i := range 50 {
				l.Append([]Record{lookup(t, nil, time.Now(), phone(6), fmt.Sprintf("n%d.example", from+i))})
				time.Sleep(time.Second)
			}
		}
		add(0)
		time.Sleep(2 * time.Minute)
		other := anotherProcess(t, dir)
		if err := other.Exec(`BEGIN; SELECT count(*) FROM window`); err != nil {
			t.Fatal(err)
		}
		add(50)
		time.Sleep(20 * time.Second)
		other.Exec(`ROLLBACK; BEGIN; SELECT count(*) FROM window`) // all is moved now, and the log not emptied
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		w, err := readWAL(filepath.Join(dir, storeName+"-wal"))
		if err != nil || w.frames < 10 {
			t.Fatalf("got a write-ahead log of %d frames, %v, want one that is not emptied", w.frames, err)
		}
		journals, _ := segments(dir)
		if len(journals) > 0 {
			t.Errorf("got journals %v, want none: the rows are in the main file", journals)
		}
		for at := int64(0); at < w.frames*4096; at += w.frames * 4096 / 7 {
			killed := t.TempDir()
			if err := os.CopyFS(killed, os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
			f, err := os.OpenFile(filepath.Join(killed, storeName+"-wal"), os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			f.WriteAt([]byte(strings.Repeat("damage", 30)), at)
			f.Close()
			k := open(t, Options{Dir: killed})
			closeLog(t, k)
			if got := total(rows(t, killed, Filter{})); len(got) != 100 {
				t.Errorf("damaged at %d: got %d names, want 100", at, len(got))
			}
			aside, _ := filepath.Glob(filepath.Join(killed, "*.corrupt-*"))
			if len(aside) != 1 || !strings.Contains(aside[0], "-wal.corrupt-") {
				t.Errorf("damaged at %d: got set aside %v, want the write-ahead log", at, aside)
			}
			for _, e := range events(t, killed) {
				if e.Kind == KindLost {
					t.Errorf("damaged at %d: got %v, want nothing lost", at, e)
				}
			}
		}
		other.Close()
		closeLog(t, l)
	})
}

// TestADamagedLogThatWasBeingMoved damages a write-ahead log that may be in the
// main file in part: nobody knows which of its pages are.
func TestADamagedLogThatWasBeingMoved(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		l := open(t, Options{Dir: dir})
		for i := range 30 {
			l.Append([]Record{lookup(t, nil, time.Now(), phone(6), fmt.Sprintf("n%d.example", i))})
			time.Sleep(time.Second)
		}
		synctest.Wait()
		for _, damaged := range []bool{false, true} {
			killed := t.TempDir()
			if err := os.CopyFS(killed, os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
			wal := filepath.Join(killed, storeName+"-wal")
			w, err := readWAL(wal)
			if err != nil || w.frames == 0 {
				t.Fatalf("got %+v, %v, want a write-ahead log", w, err)
			}
			lock, _, err := lockDir(killed, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			lock.update(time.Now(), func(s *lockState) { s.wal = walMark{w.salt, w.frames, false} })
			lock.f.Close()
			if damaged {
				f, _ := os.OpenFile(wal, os.O_WRONLY, 0)
				f.WriteAt([]byte("damage"), walHeader+(w.frames-1)*(walFrameHeader+w.pageSize)+1000)
				f.Close()
			}
			want := 30
			if damaged {
				want = inJournals(t, killed) // which are kept until all is moved
			}
			k := open(t, Options{Dir: killed})
			closeLog(t, k)
			aside, _ := filepath.Glob(filepath.Join(killed, storeName+".corrupt-*"))
			if got := len(aside) > 0; got != damaged {
				t.Errorf("damaged %v: got set aside %v", damaged, aside)
			}
			if got := kinds(events(t, killed)); strings.Contains(got, KindStore) != damaged {
				t.Errorf("damaged %v: got ledger %q", damaged, got)
			}
			if got := len(rows(t, killed, Filter{})); got != want {
				t.Errorf("damaged %v: got %d rows, want %d", damaged, got, want)
			}
		}
		closeLog(t, l)
	})
}

// inJournals returns how many lookups the journals of a directory have.
func inJournals(t *testing.T, dir string) (n int) {
	t.Helper()
	windows, err := segments(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range windows {
		p, err := readSegment(dir, w)
		if err != nil {
			t.Fatal(err)
		}
		n += int(p.lookups)
	}
	if n == 0 {
		t.Fatal("got no lookups in journals")
	}
	return n
}
