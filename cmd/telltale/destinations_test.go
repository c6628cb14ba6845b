package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"telltale/blocklists/catalog"
	"telltale/evidence"
	"telltale/querylog"
	"telltale/web"
)

func TestWhenNamesAreDueAtNight(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Skip(err)
	}
	for now, want := range map[string]string{
		"2026-11-28 03:16": "2026-11-27 03:17",
		"2026-11-28 03:17": "2026-11-28 03:17",
		"2026-11-28 23:59": "2026-11-28 03:17",
		"2026-11-01 00:00": "2026-10-31 03:17",
		"2026-10-25 03:30": "2026-10-25 03:17", // the night in which the clock is set back
	} {
		at, err := time.ParseInLocation("2006-01-02 15:04", now, berlin)
		if err != nil {
			t.Fatal(err)
		}
		if got := nightBefore(at).Format("2006-01-02 15:04"); got != want {
			t.Errorf("%s: got %s, want %s", now, got, want)
		}
	}
}

// A name as the log has it leads to that of the catalogue, which is the one that is asked for.
func TestANameOfTheLogLeadsToTheCatalogues(t *testing.T) {
	known, err := catalog.Load()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, vendor, kept, instead string }{
		{"token123.mistat.india.xiaomi.com", "", "mistat.india.xiaomi.com", "mistat.india.xiaomi.com"},
		{"mistat.india.xiaomi.com", "", "mistat.india.xiaomi.com", ""},
		{"token123.mistat.india.xiaomi.com", "Acme", "", "mistat.india.xiaomi.com"},
		{"own.example", "", "own.example", ""}, // in the catalogue no more
		{"other.example", "", "", ""},
		{"", "xiaomi", "mistat.india.xiaomi.com", ""},
	} {
		lines := []web.Destination{{Name: "mistat.india.xiaomi.com", Vendor: "Xiaomi"}, {Name: "own.example"}}
		lines, instead := chooseDestinations(lines, known, c.name, c.vendor)
		kept := ""
		for i := range lines {
			kept += lines[i].Name
		}
		if kept != c.kept || instead != c.instead {
			t.Errorf("%q %q: got %q, %q, want %q, %q", c.name, c.vendor, kept, instead, c.kept, c.instead)
		}
	}
}

// The list of names is cut, in alphabetical order; what is summed up by country is not.
func TestSumsByCountryAreOfAllNamesThatLead(t *testing.T) {
	const names = reportDestinations + 5
	r := &evidence.Report{Unit: evidence.UnitLookups, Vendors: []evidence.Vendor{{Vendor: "Vendor"}}}
	var all []querylog.Destination
	for i := range names {
		name := fmt.Sprintf("n%03d.example", i)
		r.Vendors[0].Names = append(r.Vendors[0].Names, evidence.Name{Name: name, Counts: evidence.Counts{Count: evidence.Count{Attempts: 1, Lookups: 2}}})
		all = append(all, querylog.Destination{Name: name, Found: `{"addresses":[{"address":"192.0.2.1","country":"DE"}]}`})
	}
	if err := putDestinations(r, all); err != nil {
		t.Fatal(err)
	}
	if got := len(r.Destinations); got != reportDestinations {
		t.Errorf("%d names are listed, want %d", got, reportDestinations)
	}
	want := evidence.Country{Country: "DE", Names: names, Count: evidence.Count{Attempts: names, Lookups: 2 * names}}
	if len(r.Countries) != 1 || r.Countries[0] != want {
		t.Errorf("got %+v, want %+v", r.Countries, want)
	}
	if got := strings.Join(r.Caveats, "\n"); !strings.Contains(got, "of the first 200 names in alphabetical order, and not of 5 more") {
		t.Errorf("the report does not say that the list is cut: %q", got)
	}
}
