package render

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"telltale/evidence"
	"telltale/querylog"
)

// Every form has where names lead, and nothing that an operator's name could do to it.
func TestWhereNamesLeadIsInEveryForm(t *testing.T) {
	at := querylog.Time{Time: time.Date(2026, 11, 1, 3, 17, 0, 0, time.UTC)}
	r := &evidence.Report{Location: time.UTC, Since: at, Until: at, Made: at, Destinations: []evidence.Destination{{
		Name: "data.vendor.example", Vendor: "Vendor", Since: at, Asked: at, Operators: []string{"Evil <b>|\x1b[31m AS7"}, Countries: []string{"SG"},
		Text: []string{"8.209.64.1, network of Evil <b>|\x1b[31m AS7, in SG (unless it is announced in several countries: anycast)"},
	}}, Unit: evidence.UnitLookups, Countries: []evidence.Country{{Country: "SG", Names: 1, Count: evidence.Count{Attempts: 2, Lookups: 4321}}}}
	for name, write := range map[string]func() string{
		"text":     func() string { var b bytes.Buffer; Text(&b, r); return b.String() },
		"markdown": func() string { var b bytes.Buffer; Markdown(&b, r); return b.String() },
		"html":     func() string { var b bytes.Buffer; HTML(&b, r); return b.String() },
	} {
		got := strings.Join(strings.Fields(write()), " ")
		for _, want := range []string{"data.vendor.example", "8.209.64.1", "in SG", "anycast", "no lookup of a device", "4,321", "y country"} {
			if !strings.Contains(strings.ReplaceAll(got, "&#39;", "'"), want) {
				t.Errorf("%s has no %q: %s", name, want, got)
			}
		}
		if strings.Contains(got, "\x1b") || name == "html" && strings.Contains(got, "Evil <b>") {
			t.Errorf("%s has an operator's name as it is", name)
		}
	}
	r.Destinations = nil
	var b bytes.Buffer
	if Text(&b, r); strings.Contains(b.String(), "WHERE THEY LEAD") {
		t.Error("there is a section of nothing")
	}
}

// A line of the CSV form has where its name leads, or the name of the catalogue that it is below.
func TestCSVHasWhereNamesLead(t *testing.T) {
	at := querylog.Time{Time: time.Date(2026, 11, 1, 3, 17, 0, 0, time.UTC)}
	r := &evidence.Report{Location: time.UTC, Since: at, Until: at, Made: at, Vendors: []evidence.Vendor{{Vendor: "Vendor", Names: []evidence.Name{{Name: "a1.data.vendor.example"}, {Name: "other.vendor.example"}}}}, Destinations: []evidence.Destination{{
		Name: "data.vendor.example", Vendor: "Vendor", Since: at, Asked: at, Operators: []string{"=Cloud AS7", "Other AS8"}, Countries: []string{"SG", "IN"},
	}}}
	var b bytes.Buffer
	if err := CSV(&b, r); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	if len(lines) != 3 || !strings.HasSuffix(lines[0], ",leads_to_operators,leads_to_countries,leads_to_since,leads_to_asked") ||
		!strings.HasSuffix(lines[1], ",'=Cloud AS7; Other AS8,SG IN,2026-11-01T03:17:00.000Z,2026-11-01T03:17:00.000Z") || !strings.HasSuffix(lines[2], ",,,,") {
		t.Errorf("got %q", lines)
	}
}
