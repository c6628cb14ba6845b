package catalog

import (
	"bytes"
	"encoding/csv"
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

func exportJSON(t *testing.T, d *Document) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := d.WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestTheJSONFormIsWhatItsSchemaSays(t *testing.T) {
	b := exportJSON(t, load(t).Document())
	var schema, value any
	if err := json.Unmarshal(Schema(), &schema); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &value); err != nil {
		t.Fatal(err)
	}
	s := validator{root: schema.(map[string]any)}
	s.check("$", s.root, value)
	for _, problem := range s.problems[:min(len(s.problems), 10)] {
		t.Error(problem)
	}
	// The vocabularies of the schema are those of the code.
	entry := s.root["$defs"].(map[string]any)["entry"].(map[string]any)["properties"].(map[string]any)
	var purposes []string
	for _, p := range Purposes {
		purposes = append(purposes, p.Name)
	}
	if got := fmt.Sprint(entry["purpose"].(map[string]any)["enum"]); got != fmt.Sprint(purposes) {
		t.Errorf("purposes of the schema: got %v, want %v", got, purposes)
	}
	claim := s.root["$defs"].(map[string]any)["claim"].(map[string]any)["properties"].(map[string]any)
	if got := fmt.Sprint(claim["kind"].(map[string]any)["enum"]); got != fmt.Sprint(Kinds) {
		t.Errorf("kinds of the schema: got %v, want %v", got, Kinds)
	}
}

func TestTheSchemaRefusesWhatIsNoCatalogue(t *testing.T) {
	var schema any
	if err := json.Unmarshal(Schema(), &schema); err != nil {
		t.Fatal(err)
	}
	good := string(exportJSON(t, load(t).Document()))
	for _, c := range []struct{ was, is string }{
		{`"tier":"telemetry"`, `"tier":"bad"`}, {`"exact":false`, `"exact":"no"`}, {`"edition"`, `"editions"`}, {`"kind":"has-the-name"`, `"kind":"says"`}, {`"name":`, `"nom":`},
	} {
		var value any
		if err := json.Unmarshal([]byte(strings.Replace(good, c.was, c.is, 1)), &value); err != nil {
			t.Fatal(err)
		}
		s := validator{root: schema.(map[string]any)}
		if s.check("$", s.root, value); len(s.problems) == 0 {
			t.Errorf("%s in place of %s passes", c.is, c.was)
		}
	}
}

// A validator knows as much of JSON Schema as schema.json uses.
type validator struct {
	root     map[string]any
	problems []string
}

func (v *validator) check(at string, schema map[string]any, value any) {
	say := func(what string, args ...any) { v.problems = append(v.problems, at+": "+fmt.Sprintf(what, args...)) }
	if ref, ok := schema["$ref"].(string); ok {
		v.check(at, v.root["$defs"].(map[string]any)[strings.TrimPrefix(ref, "#/$defs/")].(map[string]any), value)
		return
	}
	if enum, ok := schema["enum"].([]any); ok && !slices.Contains(enum, value) {
		say("%v is none of %v", value, enum)
	}
	if want, ok := schema["type"]; ok {
		words, several := want.([]any)
		if !several {
			words = []any{want}
		}
		if !slices.Contains(words, any(jsonType(value))) {
			say("is %s, want %v", jsonType(value), want)
		}
	}
	switch value := value.(type) {
	case string:
		if pattern, ok := schema["pattern"].(string); ok && !regexp.MustCompile(pattern).MatchString(value) {
			say("%q does not match %s", value, pattern)
		}
	case []any:
		if items, ok := schema["items"].(map[string]any); ok {
			for i, item := range value {
				v.check(fmt.Sprintf("%s[%d]", at, i), items, item)
			}
		}
	case map[string]any:
		properties, _ := schema["properties"].(map[string]any)
		required, _ := schema["required"].([]any)
		for _, key := range required {
			if _, ok := value[key.(string)]; !ok {
				say("is without %s", key)
			}
		}
		for _, key := range slices.Sorted(maps.Keys(value)) {
			if of, ok := properties[key].(map[string]any); ok {
				v.check(at+"."+key, of, value[key])
			} else if other, ok := schema["additionalProperties"].(map[string]any); ok {
				v.check(at+"."+key, other, value[key])
			} else if schema["additionalProperties"] == false {
				say("has %s, which is not described", key)
			}
		}
	}
}

