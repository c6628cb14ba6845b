package catalog

import (
	"bytes"
	"io/fs"
	"os"
	"slices"
	"testing"
	"time"
)

// The program has the lists as an archive, which must be of the files that people
// read and edit.
func TestShippedIsTheFolder(t *testing.T) {
	folder, err := readFiles(os.DirFS("."), "*.txt", "*.tsv", editionFile)
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		var b bytes.Buffer
		problems, err := Pack(&b, os.DirFS("."), time.Now())
		if err != nil || len(problems) > 0 {
			t.Fatal(err, problems)
		}
		if err := os.WriteFile("shipped.zip", b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	shipped, err := readFiles(FS(), "*")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(shipped.names(), folder.names()) {
		t.Errorf("shipped.zip has the files\n%v, the folder has\n%v: run go generate ./blocklists/catalog", shipped.names(), folder.names())
	}
	for _, name := range folder.names() {
		if !bytes.Equal(shipped[name], folder[name]) {
			t.Errorf("%s is not as in shipped.zip: run go generate ./blocklists/catalog", name)
		}
	}
}

func BenchmarkReadShipped(b *testing.B) {
	for b.Loop() {
		entries, err := fs.ReadDir(FS(), ".")
		if err != nil {
			b.Fatal(err)
		}
		for _, e := range entries {
			if _, err := fs.ReadFile(FS(), e.Name()); err != nil {
				b.Fatal(err)
			}
		}
	}
}
