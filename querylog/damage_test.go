package querylog

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ncruces/go-sqlite3"
)

// leave makes a journal as a killed server leaves it, with n lookups of one
// name each in a frame of its own, and returns its path.
func leave(t *testing.T, dir string, n int) string {
	t.Helper()
	seg, err := createSegment(dir, 5)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Now() // or retention would delete it
	l := Log{fold: newFold(at), limit: 1 << 20}
	l.hits.reset(l.fold.start)
	seg.enc.window(l.fold.start, "local")
	for i := range n {
		r := lookup(t, nil, at.Add(time.Duration(i)*time.Millisecond), phone(1), fmt.Sprintf("n%d.example", i))
		l.addLocked(&r)
		seg.enc.row(l.fold, i, false)
		seg.enc.hits(&l.hits, l.fold.start)
		l.hits.reset(l.fold.start)
		if err := seg.write(seg.enc.take()); err != nil {
			t.Fatal(err)
		}
	}
	if err := seg.rename(); err != nil {
		t.Fatal(err)
	}
	seg.close()
	return seg.path
}

func TestDamagedJournals(t *testing.T) {
	t.Parallel()
	frameAt := func(b []byte, n int) int {
		off := 0
		for range n {
			off += bytes.Index(b[off:], []byte(frameMagic)) + 1
		}
		return off - 1
	}
	for _, c := range []struct {
		name   string
		damage func([]byte) []byte
		want   int  // names read
		aside  bool // whether the file is kept under another name
		lost   uint64
	}{
		{"whole", func(b []byte) []byte { return b }, 5, false, 0},
		{"cut within the last frame", func(b []byte) []byte { return b[:len(b)-3] }, 4, false, 0},
		{"zeros behind the last frame", func(b []byte) []byte { return append(b, make([]byte, 4096)...) }, 5, false, 0},
		{"a bit turned in the third frame", func(b []byte) []byte { b[frameAt(b, 3)+20] ^= 4; return b }, 2, true, 1},
		{"the third frame's length turned", func(b []byte) []byte { b[frameAt(b, 3)+5] ^= 0xff; return b }, 2, true, 1},
		{"the third frame missing", func(b []byte) []byte {
			return append(b[:frameAt(b, 3):frameAt(b, 3)], b[frameAt(b, 4):]...)
		}, 2, true, 1},
		{"no journal at all", func([]byte) []byte { return []byte(strings.Repeat("nonsense\n", 99)) }, 0, true, 0},
		{"empty", func([]byte) []byte { return nil }, 0, false, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			path := leave(t, dir, 5)
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			damaged := c.damage(b)
			if err := os.WriteFile(path, damaged, 0o600); err != nil {
				t.Fatal(err)
			}
			var said strings.Builder
			l := open(t, Options{Dir: dir, Logger: slog.New(slog.NewTextHandler(&said, nil))})
			if strings.Contains(said.String(), "damaged") != c.aside || strings.Contains(said.String(), "nil") {
				t.Errorf("got messages %q, want the damage in them %v, and nothing that is not wrong", &said, c.aside)
			}
			if l.Stats().GivenUp < c.lost {
				t.Errorf("got %d lookups given up, want %d or more", l.Stats().GivenUp, c.lost)
			}
			closeLog(t, l)
			got := total(rows(t, dir, Filter{}))
			if len(got) < c.want {
				t.Errorf("got %v, want %d names or more", got, c.want)
			}
			for name, n := range got {
				if n != 1 || !strings.HasSuffix(name, ".example") {
					t.Errorf("got %s %d times, want once", name, n)
				}
			}
			aside, _ := filepath.Glob(path + ".corrupt-*")
			if (len(aside) == 1) != c.aside {
				t.Errorf("got set aside %v, want %v", aside, c.aside)
			}
			if c.aside {
				kept, _ := os.ReadFile(aside[0])
				if !bytes.Equal(kept, damaged) {
					t.Errorf("the file set aside is not as it was found")
				}
			}
			if got := strings.Contains(kinds(events(t, dir)), KindLost); got != c.aside {
				t.Errorf("got ledger %v, want the loss in it: %v", events(t, dir), c.aside)
			}
		})
	}
}

