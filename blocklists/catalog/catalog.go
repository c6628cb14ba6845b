// Package catalog is what Telltale ships: one annotated list file per vendor,
// and sets that cut across vendors. Each entry says who wants a name, for what,
// who says so, and what breaks without it. The package reads list files and says
// what they hold; what a match means for a query is for blocklists to decide.
package catalog

import (
	"archive/zip"
	"bytes"
	_ "embed"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"

	"telltale/blocklists/format"
	"telltale/dnswire"
	"telltale/sorting"
)

//go:generate go test -run TestShippedIsTheFolder -update
//go:generate go test -run TestPages -update

// packed is this folder as Pack writes it: a sixth of its size.
//
//go:embed shipped.zip
var packed string

var files = sync.OnceValue(func() fs.FS {
	z, err := zip.NewReader(strings.NewReader(packed), int64(len(packed)))
	if err != nil {
		panic("the shipped catalogue: " + err.Error()) // a test reads it
	}
	return z
})

// FS returns the list files, one NAME.txt per vendor or set, and the tables they
// refer to. Each reading unpacks.
func FS() fs.FS { return files() }

// An Entry is what the catalogue knows of one name, or of a name and everything
// below it. Empty fields are unknown.
type Entry struct {
	Name  string `json:"name"`            // lower case, without trailing dot
	Exact bool   `json:"exact,omitempty"` // Name alone, not what is below it

	Vendor   string `json:"vendor"`
	Product  string `json:"product,omitempty"`
	Purpose  string `json:"purpose,omitempty"`  // one of Purposes; "" for an owner
	Tier     string `json:"tier"`               // telemetry, mixed, essential or owner
	Region   string `json:"region,omitempty"`   // see Regions; "" where the name does not tell
	Breaks   string `json:"breaks,omitempty"`   // what breaks when blocked
	Since    string `json:"since,omitempty"`    // YYYY, YYYY-MM or YYYY-MM-DD of the oldest dated source
	Software string `json:"software,omitempty"` // whose collector it is, when not the vendor's own

	Claims      []Claim `json:"claims"`              // who says what, the strongest first
	Confidence  string  `json:"confidence"`          // computed from the claims: see format.Confidence
	Independent int     `json:"independent"`         // sources that do not copy one another, behind Confidence
	Contested   bool    `json:"contested,omitempty"` // sources disagree on what breaks

	File string `json:"file"` // the list file, e.g. "xiaomi.txt"
	Line int    `json:"line"` // from 1

	listed bool   // a plain line, which blocks; else a comment line
	claims string // as the list writes them
	said   string // by confidence=
	source string // by source=, which the catalogue does not use
}

// Trust returns why the entry is believed.
func (e *Entry) Trust() format.Confidence {
	return format.Confidence{Word: e.Confidence, Independent: e.Independent, Contested: e.Contested}
}

// WhatBreaks returns what stops working when the name is blocked. Where no source
// says so, it is what the name is for, and the text says that too.
func (e *Entry) WhatBreaks() string {
	reported := slices.ContainsFunc(e.Claims, func(c Claim) bool { return c.Kind == StatesBreakage || c.Kind == VendorDocuments })
	if e.Breaks == "" || reported {
		return e.Breaks
	}
	return e.Breaks + " (no source reports it)"
}

// Sources returns the addresses of the documents that the entry rests on.
func (e *Entry) Sources() []string { return urls(e.Claims) }

// Listed reports whether the entry is a line that blocks, for every program that
// reads the file as a plain list. Whether Telltale enforces or observes it is up
// to its tier.
func (e *Entry) Listed() bool { return e.listed }

// String returns the entry's name as a list writes it.
func (e *Entry) String() string {
	if e.Exact {
		return "=" + e.Name
	}
	return e.Name
}

// Covers reports whether the entry speaks of name, a domain name in lower case
// without trailing dot.
func (e *Entry) Covers(name string) bool {
	return name == e.Name || !e.Exact && below(name, e.Name)
}

// below reports whether name is a name below parent.
func below(name, parent string) bool {
	n := len(name) - len(parent)
	return n > 0 && name[n-1] == '.' && name[n:] == parent
}

// A Catalog is the parsed form of list files. It never changes.
type Catalog struct {
	entries []Entry          // in the order of files and lines
	byName  map[string][]int // entries by Name
	sources *Sources

	companies []Company // in the order of their table
	brands    []Brand   // in the order of their table
	edition   string    // a date, with a number where there are several of a day
	version   string    // identifies the text
}

// Load reads the shipped files.
func Load() (*Catalog, error) { return Shipped().Load() }

// Read reads the files *.txt at the root of fsys, and the tables beside them. A
// line that cannot be read is an error that names file and line: the shipped files
// have none.
func Read(fsys fs.FS) (*Catalog, error) { return read(fsys, versionOf(fsys)) }

func read(fsys fs.FS, version string) (*Catalog, error) {
	files, err := readFiles(fsys, "*.txt", sourcesFile, descentFile, companiesFile, brandsFile, editionFile)
	if err != nil {
		return nil, err
	}
	var first error
	c := &Catalog{byName: map[string][]int{}, sources: readSources(files, keepFirst(&first)), companies: readCompanies(files, keepFirst(&first)), edition: files.edition(), version: version}
	c.brands = readBrands(files, c.sources, keepFirst(&first))
	for _, name := range files.lists() {
		if err := c.read(name, files[name]); err != nil && first == nil {
			first = err
		}
	}
	if first != nil {
		return nil, fmt.Errorf("catalogue: %w", first)
	}
	return c, nil
}

