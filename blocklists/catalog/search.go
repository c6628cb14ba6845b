package catalog

import (
	"slices"
	"strings"
)

// A Match is what a search found by one way.
type Match struct {
	By      string  `json:"by"`   // name, vendor, product, software, company, purpose, set, region, seat or brand
	What    string  `json:"what"` // the word of the catalogue that fits
	Vendor  string  `json:"vendor,omitempty"`
	Count   Count   `json:"count"`
	Entries []Entry `json:"-"`
}

// Search finds what people call things: a domain name, a vendor, a product or a part
// of its name, the software of a collector, a company's parent, a purpose, a set, a
// region, and the country of a company's seat by name or two letters. A vendor or
// name of exactly that text is all that is found; a brand is looked for where
// nothing else has the text.
func (c *Catalog) Search(text string) []Match {
	text = strings.TrimSpace(text)
	if text == "" {
		return nil
	}
	if found := c.Vendor(text); found != nil {
		return []Match{newMatch("vendor", found[0].Vendor, found)}
	}
	if found := c.Name(text); len(found) > 0 {
		return []Match{newMatch("name", found[0].Name, found)}
	}
	var all []Match
	all = append(all, c.group("product", func(e *Entry) string { return e.Product }, text)...)
	all = append(all, c.group("software", func(e *Entry) string { return e.Software }, text)...)
	all = append(all, c.group("vendor", func(e *Entry) string { return e.Vendor }, text)...)
	for _, k := range c.companies {
		if hasWords(k.Parent, text) {
			all = append(all, newMatch("company", k.Parent, c.Vendor(k.Vendor)))
		}
	}
	if isPurpose(strings.ToLower(text)) {
		all = append(all, c.group("purpose", func(e *Entry) string { return e.Purpose }, text)...)
	}
	if entries, ok := c.Set(strings.ToLower(text)); ok {
		all = append(all, newMatch("set", strings.ToLower(text), entries))
	}
	code := strings.ToLower(text)
	for c, name := range countryNames {
		if strings.EqualFold(name, text) {
			code = strings.ToLower(c)
		}
	}
	if regionKnown(code) {
		all = append(all, c.group("region", func(e *Entry) string { return e.Region }, code)...)
		for _, k := range c.companies {
			if strings.EqualFold(k.Country, code) {
				all = append(all, newMatch("seat", k.Country, c.Vendor(k.Vendor)))
			}
		}
	}
	if len(all) == 0 {
		for _, b := range c.brands {
			if strings.EqualFold(b.Name, text) {
				all = append(all, newMatch("brand", b.Name, c.Vendor(b.Vendor)))
			}
		}
	}
	return slices.DeleteFunc(all, func(m Match) bool { return len(m.Entries) == 0 })
}

// group returns the entries one word of which has the text, by word and vendor, in
// the order in which they stand.
func (c *Catalog) group(by string, word func(*Entry) string, text string) (all []Match) {
	at := map[[2]string]int{}
	for i := range c.entries {
		e := &c.entries[i]
		w := word(e)
		if w == "" || !hasWords(w, text) {
			continue
		}
		key := [2]string{w, e.Vendor}
		n, ok := at[key]
		if !ok {
			n = len(all)
			at[key] = n
			all = append(all, Match{By: by, What: w, Vendor: e.Vendor, Count: Count{Vendor: e.Vendor}})
		}
		all[n].Entries = append(all[n].Entries, *e)
		all[n].Count.add(e.Tier)
	}
	return all
}

func newMatch(by, what string, entries []Entry) Match {
	m := Match{By: by, What: what, Entries: entries}
	for i := range entries {
		m.Count.add(entries[i].Tier)
	}
	if len(entries) > 0 && !slices.ContainsFunc(entries, func(e Entry) bool { return e.Vendor != entries[0].Vendor }) {
		m.Vendor = entries[0].Vendor
	}
	m.Count.Vendor = m.Vendor
	return m
}

// hasWords reports whether text stands in s as whole words, case aside.
func hasWords(s, text string) bool {
	s, text = strings.ToLower(s), strings.ToLower(text)
	for from := 0; ; {
		i := strings.Index(s[from:], text)
		if i < 0 || text == "" {
			return false
		}
		i += from
		if end := i + len(text); (i == 0 || !isWordByte(s[i-1])) && (end == len(s) || !isWordByte(s[end])) {
			return true
		}
		from = i + 1
	}
}

func isWordByte(b byte) bool {
	return b >= 'a' && b <= 'z' || b >= '0' && b <= '9' || b >= 0x80
}