func TestDamagedStores(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		damage func(t *testing.T, path string)
	}{
		{"not a database", func(t *testing.T, path string) {
			if err := os.WriteFile(path, bytes.Repeat([]byte("nonsense"), 4096), 0o600); err != nil {
				t.Fatal(err)
			}
		}},
		{"the schema overwritten", func(t *testing.T, path string) {
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			copy(b[100:4096], bytes.Repeat([]byte{0xff}, 4096))
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}},
		{"everything behind the first page overwritten", func(t *testing.T, path string) {
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			copy(b[4096:], bytes.Repeat([]byte{0x55}, len(b)))
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			l := open(t, Options{Dir: dir})
			l.Append([]Record{lookup(t, nil, time.Now(), phone(6), "before.example")})
			closeLog(t, l)
			c.damage(t, filepath.Join(dir, storeName))
			l = open(t, Options{Dir: dir})
			l.Append([]Record{lookup(t, nil, time.Now(), phone(6), "after.example")})
			if _, next, err := l.Bindings(); err == nil && next < 1_000_000 {
				t.Errorf("got %d as the next binding's number, want none that may have been given", next)
			}
			closeLog(t, l)
			if got := total(rows(t, dir, Filter{})); got["after.example"] != 1 {
				t.Errorf("got %v, want the lookup after the damage", got)
			}
			if aside, _ := filepath.Glob(filepath.Join(dir, storeName+".corrupt-*")); len(aside) == 0 {
				t.Error("the damaged store was not set aside")
			}
			if got := kinds(events(t, dir)); !strings.Contains(got, KindStore) {
				t.Errorf("got ledger %q, want it to tell of the damage", got)
			}
		})
	}
}

func TestAStoreDamagedWhileItIsUsed(t *testing.T) {
	t.Parallel()
	const rules = 12_000 // more than the store's cache holds
	var list strings.Builder
	for i := range rules {
		fmt.Fprintf(&list, "n%d.example\n", i)
	}
	p := policy(t, list.String())
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		l := open(t, Options{Dir: dir, MaxMemory: 32 << 20})
		for i := range rules {
			l.Append([]Record{lookup(t, p, time.Now(), phone(6), fmt.Sprintf("n%d.example", i))})
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		path := filepath.Join(dir, storeName)
		damage(t, path)
		time.Sleep(2 * time.Hour) // until old rows are looked for
		for i := range 3 {
			l.Append([]Record{lookup(t, p, time.Now(), phone(6), fmt.Sprintf("n%d.example", rules-1-i))})
			time.Sleep(2 * time.Minute)
		}
		if got := l.Stats().LastError; got != "" {
			t.Errorf("got error %q, want a new store in use", got)
		}
		closeLog(t, l)
		got := total(rows(t, dir, Filter{}))
		for i := range 3 {
			if name := fmt.Sprintf("n%d.example", rules-1-i); got[name] != 1 {
				t.Errorf("got %s %d times, want what came after the damage", name, got[name])
			}
		}
		if got := kinds(events(t, dir)); !strings.Contains(got, KindStore) {
			t.Errorf("got ledger %q, want it to tell of the damage", got)
		}
	})
}

// TestJournalsOfADamagedStoreAreStoredAgain damages the store while some of its
// windows have a journal: those are in rows again, and the others are counted as
// lost, not one of them more.
func TestJournalsOfADamagedStoreAreStoredAgain(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		table   string // that is damaged, "" for all
		journal bool   // the journals are there when the damage is found
		full    bool   // nothing can be written then
	}{
		{"the journals are there", "", true, false},
		{"the journals come later", "", false, false},
		{"the disk is full", "", true, true},
		{"the table of windows alone", "window", true, false},
		{"the table of bindings alone", "binding", true, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir, fill, free := fullDisk(t)
				l := open(t, Options{Dir: filepath.Join(dir, "1")})
				add := func(n int, name string) {
					for i := range n {
						l.Append([]Record{lookup(t, nil, time.Now(), phone(6), fmt.Sprintf("%s%d.example", name, i))})
					}
					time.Sleep(15 * time.Second)
					synctest.Wait()
				}
				add(7, "moved") // to the main file, and their journal deleted
				add(5, "journaled")

				to := filepath.Join(dir, "2") // as a kill leaves it
				if err := os.CopyFS(to, os.DirFS(filepath.Join(dir, "1"))); err != nil {
					t.Fatal(err)
				}
				l.Close()
				if path := filepath.Join(to, storeName); c.table == "" {
					damage(t, path)
				} else {
					damageTable(t, path, c.table)
				}
				journals := filepath.Join(to, journalDir)
				if !c.journal {
					if err := os.Rename(journals, journals+".away"); err != nil {
						t.Fatal(err)
					}
					if err := os.WriteFile(journals, nil, 0o600); err != nil {
						t.Fatal(err)
					}
				}
				if c.full {
					fill()
				}
				l = open(t, Options{Dir: to})
				time.Sleep(15 * time.Second)
				synctest.Wait()
				if !c.journal {
					if err := errors.Join(os.Remove(journals), os.Rename(journals+".away", journals)); err != nil {
						t.Fatal(err)
					}
				}
				if c.full {
					l.Close()
					free()
					l = open(t, Options{Dir: to})
				}
				time.Sleep(time.Minute)
				closeLog(t, l)
				want := map[string]uint64{}
				for i := range 5 {
					want[fmt.Sprintf("journaled%d.example", i)] = 1
				}
				if got := total(rows(t, to, Filter{})); !maps.Equal(got, want) {
					t.Errorf("got rows %v, want %v", got, want)
				}
				checkLost(t, to, "7 lookups")
			})
		})
	}
}

