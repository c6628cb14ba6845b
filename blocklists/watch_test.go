package blocklists

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"telltale/blocklists/rules"
	"telltale/dnswire"
)

func (s *Store) says(t testing.TB, ask string) string {
	t.Helper()
	return said(s.Current().Decide(name(t, ask), dnswire.TypeA, 0))
}

// Each way of editing leaves a list with "two.example" instead of "one.example".
var ways = []struct {
	name  string
	setUp func(t *testing.T, dir string) // writes a.txt with the first text
	edit  func(t *testing.T, dir string, text string)
}{
	{"in place", plainFile, func(t *testing.T, dir, text string) {
		f, err := os.OpenFile(filepath.Join(dir, "a.txt"), os.O_WRONLY, 0)
		check(t, err)
		_, err = f.WriteString(text)
		check(t, err)
		check(t, f.Close())
	}},
	{"rename over", plainFile, func(t *testing.T, dir, text string) {
		temp := filepath.Join(dir, ".a.txt.swp")
		write(t, temp, text)
		check(t, os.Rename(temp, filepath.Join(dir, "a.txt")))
	}},
	{"move away and write anew", plainFile, func(t *testing.T, dir, text string) {
		path := filepath.Join(dir, "a.txt")
		check(t, os.Rename(path, path+"~"))
		write(t, path, text)
	}},
	{"truncate and write twice", plainFile, func(t *testing.T, dir, text string) {
		f, err := os.Create(filepath.Join(dir, "a.txt"))
		check(t, err)
		time.Sleep(20 * time.Millisecond)
		_, err = f.WriteString(text[:3])
		check(t, err)
		time.Sleep(20 * time.Millisecond)
		_, err = f.WriteString(text[3:])
		check(t, err)
		check(t, f.Close())
	}},
	{"append", plainFile, func(t *testing.T, dir, text string) {
		f, err := os.OpenFile(filepath.Join(dir, "a.txt"), os.O_WRONLY|os.O_APPEND, 0)
		check(t, err)
		_, err = f.WriteString("@@one.example\n" + text)
		check(t, err)
		check(t, f.Close())
	}},
	{"a symbolic link to another file", func(t *testing.T, dir string) {
		elsewhere := t.TempDir()
		write(t, filepath.Join(elsewhere, "v1"), "one.example\n")
		check(t, os.Symlink(filepath.Join(elsewhere, "v1"), filepath.Join(dir, "a.txt")))
	}, func(t *testing.T, dir, text string) {
		path := filepath.Join(dir, "a.txt")
		target, err := os.Readlink(path)
		check(t, err)
		v2 := filepath.Join(filepath.Dir(target), "v2")
		write(t, v2, text)
		check(t, os.Symlink(v2, path+".tmp"))
		check(t, os.Rename(path+".tmp", path))
	}},
	{"the target of a symbolic link, as stow has it", func(t *testing.T, dir string) {
		elsewhere := t.TempDir()
		write(t, filepath.Join(elsewhere, "real.txt"), "one.example\n")
		rel, err := filepath.Rel(dir, filepath.Join(elsewhere, "real.txt"))
		check(t, err)
		check(t, os.Symlink(rel, filepath.Join(dir, "a.txt")))
	}, func(t *testing.T, dir, text string) {
		target, err := filepath.EvalSymlinks(filepath.Join(dir, "a.txt"))
		check(t, err)
		write(t, target+".new", text)
		check(t, os.Rename(target+".new", target))
	}},
	{"..data swapped, as Kubernetes does", func(t *testing.T, dir string) {
		check(t, os.Mkdir(filepath.Join(dir, "..v1"), 0o700))
		write(t, filepath.Join(dir, "..v1", "a.txt"), "one.example\n")
		check(t, os.Symlink("..v1", filepath.Join(dir, "..data")))
		check(t, os.Symlink("..data/a.txt", filepath.Join(dir, "a.txt")))
	}, func(t *testing.T, dir, text string) {
		check(t, os.Mkdir(filepath.Join(dir, "..v2"), 0o700))
		write(t, filepath.Join(dir, "..v2", "a.txt"), text)
		check(t, os.Symlink("..v2", filepath.Join(dir, "..data_tmp")))
		check(t, os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")))
		check(t, os.RemoveAll(filepath.Join(dir, "..v1")))
	}},
}

func plainFile(t *testing.T, dir string) { write(t, filepath.Join(dir, "a.txt"), "one.example\n") }

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestEditsComeInForce(t *testing.T) {
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			way.setUp(t, dir)
			s := openStoreT(t, Options{Dir: dir, CacheDir: t.TempDir(), Poll: -1})
			if got, want := s.says(t, "one.example"), "block a one.example"; got != want {
				t.Fatalf("before: got %q, want %q", got, want)
			}
			way.edit(t, dir, "two.example\n")
			eventually(t, "two.example is blocked", func() bool { return s.says(t, "two.example") == "block a two.example" })
			if got := s.says(t, "one.example"); strings.HasPrefix(got, "block") {
				t.Errorf("after: one.example is still judged %q", got)
			}
		})
	}
}

