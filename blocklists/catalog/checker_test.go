package catalog

import (
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/net/publicsuffix"

	"telltale/blocklists/format"
)

// A Problem is what is wrong with one line of a catalogue file.
type Problem struct {
	File string
	Line int    // from 1; 0 for the file as a whole
	What string // what is wrong, and what to do
}

// String is "FILE:LINE: what is wrong: what to do".
func (p Problem) String() string { return fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.What) }

// Check reads the files *.txt at the root of fsys and returns everything about
// them that the catalogue does not allow, in the order of files and lines. It
// needs nothing but the files: what the outside says of them (coverage, names
// that must never be blocked) is checked by the package's tests.
func Check(fsys fs.FS) ([]Problem, error) {
	names, err := fs.Glob(fsys, "*.txt")
	if err != nil {
		return nil, err
	}
	c := &checker{catalog: Catalog{byName: map[string][]int{}}}
	for _, name := range names {
		if err := c.file(fsys, name); err != nil {
			return nil, err
		}
	}
	for i := range c.catalog.entries {
		c.entry(&c.catalog.entries[i])
		c.neighbours(i)
	}
	slices.SortStableFunc(c.problems, func(a, b Problem) int {
		if d := strings.Compare(a.File, b.File); d != 0 {
			return d
		}
		return a.Line - b.Line
	})
	return c.problems, nil
}

type checker struct {
	catalog  Catalog
	problems []Problem
}

func (c *checker) say(file string, line int, what string, args ...any) {
	c.problems = append(c.problems, Problem{file, line, fmt.Sprintf(what, args...)})
}

// file reads one file and reports lines that cannot be read, and rules of forms
// that other programs would read otherwise or not at all.
func (c *checker) file(fsys fs.FS, name string) error {
	f, err := fsys.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	all := &c.catalog
	report := format.Parse(f, format.Options{Limits: format.Limits{Bad: 1 << 20}}, func(r *format.Rule) {
		switch {
		case len(r.Name) > 1 && (r.Form == format.Domain || r.Form == format.Exactly || r.Form == format.Comment):
		default:
			c.say(name, max(r.Line, 1), "%s is not a form of this catalogue: write example.com, =example.com, or #@ name=example.com", r.AppendText(nil))
			return
		}
		e := entry(r)
		e.File = name
		all.byName[e.Name] = append(all.byName[e.Name], len(all.entries))
		all.entries = append(all.entries, e)
	})
	if report.Err != nil {
		return fmt.Errorf("%s: %w", name, report.Err)
	}
	for _, bad := range report.Bad {
		c.say(name, bad.Line, "%s", bad.Problem)
	}
	return nil
}

var (
	since = regexp.MustCompile(`^(19|20)\d\d(-(0[1-9]|1[0-2])(-(0[1-9]|[12]\d|3[01]))?)?$`)
	repo  = regexp.MustCompile(`^[\w.-]+/[\w.-]+:[^\s:]+$`)
	bare  = regexp.MustCompile(`\bhagezi/dns-blocklists(/blob/[0-9a-f]{40}/|:)wildcard/|\bnextdns/native-tracking-domains\b`)
	blob  = regexp.MustCompile(`^https://github\.com/[\w.-]+/[\w.-]+/blob/[0-9a-f]{40}/\S+$`)
)