// TestJournalsAreStoredAgainWhereTheStoreIsDamagedWhileItIsUsed is the same
// without a new start.
func TestJournalsAreStoredAgainWhereTheStoreIsDamagedWhileItIsUsed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		l := open(t, Options{Dir: dir})
		want := map[string]uint64{}
		add := func(n int, name string) {
			for i := range n {
				l.Append([]Record{lookup(t, nil, time.Now(), phone(6), fmt.Sprintf("%s%d.example", name, i))})
				want[fmt.Sprintf("%s%d.example", name, i)]++
			}
			time.Sleep(15 * time.Second)
			synctest.Wait()
		}
		add(7, "moved") // to the main file, and their journal deleted
		clear(want)
		add(5, "journaled")
		other := anotherProcess(t, dir)
		if err := other.Exec(`INSERT INTO meta VALUES ('other', 1)`); err != nil { // what the log has cached is not valid any more
			t.Fatal(err)
		}
		other.Close()
		damage(t, filepath.Join(dir, storeName))
		add(3, "after")
		if got := l.Stats().LastError; got != "" {
			t.Errorf("got error %q, want a new store in use", got)
		}
		closeLog(t, l)
		closeLog(t, open(t, Options{Dir: dir}))
		if got := total(rows(t, dir, Filter{})); !maps.Equal(got, want) {
			t.Errorf("got rows %v, want %v", got, want)
		}
		checkLost(t, dir, "7 lookups")
	})
}

// TestAJournalThatTheStoreNeverHadMakesNoLossSmaller moves the store away while a
// journal that it never had cannot be listed, and lookups of later are in it.
func TestAJournalThatTheStoreNeverHadMakesNoLossSmaller(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		root := t.TempDir()
		dir := filepath.Join(root, "1")
		l := open(t, Options{Dir: dir})
		add := func(n int, name string) {
			for i := range n {
				l.Append([]Record{lookup(t, nil, time.Now(), phone(6), fmt.Sprintf("%s%d.example", name, i))})
			}
			time.Sleep(time.Second)
			synctest.Wait()
		}
		kill := func(to string) {
			to = filepath.Join(root, to)
			if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
			l.Close()
			dir = to
		}
		add(5, "journaled")
		kill("2")
		journals := filepath.Join(dir, journalDir)
		if err := errors.Join(os.Rename(journals, journals+".away"), os.WriteFile(journals, nil, 0o600)); err != nil {
			t.Fatal(err)
		}
		l = open(t, Options{Dir: dir})
		add(4, "moved")
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		kill("3")
		for _, suffix := range storeSuffixes {
			os.Remove(filepath.Join(dir, storeName) + suffix)
		}
		journals = filepath.Join(dir, journalDir)
		if err := errors.Join(os.Remove(journals), os.Rename(journals+".away", journals)); err != nil {
			t.Fatal(err)
		}
		l = open(t, Options{Dir: dir})
		add(1, "after")
		closeLog(t, l)
		got := total(rows(t, dir, Filter{}))
		if len(got) != 6 || got["journaled4.example"] != 1 || got["after0.example"] != 1 {
			t.Errorf("got rows %v, want those of the journal and after", got)
		}
		checkLost(t, dir, "4 lookups")
	})
}

