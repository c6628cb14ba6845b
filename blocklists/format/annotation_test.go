package format

import (
	"strings"
	"testing"
)

// A list of thousands of known names under few annotations keeps few annotations.
func TestKnownNamesShareTheAnnotationAboveThem(t *testing.T) {
	const text = `#@ vendor=Acme tier=owner
#@ name=acme.example
#@ name==www.acme.example
#@ name=de.acme.example region=de
blocked.acme.example
#@ name=acme.example.org
#@
#@ name=alone.example
`
	notes := map[string]*Annotation{}
	report := Parse(strings.NewReader(text), Options{}, func(r *Rule) { notes[string(r.AppendText(nil))] = r.Note })
	if report.BadTotal > 0 || len(notes) != 6 {
		t.Fatalf("got %d rules, %v", len(notes), report.Bad)
	}
	above := notes["#@ name=acme.example"]
	for _, rule := range []string{"#@ name==www.acme.example", "blocked.acme.example", "#@ name=acme.example.org"} {
		if notes[rule] != above {
			t.Errorf("%s: has an annotation of its own: %+v", rule, notes[rule])
		}
	}
	if n := notes["#@ name=de.acme.example"]; n == above || n.Region != "de" || n.Vendor != "Acme" || above.Region != "" {
		t.Errorf("of its own keys: got %+v, and %+v above it", n, above)
	}
	if n := notes["#@ name=alone.example"]; n == nil || *n != (Annotation{}) {
		t.Errorf("with nothing above it: got %+v, want an empty annotation", n)
	}
}
