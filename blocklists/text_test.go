package blocklists

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
	lists, err := filepath.Glob("format/testdata/*.txt")
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
		read, err := readList(bytes.NewReader(list), o, true, nil, stamp{})
		check(t, err)
		check(t, read.set.each(func(r record) error {
			got = append(got, read.set.text(&r, read.set.detailOf(&r)))
			return nil
		}))
		if len(want) == 0 || !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", path, got, want)
		}
	}
}
