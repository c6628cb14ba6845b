package catalog

import (
	"bytes"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/net/publicsuffix"

	"telltale/blocklists/format"
	"telltale/sorting"
)

// A Problem is what is wrong with one line of a catalogue file.
type Problem struct {
	File string `json:"file"`
	Line int    `json:"line"` // from 1; 0 for the file as a whole
	What string `json:"what"` // what is wrong, and what to do
}

// String is "FILE:LINE: what is wrong: what to do".
func (p Problem) String() string { return fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.What) }

// Check reads the files *.txt at the root of fsys, and the tables beside them, and
// returns everything about them that the catalogue does not allow, in the order of
// files and lines. It needs nothing but the files: what the outside says of them
// (coverage, names that must never be blocked) is checked by the package's tests.
func Check(fsys fs.FS) ([]Problem, error) {
	files, err := readFiles(fsys, "*.txt", "*.tsv")
	if err != nil {
		return nil, err
	}
	return check(files), nil
}

func check(files fileSet) []Problem {
	c := &checker{catalog: Catalog{byName: map[string][]int{}}}
	c.catalog.sources = readSources(files, func(file string, line int, what string) { c.say(file, line, "%s", what) })
	c.checkSources(sourcesFile, c.catalog.sources.byID)
	for _, name := range files.lists() {
		c.file(name, files[name])
	}
	for i := range c.catalog.entries {
		c.entry(&c.catalog.entries[i])
		c.neighbours(i)
	}
	c.companies(files)
	c.checkBrands(files)
	c.aliases(files)
	sorting.StableBy(c.problems, func(a, b Problem) int {
		if d := strings.Compare(a.File, b.File); d != 0 {
			return d
		}
		return a.Line - b.Line
	})
	return c.problems
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
func (c *checker) file(name string, text []byte) {
	report := format.Parse(bytes.NewReader(text), format.Options{Limits: format.Limits{Bad: 1 << 20}}, func(r *format.Rule) {
		switch {
		case len(r.Name) > 1 && (r.Form == format.Domain || r.Form == format.Exactly || r.Form == format.Comment):
		default:
			c.say(name, max(r.Line, 1), "%s is not a form of this catalogue: write example.com, =example.com, or #@ name=example.com", r.AppendText(nil))
			return
		}
		e := entry(r)
		e.File = name
		if problem := c.catalog.add(&e); problem != "" {
			c.say(name, max(r.Line, 1), "%s: %s", &e, problem)
		}
	})
	if report.Err != nil {
		c.say(name, 1, "cannot be read: %v", report.Err)
	}
	for _, bad := range report.Bad {
		c.say(name, bad.Line, "%s", bad.Problem)
	}
}

var since = regexp.MustCompile(`^(19|20)\d\d(-(0[1-9]|1[0-2])(-(0[1-9]|[12]\d|3[01]))?)?$`)

// entry checks what one entry says of itself.
func (c *checker) entry(e *Entry) {
	say := func(what string, args ...any) { c.say(e.File, e.Line, e.String()+": "+what, args...) }
	if e.Vendor == "" {
		say("no vendor: add vendor=NAME to the #@ line above")
	}
	if e.claims == "" {
		say("no claim: add claims=KIND:ID with sources of sources.tsv, or do not ship the entry; docs/catalogue.md says what counts as one")
	}
	if e.source != "" {
		say("source= is for lists of one's own: add the document to sources.tsv, and name its id in claims=")
	}
	c.contested(e, say)
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
	c.readOffName(e, say)
	if e.Breaks == "" && (e.Tier == "mixed" || e.Tier == "essential") {
		say("tier=%s without breaks: say what stops working", e.Tier)
	}
	if e.Since != "" && !since.MatchString(e.Since) {
		say("since=%s is no date: write 2026, 2026-05 or 2026-05-16", e.Since)
	}
	if !regionKnown(e.Region) {
		say("region=%s is unknown: write two letters of a country in lower case, eu, or one of %s", e.Region, strings.Join(Regions, ", "))
	}
}

// contested checks that who disputes a breakage disputes somebody's claim.
func (c *checker) contested(e *Entry, say func(string, ...any)) {
	has := func(k Kind) bool { return slices.ContainsFunc(e.Claims, func(c Claim) bool { return c.Kind == k }) }
	if has(Disputes) && !has(StatesBreakage) && !has(VendorDocuments) && !has(Measured) {
		say("disputes:, but no source says that something breaks: add that one by states-breakage:")
	}
	if has(StatesBreakage) && !has(Disputes) && e.Tier == "telemetry" {
		say("tier=telemetry, but a source says that something breaks: make it mixed, or add by disputes: who says that it does not")
	}
	if has(StatesBreakage) && e.Breaks == "" {
		say("a source says what breaks, and breaks= is empty: write what it says")
	}
}

// readOffName checks confidence=, which only says that a purpose can be read in the
// name; everything else is computed.
func (c *checker) readOffName(e *Entry, say func(string, ...any)) {
	switch {
	case e.said == "":
	case e.said != format.ReadOffName:
		say("confidence=%s: it is computed from the claims: remove it, or write name where the purpose is read off the name", e.said)
	case e.Confidence != format.ReadOffName:
		say("confidence=name, but a source says the purpose: remove it")
	case !readable(e.Name, e.Purpose):
		say("confidence=name, but nothing of purpose=%s can be read in it: remove confidence=name, and the name is listed only", e.Purpose)
	}
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
