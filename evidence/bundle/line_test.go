package bundle

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"telltale/querylog/seal"
)

// lines are docs/verify/lines.json: what the verifiers take, and what they refuse.
type lines struct {
	Taken   []string    `json:"taken"`
	Refused [][2]string `json:"refused"` // why, and the line; octets behind "hex:" where it is no text
}

func readLines(t testing.TB) (all lines) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(docs, "lines.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &all); err != nil {
		t.Fatal(err)
	}
	return all
}

func octetsOf(t testing.TB, line string) []byte {
	t.Helper()
	digits, isHex := strings.CutPrefix(line, "hex:")
	if !isHex {
		return []byte(line)
	}
	b, err := hex.DecodeString(digits)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestAllVerifiersTakeTheSameLines(t *testing.T) {
	others := startOthers(t)
	check := func(what string, line []byte, want bool) {
		t.Helper()
		if _, _, err := readLine(line); (err == nil) != want {
			t.Errorf("%s: %v\n%.200q", what, err, line)
		}
		if len(line) == 0 {
			return // no job
		}
		for _, o := range others {
			if got := o.says(&job{Line: line}); (got == "verified") != want {
				t.Errorf("%s: %s says: %s\n%.200q", what, o.what, got, line)
			}
		}
	}
	all := readLines(t)
	for _, line := range all.Taken {
		check("taken", []byte(line), true)
	}
	for _, c := range all.Refused {
		check(c[0], octetsOf(t, c[1]), false)
	}
	for _, leaf := range household(t, 1).leaves {
		if leaf.Line != nil {
			check("a line of a log", leaf.Line, true)
		}
	}
}

// All that is sealed of a row has a key in the table, at the place where it is written.
func TestLinesOfTheLogAreInTheTable(t *testing.T) {
	row := &seal.Row{Annotation: &seal.Annotation{}}
	event := &seal.LedgerLine{}
	start, end, removal, handover := &seal.Start{}, &seal.End{}, &seal.Removal{IDs: [][2]int64{{1, 2}}}, &seal.HandoverLine{}
	for _, of := range []any{row, row.Annotation, event, start, end, removal, handover} {
		v := reflect.ValueOf(of).Elem()
		for i := range v.NumField() {
			switch f := v.Field(i); {
			case !f.CanSet():
			case f.Kind() == reflect.String:
				f.SetString("a\"\\\n\u00e9")
			case f.CanInt():
				f.SetInt(7)
			case f.CanUint():
				f.SetUint(7)
			case f.Type() == reflect.TypeFor[[]byte]():
				f.SetBytes([]byte("name"))
			}
		}
	}
	for kind, line := range map[string]seal.Statement{
		seal.KindRow: row, seal.KindLedger: event, seal.KindStart: start, seal.KindEnd: end, seal.KindRemoval: removal, seal.KindHandover: handover,
	} {
		got, values, err := readLine(line.Append(nil))
		if got != kind || err != nil {
			t.Errorf("%s: %v\n%s", kind, err, line.Append(nil))
		}
		if len(values) != len(lineKeys[kind]) {
			t.Errorf("%s: %d keys, want %d: %v", kind, len(values), len(lineKeys[kind]), lineKeys[kind])
		}
	}
}

// The tables of the other verifiers are the same.
func TestAllVerifiersKnowTheSameKeys(t *testing.T) {
	for _, path := range []string{filepath.Join(docs, "verify.py"), "../../web/ui/src/lib/bundle/verify.js"} {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		text := strings.NewReplacer("\" +\n", "", "' +\n", "", "\n", "", "  ", "", "'", "", `"`, "").Replace(string(b))
		for _, keys := range lineKeys {
			if !strings.Contains(text, strings.Join(keys, " ")) {
				t.Errorf("%s has not the keys %s", path, strings.Join(keys, " "))
			}
		}
	}
}

// What is taken for a line is JSON that encoding/json reads the same.
func FuzzReadLine(f *testing.F) {
	all := readLines(f)
	for _, line := range all.Taken {
		f.Add([]byte(line))
	}
	for _, c := range all.Refused {
		f.Add(octetsOf(f, c[1]))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		kind, values, err := readLine(line)
		if err != nil {
			return
		}
		var read map[string]json.RawMessage
		if err := json.Unmarshal(line, &read); err != nil || len(read) != len(values) {
			t.Fatalf("%q: %v, %d keys, want %d", line, err, len(values), len(read))
		}
		for key, raw := range read {
			var text string
			want := string(raw)
			if json.Unmarshal(raw, &text) == nil {
				want = text
			}
			if values[key] != want {
				t.Fatalf("%q: %s is %q, want %q", line, key, values[key], want)
			}
		}
		if isStatement(kind) {
			if _, err := seal.ParseStatement(line); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
		}
	})
}

func BenchmarkReadLine(b *testing.B) {
	leaves := household(b, 1).leaves
	i := slices.IndexFunc(leaves, func(l Leaf) bool { return l.What == Row })
	for b.Loop() {
		readLine(leaves[i].Line)
	}
	b.ReportMetric(float64(len(leaves[i].Line)), "octets")
}
