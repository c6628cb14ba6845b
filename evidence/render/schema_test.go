package render

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"telltale/evidence"
)

const schemaFile = "../../docs/report.schema.json"

// schemaOf describes a Go type as JSON Schema, as encoding/json writes it.
func schemaOf(t reflect.Type) map[string]any {
	switch {
	case t.Kind() == reflect.Pointer:
		return map[string]any{"anyOf": []any{schemaOf(t.Elem()), map[string]any{"type": "null"}}}
	case t.Kind() == reflect.Struct && t.PkgPath() == "telltale/querylog" && t.Name() == "Time":
		return map[string]any{"type": "string", "format": "date-time"}
	}
	switch t.Kind() {
	case reflect.Struct:
		properties, required := map[string]any{}, []any{}
		addFields(t, properties, &required)
		return map[string]any{"type": "object", "properties": properties, "required": required, "additionalProperties": false}
	case reflect.Slice:
		return map[string]any{"type": "array", "items": schemaOf(t.Elem())}
	case reflect.String:
		return map[string]any{"type": "string"}
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Float64:
		return map[string]any{"type": "number"}
	case reflect.Uint64:
		return map[string]any{"type": "integer", "minimum": 0}
	}
	return map[string]any{"type": "integer"}
}

func addFields(t reflect.Type, properties map[string]any, required *[]any) {
	for i := range t.NumField() {
		f := t.Field(i)
		tag := f.Tag.Get("json")
		switch {
		case !f.IsExported():
		case f.Anonymous && tag == "":
			addFields(f.Type, properties, required)
		case tag != "-":
			name, rest, _ := strings.Cut(tag, ",")
			properties[name] = schemaOf(f.Type)
			if rest == "" {
				*required = append(*required, name)
			}
		}
	}
}

// closed are the words that a key has, whatever a report is of.
var closed = map[string][]any{
	"about.kind":       {"household", "device", "vendor", "vendor-of-device"},
	"unit":             {"attempts", "lookups"},
	"attempts.counted": {"all", "part", "none"},
	"timeline.step":    {"hour", "day", "week"},
}

