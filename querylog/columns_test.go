package querylog

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const docPath = "../docs/querylog.md"

// docSection returns what stands in docs/querylog.md between two texts.
func docSection(t *testing.T, from, to string) string {
	t.Helper()
	b, err := os.ReadFile(docPath)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(b), from)
	section, _, ok2 := strings.Cut(rest, to)
	if !ok || !ok2 {
		t.Fatalf("docs/querylog.md has no %q with %q behind it", from, to)
	}
	return section
}

func TestTheTableOfColumnsIsDocumented(t *testing.T) {
	const from, to = "| column | meaning | JSON |\n|---|---|---|\n", "\n\nNumbers in these columns"
	var b strings.Builder
	for _, c := range columns {
		keys := ""
		if c.keys != "" {
			keys = "`" + strings.Join(strings.Fields(c.keys), "`, `") + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", c.name, strings.ReplaceAll(c.doc, "|", `\|`), keys)
	}
	want := strings.TrimSuffix(b.String(), "\n")
	got := docSection(t, from, to)
	if *update && got != want {
		all, _ := os.ReadFile(docPath)
		os.WriteFile(docPath, []byte(strings.Replace(string(all), from+got+to, from+want+to, 1)), 0o644)
		got = want
	}
	if got != want {
		t.Errorf("docs/querylog.md has other columns (-update writes them):\n%s", want)
	}
}

// What a row's JSON object has comes from the columns, is a field of Row, and is
// documented: no more and no less.
func TestEveryKeyOfARowIsAColumnsAndDocumented(t *testing.T) {
	ofColumns := map[string]bool{"open": true, "store": true} // of the reader
	for _, c := range columns {
		for key := range strings.FieldsSeq(c.keys) {
			if ofColumns[key] {
				t.Errorf("two columns have the key %s", key)
			}
			ofColumns[key] = true
		}
	}
	ofRow := map[string]bool{}
	for i := range reflect.TypeFor[Row]().NumField() {
		key, _, _ := strings.Cut(reflect.TypeFor[Row]().Field(i).Tag.Get("json"), ",")
		ofRow[key] = true
	}
	if !maps.Equal(ofColumns, ofRow) {
		t.Errorf("got keys %v of columns, %v of Row", slices.Sorted(maps.Keys(ofColumns)), slices.Sorted(maps.Keys(ofRow)))
	}
	documented := map[string]bool{"open": true} // in the text above the table
	for line := range strings.Lines(docSection(t, "| JSON key | meaning |\n", "\n\n")) {
		for _, m := range regexp.MustCompile("`([a-z_]+)`").FindAllStringSubmatch(strings.Split(line, "|")[1], -1) {
			documented[m[1]] = true
		}
	}
	if !maps.Equal(documented, ofRow) {
		t.Errorf("got keys %v in docs/querylog.md, %v of Row", slices.Sorted(maps.Keys(documented)), slices.Sorted(maps.Keys(ofRow)))
	}
}

func TestEveryWordOfAReasonIsDocumented(t *testing.T) {
	for header, w := range map[string]words{"| `reason` | what decided |\n": classWords, "| `observed_by` | why a block was answered normally |\n": observedByWords} {
		section := docSection(t, header, "\n\n")
		for _, word := range w {
			if word != "" && !strings.Contains(section, "`"+word+"`") {
				t.Errorf("%s is not explained below %s", word, header)
			}
		}
	}
}

// The schema of a released version never changes: this file and the store beside
// it are what other programs have.
func TestTheSchemaNeverChanges(t *testing.T) {
	golden(t, "schema-2.sql", schema())
}

// A row that is in the journal reads like the same row in the store.
func TestEveryColumnIsReadFromTheJournalToo(t *testing.T) {
	for _, c := range columns {
		if c.keys != "" && c.scan == nil {
			t.Errorf("%s has keys and is not read", c.name)
		}
	}
}

// store-2 was made when version 2 was released: a store with rows of every kind,
// and what was read in it. Later versions read the same, but for new keys.
func TestAStoreOfVersion2IsReadAsItWas(t *testing.T) {
	if *update {
		makeVersion2(t)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, storeName), unpack(t, "store-2.db.gz"), 0o600); err != nil {
		t.Fatal(err)
	}
	var want []map[string]any
	d := json.NewDecoder(strings.NewReader(string(unpack(t, "store-2.json.gz"))))
	for d.More() {
		var m map[string]any
		if err := d.Decode(&m); err != nil {
			t.Fatal(err)
		}
		want = append(want, m)
	}
	got := rows(t, dir, Filter{})
	if len(got) != len(want) || len(got) < 300 {
		t.Fatalf("got %d rows, want %d", len(got), len(want))
	}
	for i := range got {
		b, _ := json.Marshal(got[i])
		m := map[string]any{}
		json.Unmarshal(b, &m)
		for key, v := range want[i] {
			if fmt.Sprint(m[key]) != fmt.Sprint(v) {
				t.Fatalf("row %d: %s: got %v, want %v", i, key, m[key], v)
			}
		}
	}
}
