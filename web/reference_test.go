package web

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

// An apiDocument is what the reference needs of the OpenAPI document.
type apiDocument struct {
	Paths      map[string]map[string]apiOperation
	Components struct{ Schemas map[string]apiSchema }
}

type apiOperation struct {
	Summary    string
	Access     string `json:"x-access"`
	Devices    bool   `json:"x-devices"`
	Parameters []struct {
		Name, In, Description string
		Required              bool
		Schema                apiSchema
	}
	RequestBody struct {
		Content map[string]struct{ Schema apiSchema }
	}
	Responses map[string]struct {
		Description string
		Content     map[string]struct{ Schema apiSchema }
	}
}

type apiSchema struct {
	Ref         string `json:"$ref"`
	Type        any
	Description string
	Format      string
	Enum        []any
	Default     any
	Minimum     *json.Number
	Maximum     *json.Number
	MinLength   *json.Number
	MaxLength   *json.Number
	MaxItems    *json.Number
	Items       *apiSchema
	Properties  map[string]apiSchema
	Additional  any `json:"additionalProperties"`
	Required    []string
}

// text says of a schema what values it has.
func (s *apiSchema) text() string {
	if s.Ref != "" {
		name := s.Ref[strings.LastIndexByte(s.Ref, '/')+1:]
		return fmt.Sprintf("[%s](#%s)", name, strings.ToLower(name))
	}
	var kinds []string
	switch t := s.Type.(type) {
	case string:
		kinds = []string{t}
	case []any:
		for _, k := range t {
			kinds = append(kinds, fmt.Sprint(k))
		}
	}
	text := strings.Join(kinds, " or ")
	switch {
	case len(s.Enum) > 0:
		var words []string
		for _, w := range s.Enum {
			words = append(words, fmt.Sprintf("`%v`", w))
		}
		text = strings.Join(words, ", ")
	case s.Items != nil:
		text = "list of " + s.Items.text()
		if slices.Contains(kinds, "null") {
			text += ", or null"
		}
	case s.Format == "date-time":
		text = "time"
	}
	if values, ok := s.Additional.(map[string]any); ok {
		var of apiSchema
		if raw, err := json.Marshal(values); err == nil && json.Unmarshal(raw, &of) == nil {
			text = "object of " + of.text()
		}
	}
	for _, bound := range []struct {
		words string
		n     *json.Number
	}{{"at least", s.Minimum}, {"at most", s.Maximum}, {"length at least", s.MinLength}, {"length at most", s.MaxLength}, {"elements at most", s.MaxItems}} {
		if bound.n != nil {
			text += fmt.Sprintf(", %s %s", bound.words, *bound.n)
		}
	}
	if s.Default != nil {
		text += fmt.Sprintf("; `%v` without it", s.Default)
	}
	return cmp.Or(text, "any")
}

// cell makes a text one of a table's.
func cell(text string) string { return strings.NewReplacer("|", `\|`, "\n", " ").Replace(text) }

// referenceOf writes the document for people.
func referenceOf(d *apiDocument) []byte {
	var b bytes.Buffer
	b.WriteString("# The API, operation by operation\n\nWritten from [`web/openapi.json`](../web/openapi.json) by `go test ./web -update`, to be read without a server. What the API is for, and what holds for all operations, is in [api.md](api.md).\n" +
		"A time is RFC 3339 in UTC. Keys without \"always\" may be left out. Errors are a [Problem](#problem).\n")
	for _, path := range slices.Sorted(maps.Keys(d.Paths)) {
		for _, method := range slices.Sorted(maps.Keys(d.Paths[path])) {
			o := d.Paths[path][method]
			fmt.Fprintf(&b, "\n## %s %s\n\n%s. ", strings.ToUpper(method), strings.TrimPrefix(path, Prefix), o.Summary)
			if o.Access == "" {
				b.WriteString("Anybody may call it.")
			} else {
				fmt.Fprintf(&b, "It needs the access `%s`.", o.Access)
			}
			if o.Devices {
				b.WriteString(" Who is limited to some devices may call it for these.")
			}
			b.WriteString("\n")
			if len(o.Parameters) > 0 {
				b.WriteString("\n| parameter | in | value | |\n|---|---|---|---|\n")
			}
			for _, p := range o.Parameters {
				says := p.Description
				if p.Required && p.In != "path" {
					says = strings.TrimSpace("Needed. " + says)
				}
				fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", p.Name, p.In, cell(p.Schema.text()), cell(says))
			}
			for _, kind := range slices.Sorted(maps.Keys(o.RequestBody.Content)) {
				of := o.RequestBody.Content[kind].Schema
				fmt.Fprintf(&b, "\nBody: %s, `%s`.\n", of.text(), kind)
			}
			var errors []string
			b.WriteString("\n")
			for _, status := range slices.Sorted(maps.Keys(o.Responses)) {
				r := o.Responses[status]
				if status >= "4" {
					errors = append(errors, status)
					continue
				}
				if len(r.Content) == 0 {
					fmt.Fprintf(&b, "%s: %s.\n", status, strings.TrimSuffix(r.Description, "."))
				}
				for _, kind := range slices.Sorted(maps.Keys(r.Content)) {
					of := r.Content[kind].Schema
					fmt.Fprintf(&b, "%s: %s, `%s`. ", status, of.text(), kind)
					if len(r.Description) > 10 {
						b.WriteString(strings.TrimSuffix(r.Description, ".") + ".")
					}
					b.WriteString("\n")
				}
			}
			fmt.Fprintf(&b, "Errors: %s.\n", strings.Join(errors, ", "))
		}
	}
	b.WriteString("\n# What is sent and answered\n")
	for _, name := range slices.Sorted(maps.Keys(d.Components.Schemas)) {
		s := d.Components.Schemas[name]
		fmt.Fprintf(&b, "\n## %s\n\n", name)
		if len(s.Properties) == 0 {
			fmt.Fprintf(&b, "%s. %s\n", s.text(), s.Description)
			continue
		}
		b.WriteString("| key | value | |\n|---|---|---|\n")
		for _, key := range slices.Sorted(maps.Keys(s.Properties)) {
			p := s.Properties[key]
			says := p.Description
			if slices.Contains(s.Required, key) {
				says = strings.TrimSpace("Always. " + says)
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", key, cell(p.text()), cell(says))
		}
	}
	return bytes.ReplaceAll(b.Bytes(), []byte(" \n"), []byte("\n"))
}

// The reference in docs is the document, for people.
func TestTheReferenceIsAsTheDocument(t *testing.T) {
	const file = "../docs/api-reference.md"
	text, err := openAPI()
	if err != nil {
		t.Fatal(err)
	}
	var d apiDocument
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	got := referenceOf(&d)
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want, err := os.ReadFile(file); err != nil || !bytes.Equal(got, want) {
		t.Errorf("docs/api-reference.md is not what web/openapi.json says, %v: `go test ./web -update` writes it", err)
	}
	for _, want := range []string{"## GET /log\n", "| `If-Match` | header |", "needs the access `admin`", "may call it for these", "Body: [Rule](#rule)", "`text/event-stream`", "## Finding\n"} {
		if !bytes.Contains(got, []byte(want)) {
			t.Errorf("the reference has no %q", want)
		}
	}
}
