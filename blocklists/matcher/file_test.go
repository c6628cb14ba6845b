package matcher

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"telltale/bench/names"
	"telltale/dnswire"
)

// write builds an image of n made-up names at path and returns them.
func write(t testing.TB, path string, n int) (*Image, []string) {
	t.Helper()
	b := NewBuilder(Options{Dir: filepath.Dir(path)})
	b.SetMeta([]byte("what it was made from"))
	gen := names.New(11)
	var listed []string
	for i := range n {
		s := string(gen.Next())
		listed = append(listed, s)
		add(t, b, s, Payload(i))
	}
	im, err := b.WriteFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return im, listed
}

func TestAFileOpensAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "image")
	_, listed := write(t, path, 1000)
	im, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if meta, err := im.Meta(); err != nil || string(meta) != "what it was made from" {
		t.Errorf("meta is %q, %v", meta, err)
	}
	if im.Len() != len(listed) {
		t.Errorf("%d entries, want %d", im.Len(), len(listed))
	}
	s := newSet(t, Layers{Base: im})
	for i, n := range listed {
		got := s.Lookup(name(t, n), nil)
		if !slices.ContainsFunc(got, func(h Hit) bool { return h.Payload == Payload(i) }) {
			t.Fatalf("%s: got %v, want %d among them", n, got, i)
		}
	}
}

func TestTheOldImageOutlivesANewOneOfItsPath(t *testing.T) {
	path := filepath.Join(t.TempDir(), "image")
	old, listed := write(t, path, 2000)
	s := newSet(t, Layers{Base: old})
	write(t, path, 10)
	for i, n := range listed {
		if got := s.Lookup(name(t, n), nil); len(got) == 0 {
			t.Fatalf("%s, entry %d, is gone", n, i)
		}
	}
	if err := s.fault.Load(); err != nil {
		t.Error(*err)
	}
}

// Compaction and a reload may build the same image at once.
func TestBuildersOfOnePathDoNotDisturbEachOther(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "image")
	const builders = 4
	images, listed := make([]*Image, builders), make([][]string, builders)
	var all sync.WaitGroup
	for i := range builders {
		all.Go(func() { images[i], listed[i] = write(t, path, 5000*(i+1)) })
	}
	all.Wait()
	for i, im := range images {
		s := newSet(t, Layers{Base: im})
		for _, n := range listed[i] {
			if len(s.Lookup(name(t, n), nil)) == 0 {
				t.Fatalf("the image of builder %d lost %s", i, n)
			}
		}
	}
	if _, err := Open(path); err != nil {
		t.Errorf("the last image: %v", err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("files left behind: %v", left)
	}
}

func TestADamagedFileIsNotOpened(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "image")
	write(t, path, 300)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	bad := filepath.Join(dir, "bad")
	refused := func(what string, b []byte) {
		t.Helper()
		if err := os.WriteFile(bad, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(bad); !errors.Is(err, ErrFile) {
			t.Errorf("%s: got %v, want ErrFile", what, err)
		}
	}
	for _, n := range []int{0, 1, 8, 100, headerSize - 1, headerSize, headerSize + symbolsSize, len(whole) / 2, len(whole) - 1} {
		refused("cut short", whole[:n])
	}
	refused("longer", append(slices.Clone(whole), 0))
	for at := 0; at < len(whole); at += 1 + at/40 {
		b := slices.Clone(whole)
		b[at] ^= 0x10
		refused("one bit changed", b)
	}
	other := slices.Clone(whole)
	other[8]++
	refused("another version", other)
	if _, err := Open(dir); !errors.Is(err, ErrFile) {
		t.Errorf("a directory: got %v, want ErrFile", err)
	}
	if _, err := Open(filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: got %v, want os.ErrNotExist", err)
	}
}

