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
	for i := range all[:min(len(all), textDestinations)] {
		d := &all[i]
		t.wrap("  ", fmt.Sprintf("%s (%s), asked %s, so since %s", d.Name, d.Vendor, evidence.Short(d.Asked.Time, t.r.Location), evidence.Short(d.Since.Time, t.r.Location)))
		for _, line := range d.Text {
			t.wrap("      ", line)
		}
	}
	if more := len(all) - textDestinations; more > 0 {
		t.wrap("  ", fmt.Sprintf("and %s more: 'telltale destinations' shows them", plural(uint64(more), "name")))
	}
}

// destinations writes them as a table.
func (m *markdown) destinations() {
	if all := m.r.Destinations; len(all) > 0 {
		m.table("Where they lead", destinationsText, []string{"Name", "Vendor", "Since", "Asked", "Leads to"}, len(all), func(i int) []string {
			d := &all[i]
			return []string{d.Name, d.Vendor, evidence.Short(d.Since.Time, m.r.Location), evidence.Short(d.Asked.Time, m.r.Location), strings.Join(d.Text, "; ")}
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
	p.table("Where listed names led", []string{"Name", "Vendor", "Operators", "Countries, by databases", "In words", "Since", "Asked"}, rows)
	p.end()
}
