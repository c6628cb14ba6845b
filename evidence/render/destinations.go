package render

import (
	"fmt"
	"strings"

	"telltale/evidence"
)

// destinationsText is what is said of where names lead.
const destinationsText = "Where listed names led when Telltale itself asked the upstreams: no lookup of a device's, and no connection. A country is where a database says that an address is; where data goes is not in DNS."

// textDestinations is how many names text shows.
const textDestinations = 10

// destinations writes where names lead, for a terminal.
func (t *textWriter) destinations() {
	all := t.r.Destinations
	if len(all) == 0 {
		return
	}
	t.head("WHERE THEY LEAD")
	t.wrap("  ", destinationsText)
	if len(t.r.Countries) > 0 {
		t.wrap("  ", "By country: "+countries(t.r))
	}
	for i := range all[:min(len(all), textDestinations)] {
		d := &all[i]
		t.wrap("  ", fmt.Sprintf("%s (%s), asked %s, so since %s", d.Name, d.Vendor, evidence.Short(d.Asked.Time, t.r.Location), evidence.Short(d.Since.Time, t.r.Location)))
		for _, line := range d.Text {
			t.wrap("      ", line)
		}
	}
	if more := len(all) - textDestinations; more > 0 {
		t.wrap("  ", fmt.Sprintf("and %s more: 'telltale destinations' shows them", evidence.Plural(uint64(more), "name")))
	}
}

// countriesText is what is said of the sums of countries.
const countriesText = "A name that leads to several countries counts in each."

// textCountries is how many countries a line has.
const textCountries = 12

// countries says how much was asked of names that lead to each country.
func countries(r *evidence.Report) string {
	var parts []string
	for i := range r.Countries[:min(len(r.Countries), textCountries)] {
		c := &r.Countries[i]
		parts = append(parts, fmt.Sprintf("%s %s (%s)", c.Country, evidence.Number(c.In(r.Unit)), evidence.Plural(uint64(c.Names), "name")))
	}
	text := strings.Join(parts, ", ")
	if more := len(r.Countries) - textCountries; more > 0 {
		text += fmt.Sprintf(", and %d more", more)
	}
	return text + " " + r.Unit + ". " + countriesText
}

// destinations writes them as a table.
func (m *markdown) destinations() {
	if all := m.r.Destinations; len(all) > 0 {
		m.table("Where they lead", destinationsText, []string{"Name", "Vendor", "Since", "Asked", "Leads to"}, len(all), func(i int) []string {
			d := &all[i]
			return []string{d.Name, d.Vendor, evidence.Short(d.Since.Time, m.r.Location), evidence.Short(d.Asked.Time, m.r.Location), strings.Join(d.Text, "; ")}
		})
	}
	if all := m.r.Countries; len(all) > 0 {
		m.table("By country", countriesText, []string{"Country, by databases", "Names", "Attempts", "Lookups"}, len(all), func(i int) []string {
			c := &all[i]
			return []string{c.Country, evidence.Number(uint64(c.Names)), evidence.Number(c.Attempts), evidence.Number(c.Lookups)}
		})
	}
}

// destinations writes them on the page.
func (p *page) destinations() {
	all := p.r.Destinations
	if len(all) == 0 {
		return
	}
	p.section("Where they lead")
	p.f("<p>%s</p>\n", destinationsText)
	var rows [][]cell
	for i := range all {
		d := &all[i]
		rows = append(rows, []cell{txt(d.Name), txt(d.Vendor), txt(strings.Join(d.Operators, ", ")), txt(strings.Join(d.Countries, ", ")), txt(strings.Join(d.Text, "; ")), p.at(d.Since), p.at(d.Asked)})
	}
	if len(p.r.Countries) > 0 {
		var sums [][]cell
		for i := range p.r.Countries {
			c := &p.r.Countries[i]
			sums = append(sums, []cell{txt(c.Country), num(uint64(c.Names)), num(c.Attempts), num(c.Lookups)})
		}
		p.f("<p>%s</p>\n", countriesText)
		p.table("By country", []string{"Country, by databases", "Names", "Attempts", "Lookups"}, sums)
	}
	p.table("Where listed names led", []string{"Name", "Vendor", "Operators", "Countries, by databases", "In words", "Since", "Asked"}, rows)
	p.end()
}
