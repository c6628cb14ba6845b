package querylog

import (
	"fmt"
	"os"
	"path/filepath"
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
	})
}

func TestADiskThatStaysFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, fill, free := fullDisk(t)
		l := open(t, Options{Dir: dir})
		time.Sleep(11 * time.Second)
		fill()
		for i := range 50 {
			l.Append([]Record{lookup(t, nil, time.Now(), phone(6), fmt.Sprintf("n%d.example", i))})
			time.Sleep(time.Second)
		}
		if err := l.Close(); err == nil {
			t.Error("got no error from Close though lookups are lost")
		}
		free()
		got := uint64(0)
		for _, n := range total(rows(t, dir, Filter{})) {
			got += n
		}
		if lost := l.Stats().GivenUp; got+lost != 50 {
			t.Errorf("got %d lookups and %d given up, want 50 together", got, lost)
		}
	})
}