// entry checks what one entry says of itself.
func (c *checker) entry(e *Entry) {
	say := func(what string, args ...any) { c.say(e.File, e.Line, e.String()+": "+what, args...) }
	if e.Vendor == "" {
		say("no vendor: add vendor=NAME to the #@ line above")
	}
	if len(e.Sources) == 0 {
		say("no source: add source=URL, or do not ship the entry; docs/catalogue.md says what counts as one")
	}
	for _, s := range e.Sources {
		if problem := sourceProblem(s); problem != "" {
			say("source=%s %s", s, problem)
		}
	}
	if suffix, _ := publicsuffix.PublicSuffix(e.Name); suffix == e.Name && !e.Exact {
		say("is a public suffix, below which others have their names: list the names that are the vendor's")
	}
	switch {
	case e.Tier == "":
		say("no tier: add tier=telemetry, mixed, essential or owner")
	case e.listed && e.Tier != "telemetry" && e.Tier != "mixed":
		say("a plain line blocks, but tier=%s never does: write #@ name=%s", e.Tier, e)
	case !e.listed && e.Tier != "essential" && e.Tier != "owner":
		say("tier=%s is for lines that block: write %s without #@ name=", e.Tier, e)
	}
	if e.Tier == "owner" {
		if e.Purpose != "" {
			say("an owner has no purpose: remove purpose=%s, or give the entry another tier", e.Purpose)
		}
		return
	}
	if !isPurpose(e.Purpose) {
		say("purpose=%s is not in the vocabulary: take one of docs/catalogue.md", e.Purpose)
	}
	if e.Confidence != "stated" && e.Confidence != "name" {
		say("confidence=%s: write stated where a source says the purpose, name where it is read off the name", e.Confidence)
	}
	if e.Confidence == "stated" && !slices.ContainsFunc(e.Sources, saysMore) {
		say("confidence=stated, but its sources are lists of names alone: write confidence=name, or add the source that says the purpose")
	}
	if e.Breaks == "" && (e.Tier == "mixed" || e.Tier == "essential") {
		say("tier=%s without breaks: say what stops working", e.Tier)
	}
	if e.Breaks != "" && e.Tier == "telemetry" {
		say("tier=telemetry means that nothing known breaks: make it mixed, or remove breaks=")
	}
	if e.Since != "" && !since.MatchString(e.Since) {
		say("since=%s is no date: write 2026, 2026-05 or 2026-05-16", e.Since)
	}
	if !regionKnown(e.Region) {
		say("region=%s is unknown: write two letters of a country in lower case, eu, or one of %s", e.Region, strings.Join(Regions, ", "))
	}
}

// sourceProblem says what is wrong with a source; "" for nothing.
func sourceProblem(s string) string {
	switch {
	case strings.HasPrefix(s, "https://github.com/") && strings.Contains(s, "/blob/"):
		if !blob.MatchString(s) {
			return "points to a file that changes: put the commit of 40 digits in place of the branch"
		}
	case strings.HasPrefix(s, "https://"), repo.MatchString(s):
	default:
		return "is neither https://... nor owner/repository:path: write it as one of them"
	}
	return ""
}

// saysMore reports whether a source can say what a name is for. Known lists of
// names alone cannot, but for the one whose title is the purpose.
func saysMore(s string) bool {
	return !bare.MatchString(s) || strings.Contains(s, "/wildcard/doh")
}

func regionKnown(s string) bool {
	return s == "" || slices.Contains(Regions, s) || slices.Contains(countries, s)
}

// neighbours checks an entry against the others of its name and above it.
func (c *checker) neighbours(i int) {
	e := &c.catalog.entries[i]
	for _, j := range c.catalog.byName[e.Name] {
		o := &c.catalog.entries[j]
		if j >= i {
			break
		}
		if !strings.EqualFold(o.Vendor, e.Vendor) {
			c.say(e.File, e.Line, "%s is under %s here and under %s at %s:%d: keep the operator's, and name the software's maker by software=", e, e.Vendor, o.Vendor, o.File, o.Line)
		} else if o.Exact == e.Exact {
			c.say(e.File, e.Line, "%s stands at %s:%d already: keep one", e, o.File, o.Line)
		}
	}
	for _, o := range c.catalog.Name(e.Name) {
		switch {
		case o.Tier == "telemetry" && o.listed && e.Tier == "mixed":
			c.say(e.File, e.Line, "%s is to be observed, but %s blocks it (%s:%d): list names below that one by one", e, &o, o.File, o.Line)
		case o.listed && e.Tier == "essential":
			c.say(o.File, o.Line, "%s blocks %s, which is essential (%s:%d): list names below it one by one", &o, e, e.File, e.Line)
		}
	}
}

// isPurpose reports whether s is in the vocabulary.
func isPurpose(s string) bool {
	return slices.ContainsFunc(Purposes, func(p Purpose) bool { return p.Name == s })
}
