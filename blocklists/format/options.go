package format

import (
	"errors"
	"io"
	"time"
)

// Options say what a list may do and how it is to be read. The zero value reads
// a stranger's list: every form is detected, and no answers of its own.
type Options struct {
	Name     string         // of the list, for messages; may be empty
	Format   string         // one of Formats: "" detects the form of each line
	Exact    bool           // a plain domain line means the name alone (match: exact)
	Own      bool           // the user's own file: local records, answers, broad patterns
	Answers  bool           // the list may answer with addresses and names of its own (answers: true)
	Suffixes bool           // the list may have patterns that match all below a public suffix (suffixes: true)
	Location *time.Location // in which until= dates end; nil for time.Local
	Claims   Claims         // what claims= stands for; nil where the list has no table of sources
	System   bool           // a hosts file of the system's: nothing but hosts lines, those of loopback not meant for others
	Limits   Limits

	general bool // never take the fast path; tests compare both
}

// Claims turns the text of claims= into what an annotation shows: the addresses of
// its sources, and how far it is to be believed (see Confidence). said is what the
// list itself writes by confidence=. The problem says what is wrong with the text.
type Claims func(claims, said string) (source, confidence, problem string)

// Formats are the values of Options.Format. Only "regex" and "rpz" change how a
// line is read: bare lines are patterns, or the file is a zone from its first
// line on. The others say what detection finds anyway.
var Formats = []string{"", "regex", "rpz", "domains", "wildcard", "hosts", "adblock", "dnsmasq", "unbound"}

// Limits bound what a list costs. A zero field means its default.
type Limits struct {
	Line    int // longest line in bytes; longer ones are skipped. 64 KiB
	Bad     int // bad lines kept in the report; all are counted. 100
	Regexes int // patterns taken from one list. 5,000
	Regex   int // cost of one pattern, in instructions of its program. 2,000
	Cost    int // cost of all patterns of the list. 200,000
}

func (l Limits) withDefaults() Limits {
	set := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	set(&l.Line, 64<<10)
	set(&l.Bad, 100)
	set(&l.Regexes, 5000)
	set(&l.Regex, 2000)
	set(&l.Cost, 200_000)
	return l
}

// Parse reads a list and calls emit for each rule, in the order of the file. It
// holds neither the list nor its rules in memory: the Rule and its Name are
// reused after emit returns, while Extra, Annotation and Regex may be kept. What it
// cannot read it skips and reports; it never takes a line for a wider rule than
// its author wrote. Compressed text goes through Open first.
func Parse(r io.Reader, o Options, emit func(*Rule)) Report {
	p := newParser(o, emit)
	p.read(r)
	p.finish()
	return p.report
}

// ParseLine reads one line, as it would be read in a file, and returns copies
// of its rules: none for a comment, several for a line with several names. The
// error says what is wrong with the line and what to do.
func ParseLine(s string, o Options) ([]Rule, error) {
	var rules []Rule
	p := newParser(o, func(r *Rule) {
		c := *r
		c.Name = append([]byte(nil), r.Name...)
		rules = append(rules, c)
	})
	p.lines([]byte(s))
	p.finish()
	if p.report.BadTotal > 0 {
		return rules, errors.New(p.report.Bad[0].Problem)
	}
	return rules, nil
}
