package blocklists

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"telltale/dnswire"
)

// manyNames writes n made-up names, mean wire length about 24 octets.
func manyNames(t testing.TB, path string, n int, seed uint64) {
	f, err := os.Create(path)
	check(t, err)
	w := bufio.NewWriterSize(f, 1<<20)
	r := rand.New(rand.NewPCG(seed, 1))
	tlds := []string{"com", "net", "org", "info", "de", "co.uk", "ru", "cn"}
	for range n {
		if r.IntN(3) > 0 {
			fmt.Fprintf(w, "%s%d.", []string{"ads", "track", "metrics", "www"}[r.IntN(4)], r.IntN(1000))
		}
		for range 6 + r.IntN(8) {
			w.WriteByte('a' + byte(r.IntN(26)))
		}
		fmt.Fprintf(w, ".%s\n", tlds[r.IntN(len(tlds))])
	}
	check(t, w.Flush())
	check(t, f.Close())
}

func cpu() time.Duration { return processTime() }

// TestScale holds what an edit costs beside many names. It prints figures and
// fails only on what is far off.
func TestScale(t *testing.T) {
	if os.Getenv("TELLTALE_SCALE") == "" {
		t.Skip("set TELLTALE_SCALE=1 to load 1,200,000 names")
	}
	dir, cache := t.TempDir(), t.TempDir()
	manyNames(t, filepath.Join(dir, "big1.txt"), 600_000, 1)
	manyNames(t, filepath.Join(dir, "big2.txt"), 600_000, 2)
	write(t, filepath.Join(dir, "small.txt"), numbered(1000))
	o := Options{Dir: dir, CacheDir: cache, Poll: -1}
	from := func(what string, f func()) {
		runtime.GC()
		began, used := time.Now(), cpu()
		f()
		t.Logf("%-50s %8.1f ms, %8.1f ms of CPU", what, float64(time.Since(began).Microseconds())/1000, float64((cpu()-used).Microseconds())/1000)
	}
	var s *Store
	from("first load from text", func() { s = loaded(t, o) })
	edit := func(file, text string) {
		f, err := os.OpenFile(filepath.Join(dir, file), os.O_WRONLY|os.O_APPEND, 0)
		check(t, err)
		f.WriteString(text)
		f.Close()
	}
	for i := range 3 {
		edit("small.txt", fmt.Sprintf("edit%d.example\n", i))
		from("edit of the small list", func() { s.reload() })
	}
	edit("big1.txt", "edit-of-the-big-one.example\n")
	from("edit of a large list", func() { s.reload() })
	if got := s.says(t, "edit-of-the-big-one.example"); got != "block big1 edit-of-the-big-one.example" {
		t.Error(got)
	}
	change := func(at ...int) {
		path := filepath.Join(dir, "big1.txt")
		b, err := os.ReadFile(path)
		check(t, err)
		lines := strings.SplitAfter(string(b), "\n")
		for _, i := range at {
			lines[i] = fmt.Sprintf("edit-of-line-%d.example\n", i)
		}
		write(t, path, strings.Join(lines, ""))
	}
	change(300_000)
	from("edit of a line in the middle of it", func() { s.reload() })
	change(100, 599_000)
	from("edit of two distant lines of it", func() { s.reload() })
	var many []int
	for i := range 20 {
		many = append(many, 7_000+29_000*i)
	}
	change(many...)
	from("edit of 20 distant lines of it", func() { s.reload() })
	from("nothing has changed", func() { s.reload() })
	s.Close()
	s = nil
	time.Sleep(3 * time.Second) // until the files' looks can be relied on
	for _, file := range []string{"big1.txt", "big2.txt"} {
		old := time.Now().Add(-time.Hour)
		check(t, os.Chtimes(filepath.Join(dir, file), old, old))
	}
	from("next start, looks changed", func() { s = loaded(t, o) })
	s.Close()
	from("next start, looks the same", func() { s = loaded(t, o) })
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	image, err := os.Stat(filepath.Join(cache, "names.image"))
	check(t, err)
	t.Logf("heap in use %.1f MB, image %.1f MB", float64(m.HeapInuse)/1e6, float64(image.Size())/1e6)

	names := make([]dnswire.Name, 0, 20000)
	f, _ := os.Open(filepath.Join(dir, "big1.txt"))
	sc := bufio.NewScanner(f)
	for i := 0; sc.Scan() && len(names) < cap(names); i++ {
		if i%29 == 0 {
			n, err := dnswire.ParseName(sc.Text())
			check(t, err)
			names = append(names, n)
		}
	}
	f.Close()
	unlisted := make([]dnswire.Name, len(names))
	for i := range unlisted {
		check(t, unlisted[i].Set(fmt.Sprintf("www%d.shop%d.com", i%7, i)))
	}
	p := s.Current()
	run := func(what string, names []dnswire.Name) {
		for range 2 {
			began := time.Now()
			for i := range names {
				p.Decide(&names[i], 1, 0)
			}
			t.Logf("%s: %d ns", what, time.Since(began).Nanoseconds()/int64(len(names)))
		}
	}
	run("listed", names)
	run("unlisted", unlisted)
}