func TestAFileCutShortUnderneathIsAFaultAndNoCrash(t *testing.T) {
	path := filepath.Join(t.TempDir(), "image")
	im, listed := write(t, path, 50_000)
	if !im.mapped {
		t.Skip("files are not mapped here")
	}
	var faults []error
	s := newSet(t, Layers{Base: im, Fault: func(err error) { faults = append(faults, err) }})
	before := s.Lookup(name(t, listed[1]), nil)
	if len(before) == 0 || len(faults) > 0 {
		t.Fatalf("got %v, %v before the cut", before, faults)
	}
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	earlier := []Hit{{Payload: 77}}
	for _, n := range listed[:100] {
		if got := s.Lookup(name(t, n), earlier); !slices.Equal(got, earlier) {
			t.Fatalf("%s: got %v, want no more than there was", n, got)
		}
	}
	var batch Batch
	s.LookupAll([]*dnswire.Name{name(t, listed[1]), name(t, listed[2])}, &batch)
	if got := append(batch.Hits(0), batch.Hits(1)...); len(got) > 0 {
		t.Errorf("together: got %v, want nothing", got)
	}
	if len(faults) != 1 {
		t.Errorf("%d faults reported, want 1", len(faults))
	}
	if _, err := im.Meta(); err == nil {
		t.Error("Meta reads what is not there")
	}
	if err := im.Each(func([]byte, Payload) bool { return true }); err == nil {
		t.Error("Each reads what is not there")
	}
	if _, err := NewSet(Layers{Base: im}); err == nil {
		t.Error("a set is made of what is not there")
	}
}

func TestANameCostsFewOctets(t *testing.T) {
	im, listed := write(t, filepath.Join(t.TempDir(), "image"), 100_000)
	if got := float64(im.Bytes()) / float64(len(listed)); got > 24 {
		t.Errorf("%.1f octets a name, want at most 24", got)
	}
}

func TestADirectoryThatCannotBeWrittenIsAnError(t *testing.T) {
	gone := filepath.Join(t.TempDir(), "gone")
	b := NewBuilder(Options{Dir: gone})
	gen := names.New(1)
	var err error
	for i := 0; err == nil && i < 100_000; i++ {
		err = b.Add(name(t, string(gen.Next())).Wire(), 1)
	}
	if err == nil {
		t.Error("Add: no error where a run cannot be written")
	}
	b.Close()
	b = NewBuilder(Options{})
	add(t, b, "a.example", 1)
	if _, err := b.WriteFile(filepath.Join(gone, "image")); err == nil {
		t.Error("WriteFile: no error where the image cannot be written")
	}
}

func TestOtherPanicsGoOn(t *testing.T) {
	defer func() {
		if r := recover(); r != "mine" {
			t.Errorf("got %v, want the panic of its caller", r)
		}
	}()
	_ = guard(func() { panic("mine") })
	t.Error("the panic was swallowed")
}

func TestAnImageIsUnmappedWhenNothingRefersToIt(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("reads /proc/self/maps")
	}
	path := filepath.Join(t.TempDir(), "image")
	mapped := func() bool {
		maps, err := os.ReadFile("/proc/self/maps")
		if err != nil {
			t.Fatal(err)
		}
		return strings.Contains(string(maps), path)
	}
	im, _ := write(t, path, 1000)
	if !mapped() {
		t.Fatal("it is not mapped")
	}
	runtime.KeepAlive(im)
	for range 1000 {
		runtime.GC()
		if !mapped() {
			return
		}
		runtime.Gosched()
	}
	t.Error("it is still mapped")
}

// sealed gives an image the checksums of its contents, as whoever forges one
// would.
func sealed(b []byte) []byte {
	if len(b) < headerSize {
		return b
	}
	copy(b, magic)
	le := binary.LittleEndian
	le.PutUint32(b[8:], version)
	le.PutUint64(b[64+16*sectionCount:], uint64(len(b)))
	le.PutUint32(b[60:], crc32.Checksum(b[headerSize:], castagnoli))
	le.PutUint32(b[12:], 0)
	le.PutUint32(b[12:], crc32.Checksum(b[:headerSize], castagnoli))
	return b
}

