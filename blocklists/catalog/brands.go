package catalog

import (
	"slices"
	"strings"
)

// A Brand is a word by which documents know a vendor: what a list of TikTok's names
// has is ByteDance's.
type Brand struct {
	Name   string `json:"name"`
	Vendor string `json:"vendor"` // as the catalogue names it
	Source string `json:"source"` // id of the document that says whose it is
}

const brandsFile = "brands.tsv"

// readBrands reads the table of brands, in its order.
func readBrands(files fileSet, sources *Sources, bad func(file string, line int, what string)) (all []Brand) {
	files.table(brandsFile, 3, bad, func(line int, row []string) {
		say := func(what string) { bad(brandsFile, line, row[0]+": "+what) }
		b := Brand{row[0], row[1], row[2]}
		switch at := slices.IndexFunc(all, func(o Brand) bool { return strings.EqualFold(o.Name, b.Name) }); {
		case b.Name == "" || b.Vendor == "":
			say("write the brand, the vendor as the list files do, and the id of the document that says so")
		case strings.EqualFold(b.Name, b.Vendor):
			say("is the vendor's own name: it needs no line")
		case at >= 0:
			say("is under " + all[at].Vendor + " already: a brand has one vendor")
		case sources.byID[b.Source] == nil:
			say("the source " + b.Source + " is not in " + sourcesFile + ": add it there, with its address")
		default:
			all = append(all, b)
		}
	})
	return all
}

// Brands returns the words by which documents know a vendor, in the order of their
// table.
func (c *Catalog) Brands(vendor string) (all []Brand) {
	for _, b := range c.brands {
		if strings.EqualFold(b.Vendor, vendor) {
			all = append(all, b)
		}
	}
	return all
}

// BrandSource returns the document that says whose a brand is.
func (c *Catalog) BrandSource(b Brand) *Source { return c.sources.byID[b.Source] }

// checkBrands checks the table of brands against the entries.
func (c *checker) checkBrands(files fileSet) {
	c.catalog.brands = readBrands(files, c.catalog.sources, func(file string, line int, what string) { c.say(file, line, "%s", what) })
	files.table(brandsFile, 3, func(string, int, string) {}, func(line int, row []string) {
		if row[1] != "" && c.catalog.Vendor(row[1]) == nil {
			c.say(brandsFile, line, "%s: %s is no vendor of the list files: write it as they do", row[0], row[1])
		}
	})
}