// keepFirst returns a function that makes an error of the first mistake it is told
// of.
func keepFirst(err *error) func(file string, line int, what string) {
	return func(file string, line int, what string) {
		if *err == nil {
			*err = fmt.Errorf("%s:%d: %s", file, line, what)
		}
	}
}

// ReadSources reads the tables of sources at the root of fsys.
func ReadSources(fsys fs.FS) (*Sources, error) {
	files, err := readFiles(fsys, sourcesFile, descentFile)
	if err != nil {
		return nil, err
	}
	s := readSources(files, keepFirst(&err))
	return s, err
}

func (c *Catalog) read(name string, text []byte) error {
	var problem error
	report := format.Parse(bytes.NewReader(text), format.Options{Name: strings.TrimSuffix(name, path.Ext(name))}, func(r *format.Rule) {
		e := entry(r)
		e.File = name
		if what := c.add(&e); what != "" && problem == nil {
			problem = fmt.Errorf("%s:%d: %s", name, e.Line, what)
		}
	})
	if problem != nil {
		return problem
	}
	if report.Err != nil {
		return fmt.Errorf("%s: %w", name, report.Err)
	}
	if len(report.Bad) > 0 {
		return fmt.Errorf("%s:%s", name, report.Bad[0])
	}
	return nil
}

// add takes an entry, computes what its claims make of it, and says what is wrong
// with them.
func (c *Catalog) add(e *Entry) (problem string) {
	if n := len(c.entries); n > 0 && c.entries[n-1].claims == e.claims {
		e.Claims = c.entries[n-1].Claims
	} else {
		e.Claims, problem = c.sources.claims(e.claims)
	}
	trust := c.sources.confidence(e.Claims, e.said == format.ReadOffName)
	e.Confidence, e.Independent, e.Contested = trust.Word, trust.Independent, trust.Contested
	c.byName[e.Name] = append(c.byName[e.Name], len(c.entries))
	c.entries = append(c.entries, *e)
	return problem
}

// entry makes an entry of a rule, of which it keeps nothing but the texts.
func entry(r *format.Rule) Entry {
	e := Entry{
		Name:   string(dnswire.AppendText(nil, r.Name)),
		Exact:  r.Match == format.Exact,
		Line:   r.Line,
		listed: r.Action == format.Block,
	}
	if n := r.Annotation; n != nil {
		e.Vendor, e.Product, e.Purpose, e.Tier, e.Region = n.Vendor, n.Product, n.Purpose, n.Tier, n.Region
		e.Breaks, e.Since, e.Software = n.Breaks, n.Since, n.Software
		e.claims, e.said, e.source = n.Claims, n.Confidence, n.Source
	}
	return e
}

// Entries returns all entries in the order of files and lines. Callers do not
// change them.
func (c *Catalog) Entries() []Entry { return c.entries }

// Name returns the entries that speak of a name, the most specific first: its
// own, then those of the domains above it, owners last among equals.
func (c *Catalog) Name(name string) []Entry {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	var found []Entry
	for at := name; at != ""; _, at, _ = strings.Cut(at, ".") {
		first := len(found)
		for _, i := range c.byName[at] {
			if c.entries[i].Covers(name) {
				found = append(found, c.entries[i])
			}
		}
		sorting.StableBy(found[first:], func(a, b Entry) int { return specificity(b) - specificity(a) })
	}
	return found
}

// specificity orders entries of one name: the name alone before the subtree,
// what is known of it before who owns it.
func specificity(e Entry) int {
	n := 0
	if e.Tier != "owner" {
		n += 2
	}
	if e.Exact {
		n++
	}
	return n
}

// Vendor returns the entries of a vendor, its name in any case.
func (c *Catalog) Vendor(vendor string) []Entry {
	var found []Entry
	for _, e := range c.entries {
		if strings.EqualFold(e.Vendor, vendor) {
			found = append(found, e)
		}
	}
	return found
}

// A Count says how much the catalogue knows of a vendor, in entries by tier.
type Count struct {
	Vendor    string `json:"vendor"`
	Telemetry int    `json:"telemetry"`
	Mixed     int    `json:"mixed"`
	Essential int    `json:"essential"`
	Owner     int    `json:"owner"`
}

// Total is the number of the vendor's entries.
func (n Count) Total() int { return n.Telemetry + n.Mixed + n.Essential + n.Owner }

// Vendors returns the vendors in alphabetical order, case aside.
func (c *Catalog) Vendors() []Count {
	at := map[string]int{}
	var counts []Count
	for _, e := range c.entries {
		i, ok := at[e.Vendor]
		if !ok {
			i = len(counts)
			at[e.Vendor] = i
			counts = append(counts, Count{Vendor: e.Vendor})
		}
		counts[i].add(e.Tier)
	}
	sorting.By(counts, func(a, b Count) int {
		return strings.Compare(strings.ToLower(a.Vendor), strings.ToLower(b.Vendor))
	})
	return counts
}

func (n *Count) add(tier string) {
	switch tier {
	case "telemetry":
		n.Telemetry++
	case "mixed":
		n.Mixed++
	case "essential":
		n.Essential++
	case "owner":
		n.Owner++
	}
}
