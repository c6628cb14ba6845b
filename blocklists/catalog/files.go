package catalog

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A fileSet is the text of a catalogue: list files and tables, by name.
type fileSet map[string][]byte

// readFiles reads the files at the root of fsys whose names fit a pattern.
func readFiles(fsys fs.FS, patterns ...string) (fileSet, error) {
	files := fileSet{}
	for _, pattern := range patterns {
		names, err := fs.Glob(fsys, pattern)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			if files[name], err = fs.ReadFile(fsys, name); err != nil {
				return nil, err
			}
		}
	}
	return files, nil
}

const editionFile = "edition"

// edition is the text of the file that names the edition.
func (f fileSet) edition() string { return strings.TrimSpace(string(f[editionFile])) }

// names are the names of the files, sorted.
func (f fileSet) names() []string { return slices.Sorted(maps.Keys(f)) }

// lists are the names of the list files, sorted.
func (f fileSet) lists() []string {
	return slices.DeleteFunc(f.names(), func(name string) bool { return !strings.HasSuffix(name, ".txt") })
}

// table reads a table of tab-separated values, if there is one; lines that begin
// with # are comments. bad is told of lines of another shape.
func (f fileSet) table(name string, columns int, bad func(file string, line int, what string), take func(line int, row []string)) {
	line := 0
	for text := range strings.Lines(string(f[name])) {
		line++
		text = strings.TrimRight(text, "\r\n")
		if text == "" || text[0] == '#' {
			continue
		}
		row := strings.Split(text, "\t")
		if len(row) != columns {
			bad(name, line, fmt.Sprintf("has %d columns, want %d with a tab between them: the head of the file names them", len(row), columns))
			continue
		}
		take(line, row)
	}
}

// CheckFile checks one file of the catalogue, or a folder of them, beside the
// shipped ones: the file takes the place of that of its name, and so do the tables
// that lie beside it.
func CheckFile(path string) ([]Problem, error) {
	files, err := readFiles(FS(), "*.txt", "*.tsv")
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	dir := path
	if !info.IsDir() {
		dir = filepath.Dir(path)
		base := filepath.Base(path)
		if ext := filepath.Ext(base); ext != ".txt" && ext != ".tsv" {
			return nil, fmt.Errorf("%s is no file of the catalogue: lists end in .txt, tables in .tsv", path)
		}
		if files[base], err = os.ReadFile(path); err != nil {
			return nil, err
		}
	}
	beside, err := readFiles(os.DirFS(dir), "*.txt", "*.tsv")
	if err != nil {
		return nil, err
	}
	for name, text := range beside {
		if info.IsDir() || strings.HasSuffix(name, ".tsv") && files[name] != nil {
			files[name] = text
		}
	}
	return check(files), nil
}
