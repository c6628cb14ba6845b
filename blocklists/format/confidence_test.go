package format

import "testing"

func TestConfidenceIsReadBackAndSaid(t *testing.T) {
	for _, test := range []struct {
		stored string
		want   Confidence
		text   string
	}{
		{"stated 3", Confidence{Stated, 3, false}, "stated by 3 independent sources"},
		{"stated 1", Confidence{Stated, 1, false}, "stated by one source"},
		{"stated 2 contested", Confidence{Stated, 2, true}, "stated by 2 independent sources; contested: sources disagree on what breaks"},
		{"vendor-documents 1", Confidence{VendorDocuments, 1, false}, "documented by the vendor"},
		{"measured 2", Confidence{Measured, 2, false}, "measured by 2 independent sources"},
		{"listed 1", Confidence{Listed, 1, false}, "listed only, by one source"},
		{"name 2", Confidence{ReadOffName, 2, false}, "read off the name, listed by 2 independent sources"},
		{"", Confidence{}, ""},
		// of the first edition, and of a person's own list
		{"stated", Confidence{Word: Stated}, "stated"},
		{"name", Confidence{Word: ReadOffName}, "read off the name"},
		{"rather sure", Confidence{Word: "rather sure"}, "rather sure"},
		{"stated 03", Confidence{Word: "stated 03"}, "stated 03"},
	} {
		got := ReadConfidence(test.stored)
		if got != test.want {
			t.Errorf("%q: got %+v, want %+v", test.stored, got, test.want)
		}
		if got.String() != test.stored {
			t.Errorf("%q is written as %q", test.stored, got.String())
		}
		if got.Text() != test.text {
			t.Errorf("%q: got %q, want %q", test.stored, got.Text(), test.text)
		}
	}
}
