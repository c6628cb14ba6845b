package catalog

import (
	"cmp"
	"slices"
	"strings"
)

// A Company is who a vendor is, as far as a document says so.
type Company struct {
	Vendor  string   `json:"vendor"` // as the catalogue names it
	Parent  string   `json:"parent,omitempty"`
	Country string   `json:"country,omitempty"` // of its seat: two letters of ISO 3166
	Privacy string   `json:"privacy,omitempty"` // address of what it says about privacy
	OptOuts []OptOut `json:"opt_outs,omitempty"`
}

// An OptOut is what a person can switch off.
type OptOut struct {
	URL    string   `json:"url,omitempty"`   // of the page on which it is done
	Steps  string   `json:"steps,omitempty"` // to the setting
	Silent []string `json:"silent"`          // names that should be asked for no more
	Source string   `json:"source"`          // who says so
	Date   string   `json:"date"`            // when that was read
}

const companiesFile = "companies.tsv"

// readCompanies reads the table of companies, in its order. A company with several
// settings has several lines.
func readCompanies(files fileSet, bad func(file string, line int, what string)) (all []Company) {
	files.table(companiesFile, 9, bad, func(line int, row []string) {
		say := func(what string) { bad(companiesFile, line, row[0]+": "+what) }
		c := Company{Vendor: row[0], Parent: row[1], Country: row[2], Privacy: row[3]}
		o := OptOut{URL: row[4], Steps: row[5], Silent: strings.Fields(row[6]), Source: row[7], Date: row[8]}
		switch {
		case c.Vendor == "":
			say("no vendor: write it as the list files do")
		case c.Country != "" && !slices.Contains(countries, strings.ToLower(c.Country)) || c.Country != strings.ToUpper(c.Country):
			say("country " + c.Country + " is unknown: write two letters of ISO 3166 in upper case")
		case o.Source == "" || !day.MatchString(o.Date):
			say("say where it was read, and on which day (2026-05-16)")
		}
		for _, url := range []string{c.Privacy, o.URL, o.Source} {
			if url != "" && (!strings.HasPrefix(url, "https://") || strings.ContainsAny(url, " \t")) {
				say(url + " is no address: write https://...")
			}
		}
		at := slices.IndexFunc(all, func(k Company) bool { return strings.EqualFold(k.Vendor, c.Vendor) })
		if at < 0 {
			all, at = append(all, c), len(all)
		} else if k := &all[at]; k.Parent != c.Parent || k.Country != c.Country || k.Privacy != c.Privacy {
			say("parent, country or privacy page differ from those of an earlier line: keep one")
		}
		if o.URL != "" || o.Steps != "" {
			all[at].OptOuts = append(all[at].OptOuts, o)
		}
	})
	return all
}

// Country is the name of a country by its two letters, or the letters where it has
// none here.
func Country(code string) string { return cmp.Or(countryNames[code], code) }

// Company returns what is known of a vendor; ok is false for nothing.
func (c *Catalog) Company(vendor string) (company Company, ok bool) {
	at := slices.IndexFunc(c.companies, func(k Company) bool { return strings.EqualFold(k.Vendor, vendor) })
	if at < 0 {
		return Company{}, false
	}
	return c.companies[at], true
}

// companies checks the table of companies against the entries.
func (c *checker) companies(files fileSet) {
	say := func(file string, line int, what string) { c.say(file, line, "%s", what) }
	c.catalog.companies = readCompanies(files, say)
	files.table(companiesFile, 9, func(string, int, string) {}, func(line int, row []string) {
		if c.catalog.Vendor(row[0]) == nil {
			c.say(companiesFile, line, "%s: is no vendor of the list files: write it as they do", row[0])
		}
		if name := row[2]; name != "" && countryNames[name] == "" {
			c.say(companiesFile, line, "%s: country %s has no name yet: add it to countryNames in words.go", row[0], name)
		}
		for name := range strings.FieldsSeq(row[6]) {
			if found := c.catalog.Name(strings.TrimPrefix(name, "=")); len(found) == 0 || found[0].Tier == "owner" {
				c.say(companiesFile, line, "%s: %s should fall silent, and is no name that the list files know the purpose of: add it there", row[0], name)
			}
		}
	})
}