// What decides reads rules and their index from many goroutines while others are put
// in their place: the race detector watches both here.
func TestAnEditComesInForceWhileManyDecide(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.txt")
	write(t, path, "one.example\n")
	s := openStoreT(t, Options{Dir: dir, CacheDir: t.TempDir(), Poll: -1})
	one, two := name(t, "one.example"), name(t, "below.two.example")
	var end atomic.Bool
	var deciding sync.WaitGroup
	defer deciding.Wait()
	defer end.Store(true)
	for range 4 {
		deciding.Go(func() {
			for !end.Load() {
				policy := s.Current()
				first, second := said(policy.Decide(one, dnswire.TypeA, 0)), said(policy.Decide(two, dnswire.TypeA, 0))
				if first == second {
					t.Errorf("one policy says %q of both names", first)
					return
				}
			}
		})
	}
	for n := range 6 {
		text, blocked := "two.example\n", "below.two.example"
		if n%2 == 1 {
			text, blocked = "one.example\n", "one.example"
		}
		write(t, path+".new", text)
		check(t, os.Rename(path+".new", path))
		eventually(t, blocked+" is blocked", func() bool { return strings.HasPrefix(s.says(t, blocked), "block") })
	}
}

func TestSecondEditOfASwappedLinkComesInForce(t *testing.T) {
	dir := t.TempDir()
	swap := func(version int, text string) {
		v := fmt.Sprintf("..v%d", version)
		check(t, os.Mkdir(filepath.Join(dir, v), 0o700))
		write(t, filepath.Join(dir, v, "a.txt"), text)
		check(t, os.Symlink(v, filepath.Join(dir, "..tmp")))
		check(t, os.Rename(filepath.Join(dir, "..tmp"), filepath.Join(dir, "..data")))
	}
	swap(1, "n1.example\n")
	check(t, os.Symlink("..data/a.txt", filepath.Join(dir, "a.txt")))
	s := openStoreT(t, Options{Dir: dir, Poll: -1})
	for version := 2; version < 5; version++ {
		swap(version, fmt.Sprintf("n%d.example\n", version))
		eventually(t, "the next version", func() bool {
			return strings.HasPrefix(s.says(t, fmt.Sprintf("n%d.example", version)), "block")
		})
	}
}

