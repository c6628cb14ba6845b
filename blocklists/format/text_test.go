package format

import (
	"bytes"
	"strings"
	"testing"
)

// readBack reads the text of each rule of a list again, and finds the same rule
// in the same form, with the same text.
func readBack(t *testing.T, list []byte, o Options) {
	t.Helper()
	Parse(bytes.NewReader(list), o, func(r *Rule) {
		again := o
		if r.Form == Zone {
			again.Format = "rpz"
		}
		written := string(r.AppendText(nil))
		found := false
		report := Parse(strings.NewReader(written), again, func(b *Rule) {
			found = found || b.Key() == r.Key() && b.Form == r.Form && string(b.AppendText(nil)) == written
		})
		if !found || report.BadTotal > 0 {
			t.Errorf("line %d: %q is read back as\n%s, want\n%s", r.Line, written, rules(written, again), r.Key())
		}
	})
}
