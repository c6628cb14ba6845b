package bundle

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A memory is a file of an archive in memory.
type memory struct{ b []byte }

func (m *memory) Write(b []byte) (int, error) { m.b = append(m.b, b...); return len(b), nil }

func (m *memory) WriteAt(b []byte, at int64) (int, error) { return copy(m.b[at:], b), nil }

// pack writes an archive of names and contents, one after the other.
func pack(t testing.TB, all ...string) []byte {
	t.Helper()
	var m memory
	a := newArchiver(&m)
	for i := 0; i < len(all); i += 2 {
		if err := a.add(all[i], nil, func(w io.Writer) error { _, err := io.WriteString(w, all[i+1]); return err }); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.finish(); err != nil {
		t.Fatal(err)
	}
	return m.b
}

// read reads all of an archive as a verifier does.
func read(b []byte) (contents []string, err error) {
	a, err := openArchive(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return nil, err
	}
	for i := range a.entries {
		h := &a.entries[i]
		text, err := io.ReadAll(a.content(h))
		if err != nil {
			return nil, err
		}
		if crc32.ChecksumIEEE(text) != h.crc {
			return nil, errors.New("another sum")
		}
		contents = append(contents, h.name, string(text))
	}
	return contents, nil
}

func TestWhatIsWrittenIsReadByAnyZipProgram(t *testing.T) {
	want := []string{"a.txt", "hello", "empty", "", "b.bin", strings.Repeat("x\x00", 100_000)}
	b := pack(t, want...)
	if got, err := read(b); err != nil || !slices.Equal(got, want) {
		t.Errorf("read again: %.40q, %v", got, err)
	}
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range z.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil || f.Name != want[2*i] || string(text) != want[2*i+1] {
			t.Errorf("archive/zip read %s with %d octets, %v", f.Name, len(text), err)
		}
	}
}

// Each bit of an archive counts, and each octet: where one is another, it is refused.
func TestNoBitOfAnArchiveIsFree(t *testing.T) {
	b := pack(t, "a.txt", "hello", "empty", "", "b.txt", "world")
	for i := range 8 * len(b) {
		b[i/8] ^= 1 << (i % 8)
		if _, err := read(b); err == nil {
			t.Errorf("bit %d of octet %d is free", i%8, i/8)
		}
		b[i/8] ^= 1 << (i % 8)
	}
	for n := range b {
		if _, err := read(b[:n]); err == nil {
			t.Errorf("cut to %d octets it is read", n)
		}
		if _, err := read(slices.Insert(slices.Clone(b), n, 0)); err == nil {
			t.Errorf("with an octet added at %d it is read", n)
		}
	}
	if _, err := read(append(slices.Clone(b), 0)); err == nil {
		t.Error("with an octet behind it, it is read")
	}
}

func TestForeignArchivesAreRefused(t *testing.T) {
	zipped := func(method uint16, names ...string) []byte {
		var b bytes.Buffer
		w := zip.NewWriter(&b)
		for _, name := range names {
			e, err := w.CreateHeader(&zip.FileHeader{Name: name, Method: method})
			if err != nil {
				t.Fatal(err)
			}
			io.WriteString(e, "hello")
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	named := func(name string) []byte { // of the length of a.txt
		return bytes.ReplaceAll(pack(t, "a.txt", "hello"), []byte("a.txt"), []byte(name))
	}
	bomb := pack(t, "a.txt", "hello")
	binary.LittleEndian.PutUint16(bomb[len(bomb)-endSize+10:], 60_000)
	for _, c := range []struct {
		name string
		b    []byte
		want string
	}{
		{"nothing", nil, "does not begin as a zip"},
		{"a text", []byte("#!/bin/sh\nrm -rf /\n"), "does not begin as a zip"},
		{"the beginning of a zip", []byte("PK\x03\x04"), "cut short"},
		{"packed again, compressed", zipped(zip.Deflate, "a.txt"), "packed again"},
		{"packed again, stored", zipped(zip.Store, "a.txt"), "packed again"},
		{"a path that climbs", named("../ab"), "do not unpack it"},
		{"an absolute path", named("/root"), "do not unpack it"},
		{"a path of Windows", named(`C:\ab`), "do not unpack it"},
		{"a directory", named("ab/cd"), "do not unpack it"},
		{"a hidden file", named(".abcd"), "do not unpack it"},
		{"an entry twice", bytes.ReplaceAll(pack(t, "a.txt", "hello", "b.txt", "hello"), []byte("b.txt"), []byte("a.txt")), "a.txt twice"},
		{"a directory that says more than there is", bomb, "packed again"},
	} {
		if _, err := read(c.b); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q in it", c.name, err, c.want)
		}
	}
}

// A file of 10 GB that begins and ends as a bundle does is refused at once.
func TestAHugeFileIsRefusedAtOnce(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "huge"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := pack(t, "a.txt", "hello")
	const size = 10 << 30
	if _, err := f.WriteAt(b, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(b[len(b)-endSize:], size-endSize); err != nil {
		t.Skipf("no sparse files here: %v", err)
	}
	if _, err := openArchive(f, size); err == nil || !strings.Contains(err.Error(), "at most") {
		t.Errorf("got %v", err)
	}
}

func TestAWriterRefusesWhatNoReaderTakes(t *testing.T) {
	a := newArchiver(&memory{})
	if err := a.add("../a", nil, func(io.Writer) error { return nil }); err == nil {
		t.Error("a path that climbs is written")
	}
	e := &entryWriter{out: io.Discard, left: 4}
	if _, err := e.Write([]byte("hello")); !errors.Is(err, errTooLarge) {
		t.Errorf("beyond the bound: %v", err)
	}
}

// What is read is what is written again, octet by octet.
func FuzzOpenArchive(f *testing.F) {
	f.Add(pack(f, "a.txt", "hello", "b.txt", ""))
	f.Add(pack(f))
	f.Add(pack(f, "a", strings.Repeat("PK\x05\x06", 20)))
	f.Fuzz(func(t *testing.T, b []byte) {
		if all, err := read(b); err == nil && !bytes.Equal(pack(t, all...), b) {
			t.Errorf("%q is read and is written otherwise", b)
		}
	})
}

func TestRandomDamageIsSeen(t *testing.T) {
	b := pack(t, "a.txt", strings.Repeat("hello ", 100), "b.txt", strings.Repeat("world ", 100))
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		c := slices.Clone(b)
		i, n := r.IntN(len(c)), 1+r.IntN(40)
		switch r.IntN(3) {
		case 0:
			c = slices.Delete(c, i, min(i+n, len(c)))
		case 1:
			c = slices.Insert(c, i, c[max(0, i-n):i]...)
			if i == 0 {
				continue
			}
		default:
			j := r.IntN(len(c))
			if c[i] == c[j] {
				continue
			}
			c[i], c[j] = c[j], c[i]
		}
		if _, err := read(c); err == nil && !bytes.Equal(b, c) {
			t.Fatalf("damage at %d is not seen", i)
		}
	}
}
