package render

import (
	"encoding/csv"
	"io"
	"strconv"
	"strings"

	"telltale/evidence"
)

// csvHeads are the columns of the CSV form: a name a line, and what it is of. They
// are never renamed; new ones come at the end.
var csvHeads = []string{
	"about", "since", "until", "recorded_seconds", "period_seconds", "whole", "vendor", "name", "alias", "product", "purpose", "tier", "region", "attribution", "listed_by", "sources",
	"confidence", "independent", "contested", "breaks", "devices", "first", "last", "attempts", "lookups", "blocked_attempts", "blocked_lookups", "observed_attempts", "observed_lookups",
	"allowed_attempts", "allowed_lookups", "passed_attempts", "passed_lookups", "answered_attempts", "answered_lookups", "unknown_attempts", "unknown_lookups",
	"leads_to_operators", "leads_to_countries", "leads_to_since", "leads_to_asked",
}

// CSV writes the names of a report, one a line, for spreadsheets (RFC 4180). Each line
// says of which period it is and how much of that was recorded.
func CSV(w io.Writer, r *evidence.Report) error {
	out := csv.NewWriter(w)
	if err := out.Write(csvHeads); err != nil {
		return err
	}
	n := func(v uint64) string { return strconv.FormatUint(v, 10) }
	about := r.About.Kind
	for _, word := range []string{r.About.Label, r.About.Vendor} {
		if word != "" {
			about += " " + word
		}
	}
	leads := map[string]*evidence.Destination{}
	for i := range r.Destinations {
		leads[r.Destinations[i].Name] = &r.Destinations[i]
	}
	for i := range r.Vendors {
		v := &r.Vendors[i]
		for j := range v.Names {
			m := &v.Names[j]
			c := &m.Counts
			line := []string{
				about, r.Since.String(), r.Until.String(), strconv.FormatInt(r.Coverage.Recorded, 10), strconv.FormatInt(r.Coverage.Length, 10), strconv.FormatBool(r.Coverage.Whole),
				v.Vendor, m.Name, m.Alias, m.Product, m.Purpose, m.Tier, m.Region, m.Attribution, m.ListedBy, strings.Join(m.Sources, " "),
				m.Confidence, strconv.Itoa(m.Independent), strconv.FormatBool(m.Contested), m.Breaks, strconv.Itoa(m.Devices), m.First.String(), m.Last.String(),
				n(c.Attempts), n(c.Lookups), n(c.Blocked.Attempts), n(c.Blocked.Lookups), n(c.Observed.Attempts), n(c.Observed.Lookups),
				n(c.Allowed.Attempts), n(c.Allowed.Lookups), n(c.Passed.Attempts), n(c.Passed.Lookups), n(c.Answered.Attempts), n(c.Answered.Lookups), n(c.Unknown.Attempts), n(c.Unknown.Lookups),
				"", "", "", "",
			}
			if d := leadsOf(leads, m.Name); d != nil {
				copy(line[len(line)-4:], []string{strings.Join(d.Operators, "; "), strings.Join(d.Countries, " "), d.Since.String(), d.Asked.String()})
			}
			for k := range line {
				line[k] = CSVField(line[k])
			}
			if err := out.Write(line); err != nil {
				return err
			}
		}
	}
	out.Flush()
	return out.Error()
}

// leadsOf returns where the name of the catalogue leads that a name is, or is below; nil for
// not known.
func leadsOf(all map[string]*evidence.Destination, name string) *evidence.Destination {
	for at := name; at != ""; {
		if d := all[at]; d != nil {
			return d
		}
		_, at, _ = strings.Cut(at, ".")
	}
	return nil
}

// CSVField returns a value as a spreadsheet takes it: text that would be a formula
// gets an apostrophe in front, and what does not print is replaced.
func CSVField(s string) string {
	s = printable(s)
	if begin := strings.TrimLeft(s, " '"); begin != "" && strings.IndexByte("=+-@", begin[0]) >= 0 {
		return "'" + s
	}
	return s
}