func reportSchema() map[string]any {
	s := schemaOf(reflect.TypeFor[evidence.Report]())
	for path, words := range closed {
		at := s
		for key := range strings.SplitSeq(path, ".") {
			at = at["properties"].(map[string]any)[key].(map[string]any)
		}
		at["enum"] = words
	}
	s["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	s["title"] = "A report of telltale, version 1"
	s["description"] = "What 'telltale report --format json' prints. Lengths of time are seconds, shares 0 to 1, times RFC 3339 in UTC. evidence/report.go says what each key means."
	s["properties"].(map[string]any)["version"] = map[string]any{"const": evidence.Version}
	return s
}

// TestSchema holds that each report is as the published schema says, and that the
// schema has each key of a report.
func TestSchema(t *testing.T) {
	want, err := json.MarshalIndent(reportSchema(), "", " ")
	if err != nil {
		t.Fatal(err)
	}
	want = append(want, '\n')
	if *update {
		if err := os.WriteFile(schemaFile, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(text, want) {
		t.Errorf("%s is not that of today's reports; -update writes it", schemaFile)
	}
	var schema map[string]any
	if err := json.Unmarshal(text, &schema); err != nil {
		t.Fatal(err)
	}
	for name, r := range reports(t) {
		var b bytes.Buffer
		if err := JSON(&b, r); err != nil {
			t.Fatal(err)
		}
		var value map[string]any
		if err := json.Unmarshal(b.Bytes(), &value); err != nil {
			t.Fatal(err)
		}
		for _, mistake := range validate(schema, value, name) {
			t.Error(mistake)
		}
		value["unit"], value["more"] = "guesses", 1.0
		delete(value, "coverage")
		if got := validate(schema, value, name); len(got) != 3 {
			t.Errorf("%s: a report with three mistakes has %q", name, got)
		}
	}
}

// validate checks a value against what a schema of schemaOf may have.
func validate(s map[string]any, v any, at string) (mistakes []string) {
	fail := func(format string, args ...any) { mistakes = append(mistakes, at+": "+fmt.Sprintf(format, args...)) }
	if alternatives, ok := s["anyOf"].([]any); ok {
		for _, one := range alternatives {
			if got := validate(one.(map[string]any), v, at); len(got) == 0 {
				return nil
			} else if v != nil {
				mistakes = got
				break
			}
		}
		return mistakes
	}
	if c, ok := s["const"]; ok && c != v {
		fail("%v is not %v", v, c)
	}
	if words, ok := s["enum"].([]any); ok && !slices.Contains(words, v) {
		fail("%v is none of %v", v, words)
	}
	switch s["type"] {
	case "object":
		o, ok := v.(map[string]any)
		if !ok {
			fail("%v is no object", v)
			return mistakes
		}
		properties := s["properties"].(map[string]any)
		for _, key := range s["required"].([]any) {
			if _, ok := o[key.(string)]; !ok {
				fail("has no %s", key)
			}
		}
		for key, value := range o {
			if p, ok := properties[key].(map[string]any); ok {
				mistakes = append(mistakes, validate(p, value, at+"."+key)...)
			} else {
				fail("has %s", key)
			}
		}
	case "array":
		a, ok := v.([]any)
		if !ok {
			fail("%v is no array", v)
		}
		for i, value := range a {
			mistakes = append(mistakes, validate(s["items"].(map[string]any), value, fmt.Sprintf("%s[%d]", at, i))...)
		}
	case "string":
		text, ok := v.(string)
		if !ok {
			fail("%v is no string", v)
		} else if s["format"] == "date-time" {
			if _, err := time.Parse(time.RFC3339, text); err != nil || !strings.HasSuffix(text, "Z") {
				fail("%q is no time in UTC", text)
			}
		}
	case "boolean":
		if _, ok := v.(bool); !ok {
			fail("%v is no boolean", v)
		}
	case "number", "integer":
		n, ok := v.(float64)
		least, bounded := s["minimum"].(float64)
		if !ok || s["type"] == "integer" && n != float64(int64(n)) || bounded && n < least {
			fail("%v is no %v", v, s["type"])
		}
	}
	return mistakes
}

// What others chose is text in every form.
func TestEscapes(t *testing.T) {
	r := reports(t)["household"]
	for format, forbidden := range map[string][]string{
		"html": {"<script", "<b>Evil", "\x1b", "\u202e", "http-equiv=\"refresh\""},
		"md":   {"<script", "<b>", "\x1b", "\u202e", "|*x*", " https://"},
		"csv":  {",=", ",+", ",-", ",@", "\"=", "\"+", "\"-", "\"@", "\x1b", "\u202e"},
		"txt":  {"\x1b", "\u202e"},
	} {
		var b bytes.Buffer
		if err := formats[format](&b, r); err != nil {
			t.Fatal(err)
		}
		for _, s := range forbidden {
			if i := strings.Index(b.String(), s); i >= 0 {
				t.Errorf("%s has %q: %.80q", format, s, b.String()[max(0, i-20):])
			}
		}
	}
}

// The page loads nothing, and runs nothing.
func TestThePageIsSelfContained(t *testing.T) {
	for name, r := range reports(t) {
		var b bytes.Buffer
		if err := HTML(&b, r); err != nil {
			t.Fatal(err)
		}
		for _, s := range []string{"<script", "<link", "<img", "<iframe", "@import", "src=", "url(http", "javascript:", " onload="} {
			if strings.Contains(b.String(), s) {
				t.Errorf("%s: the page has %q", name, s)
			}
		}
		for _, s := range []string{"default-src 'none'", "prefers-color-scheme:dark", "@media print", `role="img"`} {
			if r.Listed.Lookups > 0 && !strings.Contains(b.String(), s) {
				t.Errorf("%s: the page has no %q", name, s)
			}
		}
	}
}
