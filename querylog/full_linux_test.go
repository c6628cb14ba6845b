package querylog

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// fullDisk returns a directory on a disk that can be filled and freed: a small
// tmpfs where we may mount one, else by the limit on the size of files.
func fullDisk(t *testing.T) (dir string, fill, free func()) {
	t.Helper()
	dir = t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=2m"); err != nil {
		return dir, func() { limitFiles(t, 64) }, func() { limitFiles(t, 1<<40) }
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	filler := filepath.Join(dir, "filler")
	fill = func() {
		f, err := os.Create(filler)
		if err != nil {
			t.Fatal(err)
		}
		for size := 64 << 10; size > 0; size /= 2 {
			for err = nil; err == nil; {
				_, err = f.Write(make([]byte, size))
			}
		}
		f.Close()
	}
	return dir, fill, func() { os.Remove(filler) }
}

func limitFiles(t *testing.T, size uint64) {
	t.Helper()
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &l); err != nil {
		t.Fatal(err)
	}
	l.Cur = min(size, l.Max)
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &l); err != nil {
		t.Fatal(err)
	}
}

func TestAFullDisk(t *testing.T) {
	p := policy(t, testList)
	synctest.Test(t, func(t *testing.T) {
		dir, fill, free := fullDisk(t)
		l := open(t, Options{Dir: dir})
		want := map[string]uint64{}
		add := func(name string) {
			want[name]++
			l.Append([]Record{lookup(t, p, time.Now(), phone(6), name)})
			time.Sleep(500 * time.Millisecond)
		}
		for i := range 100 {
			add(fmt.Sprintf("n%d.tracker.example", i%7))
		}
		fill()
		for i := range 1000 {
			add(fmt.Sprintf("n%d.tracker.example", i%20))
		}
		if got := l.Stats().LastError; got == "" {
			t.Error("got no error while the disk was full")
		}
		free()
		for i := range 200 {
			add(fmt.Sprintf("n%d.tracker.example", i%30))
		}
		if got := l.Stats().LastError; got != "" {
			t.Errorf("got error %q after the disk was freed", got)
		}
		closeLog(t, l)
		got := total(rows(t, dir, Filter{}))
		for name, n := range want {
			if got[name] != n {
				t.Errorf("%s: got %d lookups, want %d", name, got[name], n)
			}
		}
		if l.Stats().GivenUp != 0 {
			t.Errorf("got %d given up, want none", l.Stats().GivenUp)
		}
		if got := kinds(events(t, dir)); !strings.Contains(got, KindFailure) || !strings.Contains(got, KindRecovered) {
			t.Errorf("got ledger %q, want the failure and its end", got)
		}
		sealed, listed := audit(t, dir, SealAudit{}), len(ids(t, dir, "listed"))
		if sealed.Rows == 0 || sealed.Rows != int64(listed) || sealed.Unsealed != 0 || sealed.Signed != sealed.Leaves {
			t.Errorf("got %d rows sealed of %d, %d not, and a checkpoint of %d leaves of %d, want all", sealed.Rows, listed, sealed.Unsealed, sealed.Signed, sealed.Leaves)
		}
	})
}

// TestADiskThatStaysFull fills the disk for more lookups than the files that are
// there can take in place: what is lost is counted, in the next start's ledger
// too, with its interval.
func TestADiskThatStaysFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, fill, free := fullDisk(t)
		l := open(t, Options{Dir: dir})
		time.Sleep(11 * time.Second)
		fill()
		begun := time.Now()
		const seconds, each = 50, 200
		for i := range seconds {
			for k := range each {
				l.Append([]Record{lookup(t, nil, time.Now(), phone(6), fmt.Sprintf("n%d-%d.example", i, k))})
			}
			time.Sleep(time.Second)
		}
		if err := l.Close(); err == nil {
			t.Error("got no error from Close though lookups are lost")
		}
		ended := time.Now()
		free()
		lost := l.Stats().GivenUp
		time.Sleep(time.Minute)
		l = open(t, Options{Dir: dir})
		closeLog(t, l)
		got := uint64(0)
		for _, n := range total(rows(t, dir, Filter{})) {
			got += n
		}
		if lost == 0 || got+lost != seconds*each {
			t.Errorf("got %d lookups and %d given up, want %d together", got, lost, seconds*each)
		}
		var gap Event
		for _, e := range events(t, dir) {
			if e.Kind == KindLost {
				gap = e
			}
		}
		if !strings.Contains(gap.Detail, fmt.Sprint(lost)) || gap.Since.Before(begun.Add(-time.Second)) || gap.Until.After(ended) || !gap.Until.After(gap.Since.Time) {
			t.Errorf("got %+v, want a line about %d lookups of between %v and %v", gap, lost, begun, ended)
		}
	})
}