// inotify tells nothing of what is written through a mapping, as it tells
// nothing of what another machine writes to a network file system.
func TestPollFindsWhatNoEventTells(t *testing.T) {
	dir := files(t, map[string]string{"a.txt": "one.example\n"})
	s := openStoreT(t, Options{Dir: dir, Poll: 20 * time.Millisecond})
	f, err := os.OpenFile(filepath.Join(dir, "a.txt"), os.O_RDWR, 0)
	check(t, err)
	defer f.Close()
	mapped, err := unix.Mmap(int(f.Fd()), 0, len("one"), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	check(t, err)
	copy(mapped, "two")
	check(t, unix.Msync(mapped, unix.MS_SYNC))
	check(t, unix.Munmap(mapped))
	eventually(t, "the new text is in force", func() bool { return s.says(t, "two.example") == "block a two.example" })
}

func TestNewRemovedAndRenamedFiles(t *testing.T) {
	dir := files(t, map[string]string{"a.txt": "one.example\n"})
	s := openStoreT(t, Options{Dir: dir, CacheDir: t.TempDir(), Poll: -1})
	check(t, os.Rename(filepath.Join(dir, "a.txt"), filepath.Join(dir, "z.txt")))
	eventually(t, "the list has its new name", func() bool { return s.says(t, "one.example") == "block z one.example" })
	check(t, os.Remove(filepath.Join(dir, "z.txt")))
	eventually(t, "the list is gone", func() bool { return s.says(t, "one.example") == "pass" })
}

func TestOnlyChangedFilesAreReadAgain(t *testing.T) {
	dir := files(t, map[string]string{"a.txt": "one.example\n", "b.txt": "two.example\n"})
	s := openStoreT(t, Options{Dir: dir, Poll: -1})
	var before *rules.Set
	s.mu.Lock()
	before = s.sources[1].set
	s.mu.Unlock()
	write(t, filepath.Join(dir, "a.txt"), "three.example\n")
	eventually(t, "the edit is in force", func() bool { return s.says(t, "three.example") != "pass" })
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sources[1].set != before {
		t.Error("the file that nobody touched was read again")
	}
}

func TestADirectoryThatComesBackIsWatched(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "lists.d")
	check(t, os.MkdirAll(dir, 0o755))
	write(t, filepath.Join(dir, "a.txt"), "one.example\n")
	s := openStoreT(t, Options{Dir: dir, Poll: -1})
	check(t, os.Rename(dir, dir+".away"))
	eventually(t, "its absence is seen", func() bool { return s.of(t, "a").Failed != "" })
	if got, want := s.says(t, "one.example"), "block a one.example"; got != want {
		t.Errorf("while it is gone: got %q, want %q", got, want)
	}
	check(t, os.MkdirAll(dir, 0o755))
	write(t, filepath.Join(dir, "a.txt"), "two.example\n")
	eventually(t, "what is in it then is in force", func() bool {
		return s.says(t, "two.example") == "block a two.example" && s.says(t, "one.example") == "pass" && s.of(t, "a").Failed == ""
	})
	write(t, filepath.Join(dir, "a.txt"), "three.example\n")
	eventually(t, "it is watched as before", func() bool { return s.says(t, "three.example") == "block a three.example" })
}

func TestADirectoryThatAllMayWriteToIsRefused(t *testing.T) {
	dir := files(t, map[string]string{"a.txt": "one.example\n"})
	check(t, os.Chmod(dir, 0o777))
	const want = "can be written by every user of this machine: run chmod o-w on it"
	if _, err := OpenReadOnly(Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), dir+" "+want) {
		t.Errorf("at the start: got %v, want %s %s", err, dir, want)
	}
	check(t, os.Chmod(dir, 0o775))
	told := &reports{}
	s := openStoreT(t, Options{Dir: dir, Poll: -1, Report: told.add})
	check(t, os.Chmod(dir, 0o777))
	write(t, filepath.Join(dir, "a.txt"), "two.example\n")
	write(t, filepath.Join(dir, "b.txt"), "@@one.example\n")
	eventually(t, "it is refused while running", func() bool { return strings.Contains(s.of(t, "a").Failed, want) })
	if got, want := s.says(t, "one.example"), "block a one.example"; got != want {
		t.Errorf("what was in force: got %q, want %q", got, want)
	}
	if !told.has("reload-failed lists") || !told.has("list-failed a") {
		t.Errorf("reported: got %v", told.seen)
	}
	check(t, os.Remove(filepath.Join(dir, "b.txt")))
	check(t, os.Chmod(dir, 0o755))
	eventually(t, "it is repaired", func() bool { return s.says(t, "two.example") == "block a two.example" && s.of(t, "a").Failed == "" })
}