// damage overwrites the pages of a store's main file, and of its write-ahead log.
func damage(t *testing.T, path string) {
	t.Helper()
	for _, p := range []string{path, path + "-wal"} {
		b, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		copy(b[min(4096, len(b)):], bytes.Repeat([]byte{0x55}, len(b)))
		if err := os.WriteFile(p, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// damageTable overwrites the first page of a table.
func damageTable(t *testing.T, path, table string) {
	t.Helper()
	c, err := sqlite3.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	st := store{conn: c}
	page, err := st.number(`SELECT rootpage FROM sqlite_schema WHERE name = '` + table + `'`)
	if err := errors.Join(err, c.Exec(`PRAGMA wal_checkpoint = TRUNCATE`), c.Close()); err != nil || page == 0 {
		t.Fatal(page, err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(bytes.Repeat([]byte{0x55}, 4096), (page-1)*4096); err != nil {
		t.Fatal(err)
	}
	f.Close()
}

// checkLost checks that the ledger has one loss of so many lookups, none for "".
func checkLost(t *testing.T, dir, want string) {
	t.Helper()
	var got []string
	all := events(t, dir)
	for _, e := range all {
		if e.Kind == KindLost {
			got = append(got, e.Detail)
		}
	}
	if want == "" && len(got) > 0 || want != "" && (len(got) != 1 || !strings.Contains(got[0], want)) {
		t.Errorf("got losses %q, want one of %q; the ledger has %v", got, want, all)
	}
}

func TestAStoreOfANewerVersionIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		path := filepath.Join(dir, storeName)
		c, err := sqlite3.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Exec(`PRAGMA user_version = 99; CREATE TABLE later (x)`); err != nil {
			t.Fatal(err)
		}
		c.Close()
		before, _ := os.ReadFile(path)
		l := open(t, Options{Dir: dir})
		if got := l.Stats().LastError; !strings.Contains(got, "schema 99") || !strings.Contains(got, "move the file away") {
			t.Errorf("got %q, want what is the matter and what to do", got)
		}
		if _, next, err := l.Bindings(); err == nil || next < 1_000_000 {
			t.Errorf("got %d, %v, want an error and a number far above any given", next, err)
		}
		l.Append([]Record{lookup(t, nil, time.Now(), phone(6), "meanwhile.example")})
		time.Sleep(90 * time.Second)
		if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
			t.Error("the store was changed")
		}
		if err := os.Rename(path, path+".later"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(15 * time.Second)
		synctest.Wait()
		if got := l.Stats(); got.LastError != "" || got.Stored != 1 {
			t.Errorf("got %+v after the file was moved away, want the lookup stored", got)
		}
		closeLog(t, l)
		if got := total(rows(t, dir, Filter{})); got["meanwhile.example"] != 1 {
			t.Errorf("got %v, want what came meanwhile", got)
		}
	})
}

func TestADirectoryThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		parent := t.TempDir()
		dir := filepath.Join(parent, "data")
		if err := os.WriteFile(dir, nil, 0o600); err != nil { // a file where the directory should be
			t.Fatal(err)
		}
		l := open(t, Options{Dir: dir})
		if got := l.Stats().LastError; got == "" {
			t.Error("got no error, want one that says what is the matter")
		}
		for i := range 1000 {
			l.Append([]Record{lookup(t, nil, time.Now(), phone(6), fmt.Sprintf("n%d.example", i%10))})
			time.Sleep(time.Second)
		}
		os.Remove(dir)
		time.Sleep(30 * time.Second)
		closeLog(t, l)
		var n uint64
		for _, c := range total(rows(t, dir, Filter{})) {
			n += c
		}
		if n != 1000 {
			t.Errorf("got %d lookups once the directory could be made, want all 1000", n)
		}
		if got := kinds(events(t, dir)); got != "failure start recovered stop" {
			t.Errorf("got ledger %q, want the failure and its end", got)
		}
	})
}

func TestADirectoryThatCanNeverBeWritten(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	if err := os.WriteFile(dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	l := open(t, Options{Dir: dir, Logger: slog.New(slog.NewTextHandler(&said, nil))})
	if err := l.Close(); err == nil || errors.Is(err, errNoStore) {
		t.Errorf("got %v, want what is wrong with the directory", err)
	}
	if got := said.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "directory fails") {
		t.Errorf("got messages %q, want one: nothing else is wrong, and no lookup was lost", got)
	}
}

func FuzzReplay(f *testing.F) {
	at := time.UnixMilli(1_700_000_000_000)
	fold := newFold(at)
	l := Log{fold: fold, limit: 1 << 20}
	l.hits.reset(fold.start)
	enc := newEncoder(9)
	enc.window(fold.start, "node")
	for i := range 3 {
		r := Record{Time: at, Binding: phone(uint64(i + 1)), Client: phone(1).Addr, Name: []byte("\x01a\x07example\x00"), Type: 1}
		l.addLocked(&r)
		enc.row(fold, i, i == 2)
	}
	enc.hits(&l.hits, fold.start)
	enc.event(&Event{Kind: KindStart})
	enc.keptBinding(phone(4))
	whole := append([]byte(journalMagic), enc.take()...)
	f.Add(whole)
	f.Add(whole[:len(whole)-1])
	f.Add([]byte(journalMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		p := replay{window: 9}
		if n := p.feed(b); n > len(b) {
			t.Fatalf("read %d of %d bytes", n, len(b))
		}
		// The same payload behind a good checksum: what a liar would write.
		if len(b) < maxFrame {
			q := replay{window: 9, version: 2}
			q.frame(b)
			for i, e := range q.entries {
				e.row(int64(i), q.node)
			}
		}
		for i, e := range p.entries {
			e.row(int64(i), p.node)
		}
	})
}
