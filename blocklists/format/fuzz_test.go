package format

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"telltale/dnswire"
)

// FuzzParse reads any bytes as a list: it never panics, emits only what the
// rest of the program may rely on, and reads the same on the fast and on the
// general path.
func FuzzParse(f *testing.F) {
	lists, _ := filepath.Glob("testdata/*.txt")
	for _, file := range lists {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text, uint8(0))
		for line := range bytes.Lines(text) {
			f.Add(line, uint8(len(line)))
		}
	}
	f.Fuzz(func(t *testing.T, text []byte, how uint8) {
		o := Options{Exact: how&1 != 0, Own: how&2 != 0, Answers: how&4 != 0, System: how&8 != 0, Limits: Limits{Line: 1000, Regexes: 20}}
		switch how >> 6 {
		case 1:
			o.Format = "regex"
		case 2:
			o.Format = "rpz"
		}
		rules := 0
		report := Parse(bytes.NewReader(text), o, func(r *Rule) {
			rules++
			checkRule(t, r, o)
		})
		again := o
		again.Limits.Line = 0 // escapes make a text longer
		readBack(t, text, again)
		if report.Rules != rules || len(report.Bad) > report.BadTotal {
			t.Errorf("the report counts %d rules of %d, %d bad lines of %d", report.Rules, rules, len(report.Bad), report.BadTotal)
		}
		fast := list(text, o)
		o.general = true
		if slow := list(text, o); slow != fast {
			t.Errorf("the general path reads\n%s\nthe fast path\n%s", slow, fast)
		}
	})
}

// checkRule holds a rule against the contract of its fields.
func checkRule(t *testing.T, r *Rule, o Options) {
	t.Helper()
	if r.Line < 1 || int(r.Form) >= NumForms || r.Form.String() == "unknown" {
		t.Fatalf("line %d, form %d", r.Line, r.Form)
	}
	switch r.Match {
	case Pattern:
		x, err := regexp.Compile(r.Regex)
		if err != nil || r.Regex == "" || r.Extra == nil {
			t.Fatalf("pattern %q: %v", r.Regex, err)
		}
		for _, name := range append(strangers, "ads.example", "ad0-x_y.tracker.example.com", "example.com") {
			if x.MatchString(name) && !strings.Contains(name, r.Literal) {
				t.Fatalf("pattern %q matches %q, which lacks %q", r.Regex, name, r.Literal)
			}
		}
	case Address:
		if r.Extra == nil || !r.Extra.Prefix.IsValid() || r.Extra.Prefix.Bits() == 0 {
			t.Fatalf("an address rule without an address")
		}
	case Server:
		if r.Extra == nil || r.Name != nil || (r.Extra.Server == nil) != r.Extra.Prefix.IsValid() {
			t.Fatalf("a rule on servers without one")
		}
	default:
		var n dnswire.Name
		if end, err := n.Read(r.Name, 0); err != nil || end != len(r.Name) || len(r.Name) < 2 || !bytes.Equal(n.Wire(), r.Name) {
			t.Fatalf("%x is no lower-case wire name: %v", r.Name, err)
		}
	}
	if r.Extra != nil && (r.Action == Answer) != (r.Extra.Reply == Records) && r.Action != Cancel && r.Action != Unanswer {
		t.Fatalf("action %d with reply %d", r.Action, r.Extra.Reply)
	}
	if r.Action == Answer && !o.Own && !o.Answers {
		t.Fatalf("a stranger's list answers %s", dnswire.AppendText(nil, r.Name))
	}
	r.Key()
}

// FuzzOpen unpacks any bytes within its limit.
func FuzzOpen(f *testing.F) {
	f.Add(gzipped(f, openText))
	f.Add(zipped(f, "a.txt", openText, 8))
	f.Add(zipped(f, "a.txt", openText, 0))
	f.Add([]byte("\xfd7zXZ\x00"))
	f.Fuzz(func(t *testing.T, packed []byte) {
		r, err := OpenLimit(bytes.NewReader(packed), 1<<16)
		if err != nil {
			return
		}
		if n, _ := new(bytes.Buffer).ReadFrom(r); n > 1<<16 && n > int64(2*len(packed)) {
			t.Errorf("%d bytes out of %d", n, len(packed))
		}
	})
}
