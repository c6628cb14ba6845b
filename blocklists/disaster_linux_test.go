package blocklists

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// hangingDir returns a directory of a file system that never answers: nobody
// reads what the kernel asks of it. release ends that.
func hangingDir(t *testing.T) (dir string, release func()) {
	t.Helper()
	fuse, err := syscall.Open("/dev/fuse", syscall.O_RDWR, 0)
	if err != nil {
		t.Skipf("skipped: no file system can be made to hang: %v", err)
	}
	dir = t.TempDir()
	if err := syscall.Mount("hang", dir, "fuse.hang", 0, fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", fuse)); err != nil {
		syscall.Close(fuse)
		t.Skipf("skipped: no file system can be made to hang: %v", err)
	}
	released := false
	release = func() {
		if !released {
			released = true
			syscall.Close(fuse) // what waits fails now
		}
	}
	t.Cleanup(func() {
		release()
		syscall.Unmount(dir, syscall.MNT_DETACH)
	})
	return dir, release
}

func TestAFileThatHangsHoldsNothingUp(t *testing.T) {
	hanging, release := hangingDir(t)
	dir := files(t, map[string]string{"a.txt": "one.example\n", "far.txt": "far.example\n"})
	s, err := Open(Options{Dir: dir, CacheDir: t.TempDir(), Poll: 100 * time.Millisecond, FileTimeout: 300 * time.Millisecond})
	check(t, err)
	t.Cleanup(func() { s.Close() })
	far := filepath.Join(dir, "far.txt")
	check(t, os.Symlink(filepath.Join(hanging, "far.txt"), far+".new~"))
	check(t, os.Rename(far+".new~", far))
	eventually(t, "that it hangs is said", func() bool { return strings.Contains(s.of(t, "far").Failed, "has not returned") })
	write(t, filepath.Join(dir, "a.txt"), "two.example\n")
	eventually(t, "another list's edit is in force", func() bool { return s.says(t, "two.example") == "block a two.example" })
	if got, want := s.says(t, "far.example"), "block far far.example"; got != want {
		t.Errorf("the last good rules: got %q, want %q", got, want)
	}
	check(t, s.Configure(Options{TTL: time.Minute}))
	release()
	check(t, os.Remove(far))
	write(t, far, "near.example\n")
	eventually(t, "it is read when it no longer hangs", func() bool { return s.says(t, "near.example") == "block far near.example" })
}

func TestAHangingListIsNotWaitedForAtTheEnd(t *testing.T) {
	hanging, _ := hangingDir(t)
	dir := files(t, map[string]string{"a.txt": "one.example\n"})
	s, err := Open(Options{Dir: dir, Poll: -1, FileTimeout: time.Hour})
	check(t, err)
	check(t, os.Symlink(filepath.Join(hanging, "far.txt"), filepath.Join(dir, "far.txt")))
	time.Sleep(300 * time.Millisecond) // until it is being read, most of the time
	closed := make(chan struct{})
	go func() {
		s.Close()
		close(closed)
	}()
	select {
	case <-closed:
	case <-time.After(30 * time.Second):
		t.Fatal("Close waits for a read that does not return")
	}
}

func TestAReadThatHangsEnds(t *testing.T) {
	r, w, err := os.Pipe()
	check(t, err)
	defer w.Close()
	a := newAccess(200*time.Millisecond, nil)
	l := &listReader{access: a, path: "pipe", f: r, buf: make([]byte, 8)}
	defer l.Close()
	fmt.Fprint(w, "one.example\n")
	text, err := io.ReadAll(l)
	if string(text) != "one.example\n" || err == nil || !strings.Contains(err.Error(), "has not returned for 200ms") {
		t.Errorf("got %q, %v, want what there was, and that the next read hangs", text, err)
	}
	if seen := a.lookAt("pipe"); !strings.Contains(seen.err, "has not returned since") {
		t.Errorf("while it hangs: got %q, want that it is not touched", seen.err)
	}
	fmt.Fprint(w, "two")
	eventually(t, "it is touched again", func() bool { return !strings.Contains(a.lookAt("pipe").err, "returned") })
}

// fullDisk returns a directory on a disk of the given size.
func fullDisk(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Skipf("skipped: no small disk can be made: %v", err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

// With a full cache disk edits are in force from memory, and each file is read
// once an edit.
func TestAFullCacheDiskKeepsEditsOutOfTheCacheAlone(t *testing.T) {
	cache := fullDisk(t, "2m")
	dir := files(t, map[string]string{"a.txt": numbered(20_000), "own.txt": "mine.example\n"})
	told := &reports{}
	s := openStoreT(t, Options{Dir: dir, CacheDir: cache, Poll: 20 * time.Millisecond, Report: told.add})
	write(t, filepath.Join(dir, "a.txt"), numbered(150_000))
	eventually(t, "the edit is in force", func() bool { return s.says(t, "n149999.example") == "block a n149999.example" })
	write(t, filepath.Join(dir, "own.txt"), "@@n1.example\n")
	eventually(t, "one's own edit is in force", func() bool { return s.says(t, "n1.example") == "allow own @@n1.example" })
	if got := s.of(t, "a").Unkept; !strings.Contains(got, "no space left") {
		t.Errorf("said of the list: got %q, want that the disk is full", got)
	}
	eventually(t, "nothing is reported while nothing changes", func() bool {
		before := len(told.all())          // that of the last edit may be yet to come
		time.Sleep(300 * time.Millisecond) // some polls
		return len(told.all()) == before
	})
	if !told.has("cache-failed a") || len(told.all()) > 6 {
		t.Errorf("reported: got %q, want that the cache failed, once", told.all())
	}
	write(t, filepath.Join(dir, "a.txt"), numbered(10))
	eventually(t, "a smaller list is kept again", func() bool { return s.of(t, "a").Unkept == "" && s.says(t, "n149999.example") == "pass" })
}

func TestHalfWrittenFilesAreRemoved(t *testing.T) {
	dir := files(t, map[string]string{"a.txt": "one.example\n", ".new-123": "half", ".new-456": "in the making"})
	old := time.Now().Add(-time.Hour)
	check(t, os.Chtimes(filepath.Join(dir, ".new-123"), old, old))
	loaded(t, Options{Dir: dir, CacheDir: t.TempDir()})
	left, _ := filepath.Glob(filepath.Join(dir, ".new-*"))
	if len(left) != 1 || filepath.Base(left[0]) != ".new-456" {
		t.Errorf("got %q, want what is in the making alone", left)
	}
}

func TestAFileThatIsReadToTheSameRulesLeavesNothing(t *testing.T) {
	dir, cache := files(t, map[string]string{"a.txt": "one.example\n"}), t.TempDir()
	s := loaded(t, Options{Dir: dir, CacheDir: cache})
	write(t, filepath.Join(dir, "a.txt"), "one.example\n\n")
	s.reload()
	if left, _ := filepath.Glob(filepath.Join(cache, "lists", ".new-*")); len(left) != 0 {
		t.Errorf("files are left: %q", left)
	}
}