func TestAForgedHeaderIsRefused(t *testing.T) {
	b := NewBuilder(Options{})
	add(t, b, "a.example", 1)
	whole := build(t, b).data
	for _, c := range []struct {
		what  string
		at    int
		value uint64
	}{
		{"more entries than records can hold", 32, 1<<31 - 1},
		{"no groups", 40, 0},
		{"more groups than the index has", 40, 1 << 31},
		{"groups whose index would overflow", 40, 1<<64 - 1},
		{"a payload of no octets", 56, 0},
		{"a payload of nine octets", 56, 9},
		{"symbols within the header", 64, 0},
		{"symbols out of place", 64, headerSize + 1},
		{"a section beyond the end", 80, 1 << 40},
		{"a section whose end overflows", 88, 1<<64 - 8},
		{"records shorter than their tail", 88, 4},
	} {
		forged := slices.Clone(whole)
		binary.LittleEndian.PutUint64(forged[c.at:], c.value)
		if _, err := fromBytes(sealed(forged)); !errors.Is(err, ErrFile) {
			t.Errorf("%s: got %v, want ErrFile", c.what, err)
		}
	}
}

// FuzzForgedImage: an image of any contents, even with right checksums, is
// refused or read without a panic, and what it returns equals what was asked.
func FuzzForgedImage(f *testing.F) {
	seed := func(n int, w Payload) []byte {
		b := NewBuilder(Options{})
		gen := names.New(2)
		for i := range n {
			wire, _ := dnswire.AppendName(nil, string(gen.Next()))
			_ = b.Add(wire, Payload(i)*w)
			if i%3 == 0 {
				_ = b.Add(wire, 0)
			}
		}
		_ = b.Add([]byte("\x03www\x07example\x03com\x00"), 5)
		_ = b.Add([]byte("\x03com\x00"), 6)
		_ = b.Add([]byte("\x00"), 7)
		im, err := b.Build()
		if err != nil {
			f.Fatal(err)
		}
		return im.data
	}
	f.Add(seed(0, 1), "www.example.com")
	f.Add(seed(40, 1), "a.www.example.com")
	f.Add(seed(40, 1<<40), "com")
	f.Fuzz(func(t *testing.T, data []byte, asked string) {
		im, err := fromBytes(sealed(slices.Clone(data)))
		if err != nil {
			return
		}
		n, err := dnswire.ParseName(asked)
		if err != nil {
			return
		}
		s := newSet(t, Layers{Base: im})
		var batch Batch
		s.LookupAll([]*dnswire.Name{&n, &n}, &batch)
		if one, again := s.Lookup(&n, nil), batch.Hits(1); !slices.Equal(one, again) {
			t.Errorf("got %v together and %v alone", again, one)
		}
		count := 0
		_ = im.Each(func([]byte, Payload) bool {
			count++
			return count < 100
		})
		if o, err := NewSet(Layers{Overlays: []*Image{im}}); err == nil {
			o.Lookup(&n, nil)
		}
	})
}

// FuzzNames: whatever legal names are added, each is found, and nothing else.
func FuzzNames(f *testing.F) {
	f.Add([]byte("\x03www\x07example\x03com\x00\x03com\x00\x00"))
	f.Add([]byte("\x01a\x01b\x01c\x01d\x01e\x01f\x01g\x01h\x01i\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		b, m := NewBuilder(Options{}), twin{}
		var all []dnswire.Name
		for at := 0; at < len(data); {
			var n dnswire.Name
			end, err := n.Read(data, at)
			if err != nil {
				at++
				continue
			}
			all = append(all, n)
			m.add(n.Wire(), Payload(at))
			if err := b.Add(n.Wire(), Payload(at)); err != nil {
				t.Fatal(err)
			}
			at = end
		}
		s := newSet(t, Layers{Base: build(t, b)})
		for i := range all {
			got := s.Lookup(&all[i], nil)
			if want := m.lookup(&all[i], nil); !slices.Equal(got, want) {
				t.Fatalf("%s: got %v, want %v", &all[i], got, want)
			}
		}
	})
}
