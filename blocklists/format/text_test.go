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
		written := string(r.AppendText(nil))
		read := func() bool {
			found := false
			report := Parse(strings.NewReader(written), again, func(b *Rule) {
				found = found || b.Key() == r.Key() && b.Form == r.Form && string(b.AppendText(nil)) == written
			})
			return found && report.BadTotal == 0
		}
		if r.Form == Zone && (!o.Own || !read()) { // one of one's own may stand alone
			again.Format = "rpz"
		}
		if !read() {
			t.Errorf("line %d: %q is read back as\n%s, want\n%s", r.Line, written, rules(written, again), r.Key())
		}
	})
}
