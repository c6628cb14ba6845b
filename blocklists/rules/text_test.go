package rules

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"telltale/blocklists/format"
)

// A compiled rule is shown as the parser would show it, which reads it back.
func TestACompiledRuleKeepsItsText(t *testing.T) {
	lists, err := filepath.Glob("../format/testdata/*.txt")
	check(t, err)
	for _, path := range lists {
		list, err := os.ReadFile(path)
		check(t, err)
		o := format.Options{Answers: true}
		if strings.Contains(path, "regex") {
			o.Format = "regex"
		}
		var want, got []string
		format.Parse(bytes.NewReader(list), o, func(r *format.Rule) { want = append(want, string(r.AppendText(nil))) })
		read, err := Read(bytes.NewReader(list), ReadOptions{Format: o, AnySuffix: true})
		check(t, err)
		check(t, read.Set.Each(func(r Record) error {
			got = append(got, read.Set.Text(&r, read.Set.DetailOf(&r)))
			return nil
		}))
		if len(want) == 0 || !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", path, got, want)
		}
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