func jsonType(value any) string {
	switch value := value.(type) {
	case nil:
		return "null"
	case bool:
		return "boolean"
	case string:
		return "string"
	case []any:
		return "array"
	case float64:
		if value == float64(int64(value)) {
			return "integer"
		}
		return "number"
	}
	return "object"
}

func TestADocumentIsReadBack(t *testing.T) {
	d := load(t).Document()
	b := exportJSON(t, d)
	got, err := ReadDocument(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got.Entries, d.Entries) || !reflect.DeepEqual(got.Sources, d.Sources) || got.Edition != d.Edition {
		t.Error("what is read is not what was written")
	}
	if !bytes.Equal(b, exportJSON(t, load(t).Document())) {
		t.Error("two exports differ")
	}
	for _, text := range []string{"", "{}", "[]", `{"edition":"2026-01-01","entries":[]}`, string(b[:len(b)/2])} {
		if _, err := ReadDocument(strings.NewReader(text)); err == nil {
			t.Errorf("%.40q was read as an export", text)
		}
	}
}

func TestTheCSVFormHasEveryEntry(t *testing.T) {
	d := load(t).Document()
	var b bytes.Buffer
	if err := d.WriteCSV(&b); err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(&b).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != len(d.Entries)+1 || !slices.Equal(rows[0], csvHead) {
		t.Fatalf("got %d rows of %v, want %d", len(rows), rows[0], len(d.Entries)+1)
	}
	for i, e := range d.Entries {
		row := rows[i+1]
		if row[0] != e.Name || row[2] != e.Vendor || row[5] != e.Tier || row[7] != e.Breaks || !strings.Contains(row[13], string(e.Claims[0].Kind)) || !strings.Contains(row[14], d.Sources[e.Claims[0].Source].URL) {
			t.Fatalf("row %d: got %q, want %+v", i+1, row, e)
		}
	}
}

func TestAFolderHasAllForms(t *testing.T) {
	c := load(t)
	dir := filepath.Join(t.TempDir(), "new")
	if err := c.WriteFolder(dir, c.Document()); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"catalogue.json", "catalogue.csv", "schema.json", "LICENSE", "CHANGES.md", "telemetry.adguard.txt", "mixed.pihole.txt", "telemetry.rpz", "mixed.dnsmasq.conf"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v %v", name, info, err)
		}
	}
	if !day.MatchString(c.Document().Edition[:10]) {
		t.Errorf("the edition is %q, want a date", c.Document().Edition)
	}
}

func TestChangesAreSaidEntryByEntry(t *testing.T) {
	source := map[string]Source{"a": {ID: "a", URL: "https://a.example/"}, "b": {ID: "b", URL: "https://b.example/"}}
	renamed := map[string]Source{"x": {ID: "x", URL: "https://a.example/"}, "b": {ID: "b", URL: "https://b.example/"}}
	entry := func(name, tier string, claims ...DocumentClaim) DocumentEntry {
		return DocumentEntry{Name: name, Vendor: "Acme", Purpose: "ads", Tier: tier, Claims: claims}
	}
	before := &Document{Edition: "2026-01-01", Sources: source, Entries: []DocumentEntry{
		entry("same.example", "telemetry", DocumentClaim{HasTheName, "a"}), entry("gone.example", "mixed"), entry("other.example", "telemetry", DocumentClaim{HasTheName, "a"}),
	}}
	after := &Document{Edition: "2026-02-01", Sources: renamed, Entries: []DocumentEntry{
		entry("new.example", "owner"), entry("same.example", "telemetry", DocumentClaim{HasTheName, "x"}), entry("other.example", "mixed", DocumentClaim{StatesBreakage, "b"}),
	}}
	var b strings.Builder
	if err := WriteChanges(&b, before, after); err != nil {
		t.Fatal(err)
	}
	const want = "# Changes of the catalogue from edition 2026-01-01 to 2026-02-01\n" +
		"\n## New: 1\n\n- `new.example`: Acme's domain\n" +
		"\n## Changed: 1\n\n- `other.example`: tier was \"telemetry\", is \"mixed\"; claims: 1 new, 1 gone\n" +
		"\n## Removed: 1\n\n- `gone.example`: was Acme, ads, mixed\n"
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
	b.Reset()
	if err := WriteChanges(&b, before, before); err != nil || !strings.HasSuffix(b.String(), "\nNothing.\n") {
		t.Errorf("of an edition to itself: got %v\n%s", err, b.String())
	}
}
