package querylog

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"telltale/blocklists/format"
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
	const from, to = "| column | meaning | JSON | in the journal |\n|---|---|---|---|\n", "\n\nNumbers in these columns"
	var b strings.Builder
	for _, c := range columns {
		keys := ""
		if c.keys != "" {
			keys = "`" + strings.Join(strings.Fields(c.keys), "`, `") + "`"
		}
		journal := c.journal
		if c.counted {
			journal += ", in `S`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", c.name, strings.ReplaceAll(c.doc, "|", `\|`), keys, strings.ReplaceAll(journal, "|", `\|`))
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
	golden(t, fmt.Sprintf("schema-%d.sql", schemaVersion), schema())
}

// A store that is there gets the columns of a later version, which are zero in
// the rows of before, and is read before it has got them.
func TestColumnsAreAddedToAStoreThatIsThere(t *testing.T) {
	later := append(columns[:len(columns):len(columns)],
		column{name: "colour", sql: notNull, codec: since(schemaVersion+1, codec{})}, column{name: "shape", sql: text, codec: since(schemaVersion+1, codec{})})
	s, err := openStore(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	if _, _, err := s.commit(&windowData{number: 1, node: "attic", entries: foldOf(listed(t, 3)).entries}); err != nil {
		t.Fatal(err)
	}
	before := layout2
	for i := len(columns); i < len(later); i++ {
		if got := before.column(&later[i]); got != []string{"0", "NULL"}[i-len(columns)] {
			t.Errorf("%s is read as %s from a store that lacks it", later[i].name, got)
		}
	}
	if err := s.conn.Exec(addColumns(later, schemaVersion+1)); err != nil {
		t.Fatal(err)
	}
	if n, err := s.number(`SELECT count(*) FROM listed WHERE colour = 0 AND shape IS NULL`); err != nil || n != 3 {
		t.Errorf("got %d rows with the new columns, %v, want 3", n, err)
	}
	if err := s.conn.Exec(addColumns(columns[:], schemaVersion+1)); err != nil {
		t.Errorf("a version without columns: %v", err)
	}
}

// Whatever an entry says, the journal gives the same entry back, and the store
// the same row as the journal. The fields are filled by reflection, so that one
// that no column has is found.
func TestAnEntryIsTheSameFromJournalAndStore(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 5))
	dir := t.TempDir()
	s, err := openStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	const window, n = 7, 300
	made := make([]entry, n)
	enc := newEncoder(window)
	enc.window(1, "attic")
	for i := range made {
		made[i] = randomEntry(rng)
		enc.begin()
		enc.entry(i, uint32(i), &made[i], true)
	}
	p := &replay{window: window}
	if b := append([]byte(journalMagic), enc.take()...); p.feed(b) != len(b) || p.lost > 0 || p.bad > 0 {
		t.Fatalf("got %d lost and %d bad bytes, want a whole journal", p.lost, p.bad)
	}
	got := 0
	for i, e := range p.entries {
		if !reflect.DeepEqual(*e, made[i]) {
			t.Fatalf("got entry\n%+v from the journal, want\n%+v", *e, made[i])
		}
		got++
	}
	if _, _, err := s.commit(&windowData{number: window, node: "attic", entries: p.entries}); err != nil || got != n {
		t.Fatalf("%d entries from the journal, %v, want %d", got, err, n)
	}
	stored := rows(t, dir, Filter{})
	if len(stored) != n {
		t.Fatalf("got %d rows from the store, want %d", len(stored), n)
	}
	for i, got := range stored {
		want := made[i].row(window<<rowBits|int64(i), "attic")
		want.Open, want.Store = false, got.Store
		if got != want {
			t.Errorf("got row\n%+v from the store, want\n%+v", got, want)
		}
	}
}

