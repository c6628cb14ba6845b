package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"telltale/blocklists/catalog"
	"telltale/config"
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

// Times are in the zone that is wanted.
func TestDestinationsAndAlertsInAZone(t *testing.T) {
	zone, err := time.LoadLocation("Asia/Kolkata")
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	cl := &cli{out: &out}
	at := querylog.Time{Time: time.Date(2026, 3, 1, 20, 0, 0, 0, time.UTC)}
	if err := cl.showDestinations([]web.Destination{{Name: "a.example", Led: []web.DestinationTime{{First: at, Last: at}}}}, zone); err != nil {
		t.Fatal(err)
	}
	if want := "asked 2026-03-02 01:30:00, the same since 2026-03-02 01:30:00"; !strings.Contains(out.String(), want) {
		t.Errorf("no %q in %s", want, out.String())
	}
	out.Reset()
	cfg := &config.Config{}
	cfg.Data.Dir = t.TempDir()
	if err := os.WriteFile(alertsPath(cfg), []byte(`{"version":1,"alerts":[{"id":"a","kind":"coverage","time":"2026-03-01T20:00:00Z","found":"2026-03-01T20:00:00Z","text":"x","command":"telltale ledger"}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := cl.showAlerts(cfg, zone); err != nil || !strings.HasPrefix(out.String(), "2026-03-02 01:30:00  coverage") {
		t.Errorf("got %s, %v", out.String(), err)
	}
}

// A report is not written under a name that says that it is something else.
func TestTheEndingOfAReportSaysItsForm(t *testing.T) {
	for path, want := range map[string]string{"": "text", "week": "text", "week.txt": "text", "a/b.HTML": "html", "week.htm": "html", "week.md": "md", "week.json": "json", "week.csv": "csv", "week.text": "text", "week.pdf": "", "week.docx": "", "2026.11": ""} {
		r := &reportFlags{out: path, compare: "none"}
		if err := r.check(false); (err != nil) != (want == "") || err != nil && (!errors.Is(err, errUsage) || !strings.Contains(err.Error(), ".html, .json, .csv or .md")) || err == nil && r.format != want {
			t.Errorf("%q: got %q, %v, want %q", path, r.format, err, want)
		}
	}
	r := &reportFlags{out: "week.pdf", compare: "none", format: "html"}
	if err := r.check(false); err != nil {
		t.Errorf("with --format: got %v", err)
	}
}

// A length has no units that are zero, and no digit less.
func TestLengthsForPeople(t *testing.T) {
	for d, want := range map[time.Duration]string{
		30 * time.Minute: "30m", 10 * time.Minute: "10m", time.Hour: "1h", 90 * time.Minute: "1h30m", 10 * time.Second: "10s", 65 * time.Second: "1m5s", 10 * time.Hour: "10h", time.Hour + 5*time.Second: "1h0m5s",
	} {
		if got := age(d); got != want {
			t.Errorf("%v is said as %s, want %s", d, got, want)
		}
	}
}
