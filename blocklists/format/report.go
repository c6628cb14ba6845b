package format

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
)

// A Report says what Parse found.
type Report struct {
	Lines    int            // lines read, blank ones and comments included
	Rules    int            // rules emitted
	Forms    [NumForms]int  // rules by Form
	Ignored  int            // lines that are no rules and no mistakes: headers, "127.0.0.1 localhost"
	Bad      []BadLine      // the first bad lines, at most Limits.Bad
	BadTotal int            // all bad lines
	Reasons  map[Reason]int // all bad lines, by reason; nil for none
	Content  Content        // anything but Text: nothing was read
	Declared int            // "Number of entries" of the list's head; 0 if it says nothing
	Cut      bool           // the last line does not end: the text may be cut short
	Err      error          // reading failed; the rules until then were emitted
}

// EndsEarly reports whether a list says of itself that it has more entries than
// were found. Authors count a few otherwise, so a few are let go.
func (r *Report) EndsEarly() bool {
	found := r.Rules + r.BadTotal
	return r.Declared > found+found/50+10
}

// Content is what a list's bytes look like.
type Content uint8

const (
	Text   Content = iota
	Empty          // no bytes at all
	Binary         // compressed, an image, zeros left by a crash
	HTML           // an error or log-in page in place of the list
	JSON           // an error message, or a list in a form that is not read
)

// String names the content for messages.
func (c Content) String() string {
	switch c {
	case Text:
		return "text"
	case Empty:
		return "empty"
	case Binary:
		return "binary"
	case HTML:
		return "HTML"
	case JSON:
		return "JSON"
	}
	return "unknown"
}

// A Reason says why a line was skipped, for counting.
type Reason string

const (
	NotAName       Reason = "not a domain name"
	SingleLabel    Reason = "single label"
	IPAddress      Reason = "IP address"
	LongLine       Reason = "line too long"
	ControlBytes   Reason = "control bytes"
	Modifier       Reason = "modifier not honoured"
	URLPart        Reason = "path, port or scheme"
	Cosmetic       Reason = "cosmetic rule"
	BadRegex       Reason = "regular expression"
	TooManyRegexes Reason = "too many regular expressions"
	OwnAnswer      Reason = "answer of its own"
	EveryName      Reason = "matches every name"
	NotHonoured    Reason = "not honoured"
	BadAnnotation  Reason = "annotation"
	BadRecord      Reason = "zone record"
	NotARule       Reason = "not a rule"
)

// A BadLine is a line, or a part of one, that was skipped.
type BadLine struct {
	Line    int    // from 1
	Text    string // the beginning of the line, as far as it is printable
	Problem string // what is wrong: what to do
	Reason  Reason
}

// String is "LINE: what is wrong: what to do", for behind a file's name and a
// colon.
func (b BadLine) String() string { return strconv.Itoa(b.Line) + ": " + b.Problem }

// bad counts a mistake in the current line and keeps the first ones.
func (p *parser) bad(why Reason, text, problem string, args ...any) {
	p.report.BadTotal++
	if p.report.Reasons == nil {
		p.report.Reasons = map[Reason]int{}
	}
	p.report.Reasons[why]++
	if len(p.report.Bad) >= p.limits.Bad {
		return
	}
	if len(args) > 0 {
		problem = fmt.Sprintf(problem, args...)
	}
	p.report.Bad = append(p.report.Bad, BadLine{Line: p.line, Text: printable(text), Problem: problem, Reason: why})
}

// printable shortens text from outside and escapes what a terminal might act on.
func printable(s string) string {
	const most = 80
	cut := len(s) > most
	if cut {
		s = s[:most]
	}
	var b strings.Builder
	for _, c := range strings.ToValidUTF8(s, "\ufffd") {
		if unicode.IsPrint(c) {
			b.WriteRune(c)
			continue
		}
		q := strconv.QuoteRune(c)
		b.WriteString(q[1 : len(q)-1])
	}
	if cut {
		b.WriteString("...")
	}
	return b.String()
}
