package catalog

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"telltale/sorting"
)

// Licence is that of the catalogue as data.
const Licence = "Apache-2.0"

// A Document is the catalogue as data for other programs: what schema.json
// describes. Its words never change their meaning; new ones may be added.
type Document struct {
	Edition   string            `json:"edition"` // a date; of two editions the later one is newer
	Version   string            `json:"version"` // identifies the text
	Licence   string            `json:"licence"`
	Sources   map[string]Source `json:"sources"` // by id
	Entries   []DocumentEntry   `json:"entries"` // sorted by name
	Companies []Company         `json:"companies"`
	Brands    []Brand           `json:"brands"`
}

// A DocumentEntry is an entry as data: its claims name sources by id.
type DocumentEntry struct {
	Name        string          `json:"name"`
	Exact       bool            `json:"exact"`
	Vendor      string          `json:"vendor"`
	Product     string          `json:"product,omitempty"`
	Purpose     string          `json:"purpose,omitempty"`
	Tier        string          `json:"tier"`
	Region      string          `json:"region,omitempty"`
	Breaks      string          `json:"breaks,omitempty"`
	Since       string          `json:"since,omitempty"`
	Software    string          `json:"software,omitempty"`
	Confidence  string          `json:"confidence"`
	Independent int             `json:"independent"`
	Contested   bool            `json:"contested"`
	Claims      []DocumentClaim `json:"claims"`
}

// A DocumentClaim is what one source says of an entry.
type DocumentClaim struct {
	Kind   Kind   `json:"kind"`
	Source string `json:"source"`
}

// String returns the entry's name as a list writes it.
func (e *DocumentEntry) String() string {
	if e.Exact {
		return "=" + e.Name
	}
	return e.Name
}

// Document returns the catalogue as data.
func (c *Catalog) Document() *Document {
	d := &Document{Edition: c.edition, Version: c.version, Licence: Licence, Sources: map[string]Source{}, Companies: c.companies, Brands: c.brands}
	for _, b := range c.brands {
		d.addSource(c.BrandSource(b))
	}
	for i := range c.entries {
		e := &c.entries[i]
		entry := DocumentEntry{
			Name: e.Name, Exact: e.Exact, Vendor: e.Vendor, Product: e.Product, Purpose: e.Purpose, Tier: e.Tier, Region: e.Region,
			Breaks: e.Breaks, Since: e.Since, Software: e.Software, Confidence: e.Confidence, Independent: e.Independent, Contested: e.Contested,
		}
		for _, claim := range e.Claims {
			d.addSource(claim.Source)
			entry.Claims = append(entry.Claims, DocumentClaim{claim.Kind, claim.Source.ID})
		}
		d.Entries = append(d.Entries, entry)
	}
	sorting.By(d.Entries, func(a, b DocumentEntry) int { return strings.Compare(a.key(), b.key()) })
	return d
}

func (d *Document) addSource(s *Source) {
	source := *s
	source.line = 0 // of its table, which is not in the document
	d.Sources[source.ID] = source
}

// key identifies an entry: a name may have an owner and something known of it.
func (e *DocumentEntry) key() string {
	if e.Tier == "owner" {
		return e.String() + " owner"
	}
	return e.String()
}

// WriteJSON writes the document as JSON, an entry in a line.
func (d *Document) WriteJSON(w io.Writer) error {
	head := *d
	head.Entries = nil
	b, err := json.Marshal(head)
	if err != nil {
		return err
	}
	before, after, _ := strings.Cut(string(b), `"entries":null`)
	if _, err := io.WriteString(w, before+"\"entries\":[\n"); err != nil {
		return err
	}
	for i := range d.Entries {
		line, err := json.Marshal(&d.Entries[i])
		if err != nil {
			return err
		}
		end := ",\n"
		if i == len(d.Entries)-1 {
			end = "\n"
		}
		if _, err := io.WriteString(w, string(line)+end); err != nil {
			return err
		}
	}
	_, err = io.WriteString(w, "]"+after+"\n")
	return err
}

// csvHead are the columns of the CSV form.
var csvHead = []string{"name", "exact", "vendor", "product", "purpose", "tier", "region", "breaks", "since", "software", "confidence", "independent", "contested", "claims", "sources"}

