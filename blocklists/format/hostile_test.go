package format

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
)

// repeated gives one text over and over, n bytes in all.
type repeated struct {
	text string
	n    int
	at   int
}

func (r *repeated) Read(p []byte) (int, error) {
	if r.n == 0 {
		return 0, io.EOF
	}
	n := 0
	for n < len(p) && r.n > 0 {
		k := copy(p[n:min(len(p), n+r.n)], r.text[r.at:])
		r.at = (r.at + k) % len(r.text)
		n, r.n = n+k, r.n-k
	}
	return n, nil
}

// TestHostile reads what no list should be: nothing it holds widens a rule, and
// nothing it costs grows with it.
func TestHostile(t *testing.T) {
	const mega = 1 << 20
	line := func(s string, n int) io.Reader { return &repeated{text: s, n: n} }
	after := func(r io.Reader) io.Reader { return io.MultiReader(r, strings.NewReader("\nok.example\n")) }
	for _, c := range []struct {
		name  string
		text  io.Reader
		rules int
		bad   int
	}{
		{"a line of 64 MB", after(line("a", 64*mega)), 1, 1},
		{"a line of 64 MB of dots", after(line("a.", 64*mega)), 1, 1},
		{"a hosts line of 64 MB", after(line("0.0.0.0 a.example ", 64*mega)), 1, 1},
		{"400,000 lines of nonsense", after(line("la la la\n", 9*400_000)), 1, 400_000},
		{"a zone whose parenthesis stays open", io.MultiReader(strings.NewReader("$TTL 1\na CNAME (\n"), line("; x\n", mega), strings.NewReader("ok.example CNAME .\n")), 1, 1},
		{"10,000 patterns", line("/ab[0-9]x/\n", 10_000*11), 5000, 5000},
		{"annotations without end", after(line("a.example #@ vendor=\"\n", 22*10_000)), 10_001, 10_000},
	} {
		t.Run(c.name, func(t *testing.T) {
			report := Parse(c.text, Options{}, func(*Rule) {})
			if report.Rules != c.rules || report.BadTotal != c.bad || len(report.Bad) > 100 {
				t.Errorf("got %d rules, %d bad lines, %d kept, want %d, %d and at most 100", report.Rules, report.BadTotal, len(report.Bad), c.rules, c.bad)
			}
			size := 0
			for _, b := range report.Bad {
				size += len(b.Text) + len(b.Problem)
			}
			if size > 100_000 {
				t.Errorf("the report holds %d bytes", size)
			}
		})
	}
}

func TestContent(t *testing.T) {
	for _, c := range []struct {
		name string
		text string
		want Content
	}{
		{"nothing at all is empty", "", Empty},
		{"blank lines are text", "\n\n", Text},
		{"comments are text", "# a\n", Text},
		{"a page is HTML", "\n\n <!DOCTYPE html><html>", HTML},
		{"an error of an object store is HTML enough", "<?xml version='1.0'?><Error>", HTML},
		{"an error message may be JSON", `{"message":"Not Found"}`, JSON},
		{"a list may be JSON", "[\n\"a.example\",", JSON},
		{"an AdBlock header is text", "[Adblock Plus 2.0]\n||a.example^", Text},
		{"an image is binary", "\x89PNG\r\n\x1a\n", Binary},
		{"zeros left by a crash are binary", "\x00\x00\x00\x00", Binary},
		{"random bytes are binary", strings.Repeat("\x01\x02abcdefgh", 50), Binary},
		{"one stray zero leaves a list a list", "a.example\nb\x00.example\n" + strings.Repeat("c.example\n", 20), Text},
		{"another script is text", strings.Repeat("пример.example\n", 20), Text},
	} {
		t.Run(c.name, func(t *testing.T) {
			rules := 0
			report := Parse(strings.NewReader(c.text), Options{}, func(*Rule) { rules++ })
			if report.Content != c.want {
				t.Errorf("got %v, want %v", report.Content, c.want)
			}
			if c.want != Text && rules > 0 {
				t.Errorf("%d rules came out of it", rules)
			}
		})
	}
}

func TestReport(t *testing.T) {
	report := Parse(strings.NewReader("# Number of entries: 1,234\na.example\n0.0.0.0 b.example c.example\nbad..example\n127.0.0.1 localhost"), Options{}, func(*Rule) {})
	if report.Lines != 5 || report.Rules != 3 || report.BadTotal != 1 || report.Ignored != 1 || report.Declared != 1234 || !report.Cut {
		t.Errorf("got %+v", report)
	}
	if report.Forms[Domain] != 1 || report.Forms[Hosts] != 2 || report.Reasons[NotAName] != 1 {
		t.Errorf("got %v, %v", report.Forms, report.Reasons)
	}
	if got, want := report.Bad[0].String(), "4: an empty label: remove the extra dot"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	failing := io.MultiReader(strings.NewReader("a.example\n"), &failingReader{})
	if report := Parse(failing, Options{}, func(*Rule) {}); report.Rules != 1 || report.Err != io.ErrNoProgress {
		t.Errorf("got %+v", report)
	}
}

type failingReader struct{}

func (failingReader) Read([]byte) (int, error) { return 0, io.ErrNoProgress }

func TestParseLineCopies(t *testing.T) {
	rules, err := ParseLine("0.0.0.0 a.example b.example", Options{})
	if err != nil || len(rules) != 2 || bytes.Equal(rules[0].Name, rules[1].Name) {
		t.Errorf("got %v, %v", rules, err)
	}
	if _, err := ParseLine("a..example", Options{}); err == nil || errors.Unwrap(err) != nil {
		t.Errorf("got %v", err)
	}
	if rules, err := ParseLine("# a comment", Options{}); err != nil || len(rules) != 0 {
		t.Errorf("got %v, %v", rules, err)
	}
}

// TestFastPathAllocatesNothing holds for all lines together: a list costs its
// buffer.
func TestFastPathAllocatesNothing(t *testing.T) {
	var text bytes.Buffer
	for range 1000 {
		text.WriteString("a.example\n0.0.0.0 b.example\n||c.example^\n*.d.example\nlocal=/e.example/\nlocal-zone: \"f.example.\" always_null\n# note\n")
	}
	p := newParser(Options{}, func(*Rule) {})
	if n := testing.AllocsPerRun(10, func() {
		for line := range bytes.Lines(text.Bytes()) {
			p.lines(line[:len(line)-1])
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