// randomEntry fills every field of an entry.
func randomEntry(rng *rand.Rand) (e entry) {
	v := reflect.ValueOf(&e).Elem()
	for i := range v.NumField() {
		switch f := v.Field(i); f.Kind() {
		case reflect.Bool:
			f.SetBool(rng.IntN(2) == 0)
		case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
			f.SetUint(rng.Uint64() >> (65 - f.Type().Bits() + rng.IntN(f.Type().Bits()-1)))
		case reflect.Int, reflect.Int64:
			f.SetInt(rng.Int64())
		}
	}
	e.Count = max(e.Count>>20, 1) // no row is written of which nothing is counted
	e.First, e.Last = e.First>>20, e.Last>>20
	e.Addr = netip.AddrFrom4([4]byte{192, 0, 2, byte(rng.Uint32())})
	e.Binding = phone(1 + rng.Uint64N(3))
	e.ClientID = []string{"", "phone", "tv"}[rng.IntN(3)]
	e.Rule = ruleText{List: fmt.Sprint("list", rng.IntN(3)), Line: rng.IntN(1000), Text: fmt.Sprint("rule", rng.IntN(3))}
	e.Attr = ruleText{List: fmt.Sprint("list", rng.IntN(3)), Line: rng.IntN(1000), Text: fmt.Sprint("rule", rng.IntN(3))}
	e.Annotation = &format.Annotation{Vendor: fmt.Sprint("vendor", rng.IntN(3)), Tier: "mixed", Region: "eu", Breaks: fmt.Sprint("b", rng.IntN(3)), Confidence: "name"}
	e.Name, e.Alias = []byte(fmt.Sprintf("\x04n%03d\x07example\x00", rng.IntN(1000))), []byte(fmt.Sprintf("\x04a%03d\x07example\x00", rng.IntN(1000)))
	return e
}

// A journal of an earlier version has fewer columns, which are zero then; one of a
// later version has more, which are left out. What else is in it is read.
func TestAJournalMayHaveFewerOrMoreColumns(t *testing.T) {
	full := &entry{Count: 3, First: 5, Last: 6, Type: 1, ClientID: "phone", Name: []byte("\x01x\x00"), Alias: []byte("\x01y\x00")}
	enc := newEncoder(9)
	enc.window(1, "attic")
	var fewer []byte
	w := &enc.writing
	for c := range journaled {
		if c.name == "name" {
			fewer = bytes.Clone(w.fields)
		}
		c.put(w, full)
	}
	whole := bytes.Clone(w.fields)
	for i, fields := range [][]byte{whole, fewer, append(bytes.Clone(whole), 1, 2, 3)} {
		enc.kind(entryState)
		enc.uint(uint64(i))
		enc.inFrame += 3
		enc.uint(uint64(len(fields)))
		enc.out = append(enc.out, fields...)
	}
	p := &replay{window: 9}
	p.feed(append([]byte(journalMagic), enc.take()...))
	if len(p.rows) != 3 || p.lost != 0 || p.lookups != 9 {
		t.Fatalf("got %d rows, %d lookups, %d lost, want 3, 9, 0", len(p.rows), p.lookups, p.lost)
	}
	shorter := *full
	shorter.Name, shorter.ClientID = nil, ""
	for i, want := range []entry{*full, shorter, *full} {
		if got := p.rows[i].entry; !reflect.DeepEqual(got, want) {
			t.Errorf("row %d: got %+v, want %+v", i, got, want)
		}
	}
}

// store-2 is a store of version 2 with rows of every kind, and what was read in
// it. Later versions read the same, but for new keys, and do not make it anew.
func TestAStoreOfVersion2IsReadAsItWas(t *testing.T) {
	t.Parallel()
	if *update && schemaVersion == 2 {
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

// A row whose columns are cut amid one is none.
func TestARowThatIsCutAmidAColumnIsNone(t *testing.T) {
	full := &entry{Count: 3, First: 1000, Last: 2000, Type: 300, ClientID: "phone", Name: []byte("\x01x\x00"), Alias: []byte("\x01y\x00")}
	for n, cut := 0, 0; ; n++ {
		enc := newEncoder(9)
		enc.window(1, "attic")
		whole := n == 0 // a column ends there
		w := &enc.writing
		for c := range journaled {
			c.put(w, full)
			whole = whole || len(w.fields) == n
		}
		if n > len(w.fields) {
			if cut < 10 {
				t.Errorf("%d cuts amid a column test little", cut)
			}
			return
		}
		fields := bytes.Clone(w.fields[:n])
		enc.kind(entryState)
		enc.uint(0)
		enc.bytes(fields)
		p := &replay{window: 9}
		p.feed(append([]byte(journalMagic), enc.take()...))
		if there := len(p.rows) == 1 && p.rows[0] != nil; there != whole {
			t.Errorf("the first %d octets: a row is read: %v, want %v", n, there, whole)
		}
		if !whole {
			cut++
		}
	}
}