// WriteCSV writes the entries as CSV (RFC 4180), with claims as the list files have
// them, and the addresses of their sources behind one another.
func (d *Document) WriteCSV(w io.Writer) error {
	out := csv.NewWriter(w)
	out.UseCRLF = true
	if err := out.Write(csvHead); err != nil {
		return err
	}
	for _, e := range d.Entries {
		var claims, sources []string
		for _, c := range e.Claims {
			claims = append(claims, string(c.Kind)+":"+c.Source)
			if url := d.Sources[c.Source].URL; !slices.Contains(sources, url) {
				sources = append(sources, url)
			}
		}
		row := []string{e.Name, fmt.Sprint(e.Exact), e.Vendor, e.Product, e.Purpose, e.Tier, e.Region, e.Breaks, e.Since, e.Software,
			e.Confidence, fmt.Sprint(e.Independent), fmt.Sprint(e.Contested), strings.Join(claims, " "), strings.Join(sources, " ")}
		if err := out.Write(row); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

// ReadDocument reads what WriteJSON wrote, of this or an earlier edition.
func ReadDocument(r io.Reader) (*Document, error) {
	d := &Document{}
	if err := json.NewDecoder(r).Decode(d); err != nil {
		return nil, err
	}
	if d.Edition == "" || len(d.Entries) == 0 {
		return nil, fmt.Errorf("it has no edition or no entries: it is no export of the catalogue")
	}
	return d, nil
}

// WriteChanges writes what changed between two editions, entry by entry.
func WriteChanges(w io.Writer, before, after *Document) error {
	old := map[string]*DocumentEntry{}
	for i := range before.Entries {
		old[before.Entries[i].key()] = &before.Entries[i]
	}
	var added, changed []string
	for i := range after.Entries {
		e := &after.Entries[i]
		o := old[e.key()]
		delete(old, e.key())
		if o == nil {
			added = append(added, fmt.Sprintf("- `%s`: %s", e, e.what()))
		} else if what := e.changes(o, before, after); len(what) > 0 {
			changed = append(changed, fmt.Sprintf("- `%s`: %s", e, strings.Join(what, "; ")))
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# Changes of the catalogue from edition %s to %s\n", before.Edition, after.Edition)
	section := func(title string, lines []string) {
		if len(lines) > 0 {
			fmt.Fprintf(&b, "\n## %s: %d\n\n%s\n", title, len(lines), strings.Join(lines, "\n"))
		}
	}
	section("New", added)
	section("Changed", changed)
	var removed []string
	for _, key := range slices.Sorted(maps.Keys(old)) {
		removed = append(removed, fmt.Sprintf("- `%s`: was %s", old[key], old[key].what()))
	}
	section("Removed", removed)
	if len(added)+len(changed)+len(removed) == 0 {
		b.WriteString("\nNothing.\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// what says in a few words what an entry is.
func (e *DocumentEntry) what() string {
	if e.Tier == "owner" {
		return e.Vendor + "'s domain"
	}
	return e.Vendor + ", " + e.Purpose + ", " + e.Tier
}

// changes says in which fields an entry differs from the one of another edition.
func (e *DocumentEntry) changes(old *DocumentEntry, before, after *Document) (what []string) {
	for _, f := range []struct{ field, was, is string }{
		{"vendor", old.Vendor, e.Vendor}, {"product", old.Product, e.Product}, {"purpose", old.Purpose, e.Purpose}, {"tier", old.Tier, e.Tier},
		{"region", old.Region, e.Region}, {"breaks", old.Breaks, e.Breaks}, {"software", old.Software, e.Software}, {"confidence", old.Confidence, e.Confidence},
	} {
		if f.was != f.is {
			what = append(what, fmt.Sprintf("%s was %q, is %q", f.field, f.was, f.is))
		}
	}
	if was, is := old.claims(before), e.claims(after); !slices.Equal(was, is) {
		n := 0
		for _, c := range is {
			if !slices.Contains(was, c) {
				n++
			}
		}
		what = append(what, fmt.Sprintf("claims: %d new, %d gone", n, len(was)-len(is)+n))
	}
	return what
}

// claims are an entry's claims as kind and address, since ids may change.
func (e *DocumentEntry) claims(d *Document) (all []string) {
	for _, c := range e.Claims {
		all = append(all, string(c.Kind)+" "+d.Sources[c.Source].URL)
	}
	slices.Sort(all)
	return all
}
