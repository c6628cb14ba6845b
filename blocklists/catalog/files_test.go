package catalog

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestOneFileIsCheckedBesideTheShippedOnes(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	shipped, err := readFiles(FS(), "*.txt", "*.tsv")
	if err != nil {
		t.Fatal(err)
	}
	sources := string(shipped[sourcesFile]) + "acme/privacy\t2026-11-01\tacme.example\t\thttps://acme.example/privacy\n"
	for _, c := range []struct {
		what, name, text, sources, want string // "" for nothing wrong
	}{
		{"a shipped file", "xiaomi.txt", string(shipped["xiaomi.txt"]), "", ""},
		{"a new file with a source of its own", "acme.txt", "#@ vendor=Acme tier=owner claims=vendor-documents:acme/privacy\n#@ name=acme.example\n", sources, ""},
		{"a source that is not in the shipped table", "acme.txt", "#@ vendor=Acme tier=owner claims=vendor-documents:acme/privacy\n#@ name=acme.example\n", "",
			"acme.txt:2: acme.example: the source acme/privacy is not in sources.tsv"},
		{"a name that another file has", "acme.txt", "#@ vendor=Acme tier=owner claims=vendor-documents:acme/privacy\n#@ name=xiaomi.com\n", sources,
			"xiaomi.txt:"},
	} {
		path := write(c.name, c.text)
		os.Remove(filepath.Join(dir, sourcesFile))
		if c.sources != "" {
			write(sourcesFile, c.sources)
		}
		problems, err := CheckFile(path)
		switch {
		case err != nil:
			t.Errorf("%s: %v", c.what, err)
		case c.want == "" && len(problems) > 0, c.want != "" && (len(problems) == 0 || !strings.HasPrefix(problems[0].String(), c.want)):
			t.Errorf("%s: got %v, want %q", c.what, problems, c.want)
		}
		os.Remove(path)
	}
	if _, err := CheckFile(write("acme.md", "")); err == nil || !strings.Contains(err.Error(), "is no file of the catalogue") {
		t.Errorf("a page: got %v", err)
	}
	if _, err := CheckFile(filepath.Join(dir, "none.txt")); err == nil {
		t.Error("a file that is not there was checked")
	}
}
