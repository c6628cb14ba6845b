package destination

import (
	"fmt"
	"strings"
	"time"

	"telltale/evidence/geo"
)

// Limits are what is said beside all destinations.
var Limits = []string{
	"This is what upstreams answered to Telltale itself; another device elsewhere, or another time, can be answered otherwise. It is no connection, and says nothing of what was sent.",
	"A country is where a database says that an address is, or where its network is registered. Where the machine stands, and where data goes from there, is not in DNS.",
}

// Lines says a finding of a time for people.
func (f *Found) Lines(at time.Time) (lines []string) {
	switch {
	case f.Missing == "NODATA" && len(f.Aliases) > 0:
		lines = append(lines, "NODATA: what it is an alias of has no address; names below it were not asked for")
	case f.Missing == "NODATA":
		lines = append(lines, "NODATA: this name itself has no address; names below it were not asked for")
	case f.Missing != "":
		lines = append(lines, f.Missing+": it leads nowhere")
	}
	if len(f.Aliases) > 0 {
		lines = append(lines, "alias of "+strings.Join(f.Aliases, ", of "))
	}
	for i := range f.Addresses {
		lines = append(lines, f.Addresses[i].Text())
	}
	if len(f.Servers) > 0 {
		line := fmt.Sprintf("%s is served by %s", f.Domain, strings.Join(f.Servers, ", "))
		var of []string
		for _, n := range f.ServedBy {
			of = append(of, OperatorText(n.ASN, n.Operator))
		}
		if len(of) > 0 {
			line += " in networks of " + strings.Join(of, ", ")
		}
		lines = append(lines, line)
	}
	var by []string
	for _, s := range f.By {
		text := s.String()
		if built, err := time.Parse(time.DateOnly, s.Built); err == nil && at.Sub(built) > geo.OldAfter {
			text += fmt.Sprintf(" (%d days old then, and networks change hands)", int(at.Sub(built).Hours()/24))
		}
		by = append(by, text)
	}
	if len(by) > 0 {
		lines = append(lines, "by "+strings.Join(by, ", "))
	}
	return lines
}

// Text says whose an address is: the operator first, then countries, each with what bears
// on it.
func (a *Address) Text() string {
	text := a.Address.String()
	switch {
	case a.Special != "":
		return text + ", nobody's on the Internet: " + a.Special
	case a.ASN == 0 && a.Country == "" && a.Registered == "" && a.Cloud == "":
		return text + ", whose is not known: no database has it"
	}
	if a.ASN > 0 {
		text += ", network of " + OperatorText(a.ASN, a.Operator)
	}
	if a.Cloud != "" {
		text += ", published by " + a.Cloud
		if a.Region != "" {
			text += " as its " + a.Region
		}
	}
	if a.Country != "" {
		text += ", in " + a.Country
	}
	if a.Registered != "" && a.Registered != a.Country {
		text += ", registered in " + a.Registered
	}
	if a.Country != "" || a.Registered != "" {
		text += " (" + a.Caption() + ")"
	}
	return text
}

// contentWords are in the names of operators that answer from many places.
var contentWords = []string{"akamai", "cloudflare", "fastly", "cdn", "edgecast", "edgio", "limelight", "content delivery"}

// Caption is what bears on the country of an address.
func (a *Address) Caption() string {
	name := strings.ToLower(a.Operator)
	for _, w := range contentWords {
		if strings.Contains(name, w) {
			return "a content network by its name: which machine answers depends on where one asks"
		}
	}
	if a.Country != "" && a.Registered != "" && a.Country != a.Registered {
		return "the databases differ on it; it may be announced in several countries"
	}
	return "unless it is announced in several countries: anycast"
}
