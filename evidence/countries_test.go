package evidence

import (
	"fmt"
	"testing"
)

// A lookup counts once in each country that its name, its alias, or a name that it is below leads to.
func TestLookupsCountOnceInACountry(t *testing.T) {
	name := func(name, alias string, lookups uint64) Name {
		return Name{Name: name, Alias: alias, Counts: Counts{Count: Count{Attempts: 1, Lookups: lookups}}}
	}
	r := &Report{
		Unit: UnitLookups, Countries: []Country{},
		Vendors: []Vendor{
			{Names: []Name{name("a.vendor.example", "", 5), name("x.a.vendor.example", "", 7), name("vendor.example", "", 100), name("", "", 1000)}},
			{Names: []Name{name("other.example", "b.vendor.example", 11), name("far.example", "", 20)}},
		},
		Destinations: []Destination{
			{Name: "a.vendor.example", Countries: []string{"DE", "US"}},
			{Name: "x.a.vendor.example", Countries: []string{"DE"}}, // already by the name that it is below
			{Name: "b.vendor.example", Countries: []string{"US"}},
			{Name: "far.example", Countries: []string{"SG"}},
			{Name: "nowhere.example", Countries: []string{}},
		},
	}
	r.SumCountries()
	got := ""
	for _, c := range r.Countries {
		got += fmt.Sprintf("%s %d names %d attempts %d lookups; ", c.Country, c.Names, c.Attempts, c.Lookups)
	}
	if want := "US 2 names 3 attempts 23 lookups; SG 1 names 1 attempts 20 lookups; DE 2 names 2 attempts 12 lookups; "; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	none := &Report{Countries: []Country{}, Destinations: []Destination{{Name: "a.example"}}}
	if none.SumCountries(); len(none.Countries) != 0 {
		t.Errorf("without a database: got %v", none.Countries)
	}
}
