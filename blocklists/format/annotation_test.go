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
	report := Parse(strings.NewReader(text), Options{}, func(r *Rule) { notes[string(r.AppendText(nil))] = r.Annotation })
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

func TestALongValueIsNotTaken(t *testing.T) {
	long := strings.Repeat("x", maxValue+1)
	report := Parse(strings.NewReader("a.example #@ vendor=V purpose="+long+"\nb.example #@ until="+long+"\nc.example #@ source="+long[1:]), Options{}, func(r *Rule) {
		switch {
		case r.Line == 1 && (r.Annotation.Vendor != "V" || r.Annotation.Purpose != ""):
			t.Errorf("line 1: got %+v, want the vendor alone", r.Annotation)
		case r.Line == 2 && r.Annotation.Until != Ended:
			t.Errorf("line 2: got until %v, want a rule that is not in force", r.Annotation.Until)
		case r.Line == 3 && len(r.Annotation.Source) != maxValue:
			t.Errorf("line 3: got %d octets, want all", len(r.Annotation.Source))
		}
	})
	const want = "purpose= has 1001 octets, over the limit of 1000, and is not taken: shorten it"
	if report.BadTotal != 2 || report.Bad[0].Problem != want {
		t.Errorf("got %d bad lines, the first %q, want 2, %q", report.BadTotal, report.Bad[0].Problem, want)
	}
}
