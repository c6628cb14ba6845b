package catalog

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"telltale/blocklists/format"
)

var update = flag.Bool("update", false, "write docs/catalogue anew")

const (
	pagesDir     = "../../docs/catalogue"
	contributing = "contributing.md" // is written by hand
)

// The pages are the catalogue for people: one per list file, and an index.
func TestPages(t *testing.T) {
	want := pages(t, load(t))
	if *update {
		writePages(t, want)
	}
	have, err := filepath.Glob(filepath.Join(pagesDir, "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range have {
		if name := filepath.Base(file); want[name] == nil && name != contributing {
			t.Errorf("%s is of no list file: remove it, or run go generate ./blocklists/catalog", file)
		}
	}
	for name, page := range want {
		if got, _ := os.ReadFile(filepath.Join(pagesDir, name)); !bytes.Equal(got, page) {
			t.Errorf("docs/catalogue/%s is out of date: run go generate ./blocklists/catalog", name)
		}
	}
}

func writePages(t *testing.T, pages map[string][]byte) {
	t.Helper()
	if err := os.MkdirAll(pagesDir, 0o755); err != nil {
		t.Fatal(err)
	}
	old, _ := filepath.Glob(filepath.Join(pagesDir, "*.md"))
	for _, file := range old {
		if name := filepath.Base(file); pages[name] == nil && name != contributing {
			os.Remove(file)
		}
	}
	for name, page := range pages {
		if err := os.WriteFile(filepath.Join(pagesDir, name), page, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

const generated = "<!-- Made by go generate ./blocklists/catalog: edit the list files instead. -->\n\n"

// pages renders the catalogue, by file name.
func pages(t *testing.T, c *Catalog) map[string][]byte {
	t.Helper()
	byFile := map[string][]Entry{}
	for _, e := range c.Entries() {
		byFile[e.File] = append(byFile[e.File], e)
	}
	result := map[string][]byte{"README.md": append(index(t, c), byHand(t, "README")...)}
	for _, file := range slices.Sorted(maps.Keys(byFile)) {
		text, err := fs.ReadFile(FS(), file)
		if err != nil {
			t.Fatal(err)
		}
		title, note := head(string(text))
		p := &page{links: map[string]int{}}
		fmt.Fprintf(p, "%s# %s\n\n%sThe list file is [%s](../../blocklists/catalog/%s); what the words mean is in [docs/catalogue.md](../catalogue.md).\n", generated, title, note, file, file)
		p.WriteString(byHand(t, strings.TrimSuffix(file, ".txt")))
		p.vendors(c, byFile[file])
		p.references()
		result[strings.TrimSuffix(file, ".txt")+".md"] = p.Bytes()
	}
	return result
}

// byHand is the part of a page that is written by hand: notes/NAME.md.
func byHand(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(pagesDir, "notes", name+".md"))
	if errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	if err != nil {
		t.Fatal(err)
	}
	return "\n" + string(b)
}

// head returns the title of a list file, and the paragraph that is its own.
func head(text string) (title, note string) {
	rest := strings.Split(text, "\n")
	title = strings.TrimPrefix(rest[0], "# ")
	if len(rest) < 3 || strings.HasPrefix(rest[2], "# Which names") {
		return title, ""
	}
	var b strings.Builder
	for _, line := range rest[2:] {
		if line = strings.TrimPrefix(line, "#"); strings.TrimSpace(line) == "" {
			break
		}
		b.WriteString(strings.TrimSpace(line) + "\n")
	}
	return title, b.String() + "\n"
}

// index is the page of all vendors and of the words.
func index(t *testing.T, c *Catalog) []byte {
	var b bytes.Buffer
	vendors := c.Vendors()
	var all Count
	of := map[string][]string{} // pages of a vendor
	for _, e := range c.Entries() {
		all.add(e.Tier)
		if name := strings.TrimSuffix(e.File, ".txt"); !slices.Contains(of[e.Vendor], name) {
			of[e.Vendor] = append(of[e.Vendor], name)
		}
	}
	fmt.Fprintf(&b, "%s# The catalogue\n\n%d names of %d vendors: %d blocked by default, %d observed, %d essential; and %d domains with their owners.\n"+
		"[How to read it and how to add to it](../catalogue.md).\n\n", generated, all.Total()-all.Owner, len(vendors), all.Telemetry, all.Mixed, all.Essential, all.Owner)
	fmt.Fprint(&b, "| vendor | blocked | observed | essential | domains owned | page |\n|---|--:|--:|--:|--:|---|\n")
	for _, n := range vendors {
		links := make([]string, 0, 2)
		for _, name := range of[n.Vendor] {
			links = append(links, fmt.Sprintf("[%s](%s.md)", name, name))
		}
		fmt.Fprintf(&b, "| %s | %d | %d | %d | %d | %s |\n", n.Vendor, n.Telemetry, n.Mixed, n.Essential, n.Owner, strings.Join(links, ", "))
	}
	fmt.Fprint(&b, "\n## Sets across vendors\n\n| set | what | names |\n|---|---|--:|\n")
	for _, s := range Sets {
		entries, _ := c.Set(s.Name)
		fmt.Fprintf(&b, "| %s | %s | %d |\n", s.Name, s.Meaning, len(entries))
	}
	fmt.Fprint(&b, "\n## Purposes\n\n| purpose | what | names |\n|---|---|--:|\n")
	for _, p := range Purposes {
		n := 0
		for _, e := range c.Entries() {
			if e.Purpose == p.Name {
				n++
			}
		}
		fmt.Fprintf(&b, "| %s | %s | %d |\n", p.Name, p.Meaning, n)
	}
	b.WriteString(figures(t, c))
	return b.Bytes()
}

// figures says what was measured on what, so that nobody takes a list that fed the
// catalogue for a test of it.
func figures(t *testing.T, c *Catalog) string {
	var b strings.Builder
	words := map[string]int{}
	single, contested, breaks := 0, 0, 0
	for _, e := range c.Entries() {
		if e.Tier == "owner" {
			continue
		}
		words[e.Confidence]++
		if e.Independent == 1 {
			single++
		}
		if e.Contested {
			contested++
		}
		if slices.ContainsFunc(e.Claims, func(c Claim) bool { return c.Kind == StatesBreakage }) {
			breaks++
		}
	}
	fmt.Fprint(&b, "\n## How sure it is\n\n| confidence | names |\n|---|--:|\n")
	for _, word := range []string{format.VendorDocuments, format.Measured, format.Stated, format.ReadOffName, format.Listed} {
		fmt.Fprintf(&b, "| %s | %d |\n", word, words[word])
	}
	fmt.Fprintf(&b, "\n%d names rest on one source (those that copy one another are one), %d are contested, and of %d a source says what breaks.\n", single, contested, breaks)

	kinds, studies, all := households(t, c)
	fmt.Fprint(&b, "\n## How much of what devices ask for it knows\n\n"+
		"Names that devices asked for in laboratories and homes, and that makers' documents list for an idle device\n"+
		"([testdata/households.tsv](../../blocklists/catalog/testdata/households.tsv), our own selection); a name counts once for each kind of device.\n\n")
	b.WriteString(householdTable(kinds, all))
	urls := studyURLs(t)
	fmt.Fprint(&b, "\nA study whose documents the entries cite has fed the catalogue: its figures say how much of it was taken over, and are no test.\n\n"+
		"| study | names | with a vendor | with a purpose | fed the catalogue |\n|---|--:|--:|--:|---|\n")
	for _, name := range slices.Sorted(maps.Keys(studies)) {
		n, answer := studies[name], "no"
		if fed(c, urls[name]) {
			answer = "yes"
		}
		fmt.Fprintf(&b, "| %s | %d | %s | %s | %s |\n", strings.TrimPrefix(name, "study "), n.names, share(n.vendor, n.names), share(n.rule, n.names), answer)
	}
	fmt.Fprintf(&b, "\n%d hosts that do something useful ([testdata/functional.tsv](../../blocklists/catalog/testdata/functional.tsv)) are not blocked by default, alone or\n"+
		"through an alias that was recorded ([aliases.tsv](../../blocklists/catalog/aliases.tsv)); a test holds the lists against them.\n", len(notedRows(t, "functional.tsv", 3, 2)))
	return b.String()
}

// A page is one file of docs/catalogue being written.
type page struct {
	bytes.Buffer
	links map[string]int // addresses of sources, by number
	order []string
}

// vendors writes the entries of one list file, those that share all but the name
// in one row.
func (p *page) vendors(c *Catalog, entries []Entry) {
	vendor, tier := "", ""
	for len(entries) > 0 {
		e := entries[0]
		n := 1
		for n < len(entries) && sameRow(&e, &entries[n]) {
			n++
		}
		owner := e.Tier == "owner"
		if e.Vendor != vendor || owner != (tier == "owner") {
			if e.Vendor != vendor {
				fmt.Fprintf(p, "\n## %s\n", e.Vendor)
				p.brands(c, e.Vendor)
			}
			if owner {
				fmt.Fprint(p, "\n| domains owned | source |\n|---|---|\n")
			} else {
				fmt.Fprint(p, "\n| names | product | purpose | how sure | tier | since | breaks when blocked | sources |\n|---|---|---|---|---|---|---|---|\n")
			}
			vendor, tier = e.Vendor, e.Tier
		}
		p.row(entries[:n])
		entries = entries[n:]
	}
}

// brands writes by which words documents know a vendor.
func (p *page) brands(c *Catalog, vendor string) {
	var all []string
	for _, b := range c.Brands(vendor) {
		all = append(all, fmt.Sprintf("%s (%s)", b.Name, p.link(c.BrandSource(b))))
	}
	if len(all) > 0 {
		fmt.Fprintf(p, "\nBrands by which documents know it, each with the document that says whose it is: %s.\n", strings.Join(all, ", "))
	}
}

// sameRow reports whether two entries differ in nothing but name and region.
func sameRow(a, b *Entry) bool {
	return a.Vendor == b.Vendor && a.Product == b.Product && a.Purpose == b.Purpose && a.Tier == b.Tier && a.Breaks == b.Breaks &&
		a.Since == b.Since && a.said == b.said && a.Software == b.Software && a.claims == b.claims
}

func (p *page) row(entries []Entry) {
	e := entries[0]
	written := make([]string, len(entries))
	for i := range entries {
		written[i] = "`" + entries[i].String() + "`"
		if r := entries[i].Region; r != "" {
			written[i] += " " + r
		}
	}
	all := strings.Join(written, "<br>")
	if e.Tier == "owner" {
		fmt.Fprintf(p, "| %s | %s |\n", all, p.sources(e.Claims))
		return
	}
	product, purpose := e.Product, e.Purpose
	if e.Software != "" {
		product += " (runs " + e.Software + ")"
	}
	fmt.Fprintf(p, "| %s | %s | %s | %s | %s | %s | %s | %s |\n", all, product, purpose, e.Trust().Text(), e.Tier, e.Since, e.WhatBreaks(), p.sources(e.Claims))
}

// sources writes who says what, as links to the references at the end of the page.
func (p *page) sources(claims []Claim) string {
	var b strings.Builder
	kind := Kind("")
	for _, c := range claims {
		switch {
		case c.Kind != kind && kind != "":
			fmt.Fprintf(&b, "; %s: ", kindText[c.Kind])
		case c.Kind != kind:
			fmt.Fprintf(&b, "%s: ", kindText[c.Kind])
		default:
			b.WriteString(", ")
		}
		kind = c.Kind
		b.WriteString(p.link(c.Source))
	}
	return b.String()
}

// link writes a link to a reference at the end of the page.
func (p *page) link(s *Source) string {
	n, ok := p.links[s.URL]
	if !ok {
		p.order = append(p.order, s.URL)
		n = len(p.order)
		p.links[s.URL] = n
	}
	return fmt.Sprintf("[%s][%d]", s.ID, n)
}

// kindText is what a claim is on a page.
var kindText = map[Kind]string{
	VendorDocuments: "the vendor", Measured: "measured", StatesPurpose: "purpose", StatesBreakage: "breakage", Disputes: "does not break", HasTheName: "name",
}

func (p *page) references() {
	if len(p.order) > 0 {
		io.WriteString(p, "\n")
	}
	for i, s := range p.order {
		fmt.Fprintf(p, "[%d]: %s\n", i+1, s)
	}
}

// docs/catalogue.md is written by hand, but for its two vocabularies.
func TestTheDocumentedWordsAreThoseOfTheCode(t *testing.T) {
	b, err := os.ReadFile("../../docs/catalogue.md")
	if err != nil {
		t.Fatal(err)
	}
	doc := string(b)
	for _, p := range Purposes {
		if row := fmt.Sprintf("\n| `%s` | %s |\n", p.Name, p.Meaning); !strings.Contains(doc, row) {
			t.Errorf("docs/catalogue.md is without the row %q", row)
		}
	}
	for _, s := range Sets {
		if row := fmt.Sprintf("\n| `%s` | %s |\n", s.Name, s.Meaning); !strings.Contains(doc, row) {
			t.Errorf("docs/catalogue.md is without the row %q", row)
		}
	}
	for _, r := range Regions {
		if !strings.Contains(doc, "`"+r+"`") {
			t.Errorf("docs/catalogue.md is without the region %s", r)
		}
	}
}

// What docs/catalogue.md shows of a file is a file.
func TestTheDocumentedExampleIsRead(t *testing.T) {
	b, err := os.ReadFile("../../docs/catalogue.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), "\n```\n")
	example, _, ok := strings.Cut(rest, "\n```\n")
	if !ok {
		t.Fatal("docs/catalogue.md is without its example")
	}
	problems, err := Check(withSources("xiaomi.txt", example))
	if err != nil || len(problems) > 0 {
		t.Errorf("got %v %v", problems, err)
	}
}