// TestKilledOnAFullDisk copies the directory of a server that could write
// nothing for a while, as it would be after a kill: the next start says how many
// lookups were in memory alone, and since when.
func TestKilledOnAFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, fill, free := fullDisk(t)
		l := open(t, Options{Dir: dir})
		time.Sleep(11 * time.Second)
		fill()
		begun := time.Now()
		const seconds, each = 20, 500
		for i := range seconds {
			for k := range each {
				l.Append([]Record{lookup(t, nil, time.Now(), phone(6), fmt.Sprintf("n%d-%d.example", i, k))})
			}
			time.Sleep(time.Second)
		}
		killed, at := t.TempDir(), time.Now()
		os.Remove(filepath.Join(dir, "filler"))
		if err := os.CopyFS(killed, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		free()
		closeLog(t, l)

		time.Sleep(time.Minute)
		l = open(t, Options{Dir: killed})
		closeLog(t, l)
		got := uint64(0)
		for _, n := range total(rows(t, killed, Filter{})) {
			got += n
		}
		var lost uint64
		for _, e := range events(t, killed) {
			if e.Kind != KindLost {
				continue
			}
			var n uint64
			for _, word := range strings.Fields(e.Detail) {
				if v, err := strconv.ParseUint(word, 10, 64); err == nil {
					n = v
				}
			}
			lost += n
			if e.Since.Before(begun.Add(-time.Second)) || e.Until.After(at) || at.Sub(e.Until.Time) > 2*time.Second {
				t.Errorf("got a gap from %v to %v, want one between %v and %v", e.Since, e.Until, begun, at)
			}
		}
		if all := uint64(seconds * each); got+lost < all-each || got+lost > all || lost == 0 {
			t.Errorf("got %d lookups in rows and %d counted as lost, want %d together, but for the last second's %d", got, lost, all, each)
		}
	})
}

// TestAStoreIsMadeWholeOrNotAtAll makes a store on disks with less and less room.
func TestAStoreIsMadeWholeOrNotAtAll(t *testing.T) {
	dir, fill, free := fullDisk(t)
	if _, err := os.Stat(filepath.Join(dir, "filler")); err == nil {
		t.Fatal("the disk is not empty")
	}
	made, failed := 0, 0
	for room := int64(0); room < 400<<10; room += 12 << 10 {
		fill()
		filler := filepath.Join(dir, "filler")
		info, err := os.Stat(filler)
		if err != nil {
			t.Skip("no disk of our own to fill")
		}
		os.Truncate(filler, info.Size()-room)
		s, err := openStore(dir)
		if err == nil {
			s.close()
			made++
		} else {
			failed++
		}
		r, _ := OpenReader(dir)
		if _, err := r.Ledger(t.Context(), time.Time{}, time.Time{}); err != nil {
			t.Errorf("with room for %d octets: %v", room, err)
		}
		removeStore(filepath.Join(dir, storeName))
		free()
		if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) > 0 {
			t.Errorf("with room for %d octets: got %v left over", room, left)
		}
	}
	if made == 0 || failed == 0 {
		t.Errorf("made %d, failed %d, want both", made, failed)
	}
}
