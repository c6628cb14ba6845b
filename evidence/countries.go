package evidence

import (
	"cmp"
	"strings"

	"telltale/sorting"
)

// SumCountries makes Countries of Destinations and of the names of vendors.
func (r *Report) SumCountries() {
	led := map[string][]string{} // countries, by name
	sums := map[string]*Country{}
	for i := range r.Destinations {
		d := &r.Destinations[i]
		led[d.Name] = d.Countries
		for _, country := range d.Countries {
			sum(sums, country).Names++
		}
	}
	if len(sums) == 0 {
		return
	}
	for i := range r.Vendors {
		for k := range r.Vendors[i].Names {
			n := &r.Vendors[i].Names[k]
			counted := map[string]bool{}
			for _, name := range []string{n.Name, n.Alias} {
				for ; name != ""; _, name, _ = strings.Cut(name, ".") {
					for _, country := range led[name] {
						if !counted[country] {
							counted[country] = true
							sums[country].add(n.Counts.Count)
						}
					}
				}
			}
		}
	}
	for country, c := range sums {
		c.Country = country
		r.Countries = append(r.Countries, *c)
	}
	sorting.By(r.Countries, func(a, b Country) int {
		return cmp.Or(cmp.Compare(b.In(r.Unit), a.In(r.Unit)), cmp.Compare(b.Lookups, a.Lookups), cmp.Compare(a.Country, b.Country))
	})
}
