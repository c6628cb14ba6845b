// Package render writes a report: as text, HTML, Markdown, CSV and JSON. It shows
// what the report has and computes nothing anew, and escapes what others chose
// (names of hosts, devices and lists) for each format.
package render

import (
	"cmp"
	"fmt"
	"math"
	"strings"

	"telltale/evidence"
)

// title says what a report is about.
func title(r *evidence.Report) string {
	switch r.About.Kind {
	case "device":
		return "What " + r.About.Label + " asked for"
	case "vendor":
		return "Who asked for names of " + r.About.Vendor
	case "vendor-of-device":
		return "What " + r.About.Label + " asked for of " + r.About.Vendor
	}
	return "What the devices of this network asked for"
}

// period says of which time a report is.
func period(r *evidence.Report) string {
	const layout = "Mon 2 Jan 2006 15:04"
	return r.Since.In(r.Location).Format(layout) + " to " + r.Until.In(r.Location).Format(layout) + " (" + r.Zone + ")"
}

// A fact is one of those a report opens with.
type fact struct{ label, text string }

// facts are what a report opens with; its coverage is the first.
func facts(r *evidence.Report) []fact {
	all := []fact{{"Recorded", r.Coverage.Text}}
	add := func(label, text string) { all = append(all, fact{label, text}) }
	inAll := ""
	if r.About.Vendor == "" {
		inAll = evidence.Plural(r.Asked.Lookups, "lookup") + " in all"
	}
	if r.Listed.Lookups == 0 {
		if inAll != "" && r.Asked.Lookups > 0 {
			add("Asked for", inAll)
		}
		return all
	}
	asked := amount(r, r.Listed.Count) + " of names listed as a vendor's"
	if observed := r.Observed(); observed.Lookups > 0 {
		asked += fmt.Sprintf(" (%s of them of names that you observe)", evidence.Number(observed.In(r.Unit)))
	}
	if inAll != "" {
		asked += "; " + inAll
	}
	add("Asked for", asked)
	var tiers []string
	for _, t := range r.Tiers {
		word := t.Tier
		if word == "" {
			word = "of no tier"
		}
		tiers = append(tiers, word+" "+evidence.Number(t.In(r.Unit)))
	}
	add("Listed as", strings.Join(tiers, ", ")+" ("+r.Unit+")")
	add("Decided", decided(r, &r.Listed)+" ("+r.Unit+")")
	switch {
	case r.Rated > 0:
		add("Rate", rate(r.PerHour)+" "+r.Unit+" an hour recorded"+trendText(r))
	case r.Coverage.Recorded > 0:
		add("Rate", "not known: in all hours that were recorded here there may be imported lookups that hourly totals do not tell apart")
	default:
		add("Rate", "not known: nothing was recorded here, nor is it known for how long another server recorded")
	}
	if r.Coverage.Recorded > 0 {
		add("At night", fmt.Sprintf("%s between 0 and %d o'clock, which is %s of the time recorded", percent(r.Night.Share), evidence.NightEnd, percent(r.Night.Recorded)))
	} else {
		add("At night", fmt.Sprintf("%s between 0 and %d o'clock", percent(r.Night.Share), evidence.NightEnd))
	}
	if r.Silent != nil {
		add("Otherwise silent", fmt.Sprintf("%s in %s in which the device asked for nothing else", percent(r.Silent.Share), evidence.Plural(uint64(r.Silent.Hours), "hour")))
	}
	if r.Attempts.Counted == "all" {
		add("An attempt", fmt.Sprintf("is the lookups of one name by one device, whatever the type and however often repeated, until %g s of silence", r.Attempts.Gap))
	}
	return all
}

func trendText(r *evidence.Report) string {
	b := r.Before
	if b == nil {
		return ""
	}
	if b.Coverage.Recorded == 0 {
		return "; nothing is recorded of the period before"
	}
	if b.Rated == 0 {
		return "; the rate of the period before is not known"
	}
	return fmt.Sprintf("; in the period before %s (%s recorded): %s", rate(b.Trend.Before), evidence.Length(secs(b.Coverage.Recorded)), change(r, &b.Trend))
}

// change says how a rate differs from that of the period before.
func change(r *evidence.Report, t *evidence.Trend) string {
	switch {
	case t == nil:
		return ""
	case r.Before != nil && r.Before.Rated == 0: // no rate is known of it
		return "-"
	case t.Change == nil && t.Now > 0:
		return "none before"
	case t.Change == nil:
		return "-"
	case math.Abs(*t.Change) < 0.005:
		return "the same"
	case *t.Change < 0:
		return percent(-*t.Change) + " less"
	case *t.Change >= 9.995:
		return fmt.Sprintf("%.0f times as many", *t.Change+1)
	}
	return percent(*t.Change) + " more"
}

// decided counts by what was decided, without what is nought.
func decided(r *evidence.Report, c *evidence.Counts) string {
	var parts []string
	for _, p := range []struct {
		word string
		n    evidence.Count
	}{{"blocked", c.Blocked}, {"observed", c.Observed}, {"allowed", c.Allowed}, {"passed", c.Passed}, {"answered here", c.Answered}, {"not known", c.Unknown}} {
		if p.n.Lookups > 0 {
			parts = append(parts, p.word+" "+evidence.Number(p.n.In(r.Unit)))
		}
	}
	return strings.Join(parts, ", ")
}

// amount writes a count: attempts lead, where they were counted.
func amount(r *evidence.Report, c evidence.Count) string {
	if r.Unit == evidence.UnitAttempts {
		return evidence.Plural(c.Attempts, "attempt") + " (" + evidence.Plural(c.Lookups, "lookup") + ")"
	}
	return evidence.Plural(c.Lookups, "lookup")
}

// percent writes a share. What is little is not nothing, and what is nearly all is
// not all.
func percent(share float64) string {
	switch {
	case share > 0 && share < 0.005:
		return "under 1 %"
	case share > 0.995 && share < 1:
		return "over 99 %"
	}
	return fmt.Sprintf("%.0f %%", share*100)
}

func rate(perHour float64) string {
	switch {
	case perHour == 0:
		return "0"
	case perHour < 0.01:
		return "under 0.01"
	case perHour < 1:
		return fmt.Sprintf("%.2f", perHour)
	case perHour < 100:
		return fmt.Sprintf("%.1f", perHour)
	}
	return evidence.Number(uint64(perHour + 0.5))
}

func share(n, of uint64) string {
	if of == 0 {
		return "-"
	}
	return percent(float64(n) / float64(of))
}

// blockedShare is which part was blocked, of that of which it is known what was decided.
func blockedShare(r *evidence.Report, c *evidence.Counts) string {
	return share(c.Blocked.In(r.Unit), c.In(r.Unit)-c.Unknown.In(r.Unit))
}

// verdictCount is how many of c had one verdict; "-" where of none it is known what was
// decided.
func verdictCount(r *evidence.Report, c *evidence.Counts, of evidence.Count) string {
	if c.Lookups > 0 && c.Lookups == c.Unknown.Lookups {
		return "-"
	}
	return evidence.Number(of.In(r.Unit))
}

// nameText is a name as shown: several that were counted together have none.
func nameText(n *evidence.Name) string {
	text := n.Name
	if text == "" {
		text = "(several names)"
	}
	if n.Alias != "" {
		text += " → " + n.Alias
	}
	return text
}

// about says what is said of a name: what for, of which tier, and how surely.
func about(n *evidence.Name) string {
	var parts []string
	for _, p := range []string{n.Product, n.Purpose, n.Tier} {
		if p != "" && (len(parts) == 0 || parts[len(parts)-1] != p) {
			parts = append(parts, p)
		}
	}
	return strings.Join(parts, " · ")
}

// confidenceWords say what the catalogue's words of confidence mean.
var confidenceWords = map[string]string{
	"vendor-documents": "documented by the vendor", "measured": "measured by somebody", "stated": "stated by somebody",
	"listed": "only listed", "name": "read off the name",
}

// confidence says how far a claim is to be believed.
func confidence(n *evidence.Name) string {
	text := n.Confidence
	if words := confidenceWords[text]; words != "" {
		text = words
	}
	if n.Independent > 1 {
		text += fmt.Sprintf(", %d independent sources", n.Independent)
	}
	if n.Contested {
		text += ", contested what breaks"
	}
	return strings.TrimPrefix(text, ", ")
}

// saysWho says who lists a name, and as what: at no level above its own.
func saysWho(n *evidence.Name) string {
	if n.Name == "" {
		return "counted together, without their names"
	}
	if n.IsObserved() {
		return "observed on purpose, as a candidate; no list of others has it"
	}
	as := "as its vendor's"
	if n.Tier == "telemetry" {
		as = "as telemetry"
	} else if n.Tier != "" {
		as = "as " + n.Tier
	}
	by := n.ListedBy
	if by == "" {
		by = "a list"
	}
	text := "listed " + as + " by " + by
	if n.Attribution == "list" {
		text += " (the list as a whole, not this name)"
	}
	return text
}

// purposesText says what a vendor's names are said to be for, and how often.
func purposesText(r *evidence.Report, v *evidence.Vendor) string {
	parts := make([]string, len(v.Purposes))
	for i := range v.Purposes {
		parts[i] = purposeText(&v.Purposes[i]) + " " + evidence.Number(v.Purposes[i].In(r.Unit))
	}
	return strings.Join(parts, ", ")
}

func purposeText(p *evidence.Purpose) string {
	text := p.Purpose
	if text == "" {
		text = "purpose not said"
	}
	if p.Tier != "" && p.Tier != p.Purpose {
		text += " (" + p.Tier + ")"
	}
	return text
}

func confidenceText(r *evidence.Report) string {
	var parts []string
	for _, c := range r.Confidence {
		word := c.Confidence
		if word == "" {
			word = "none"
		}
		parts = append(parts, word+" "+share(c.Lookups, r.Asked.Lookups-r.Deleted-r.Totals.Asked.Lookups))
	}
	return strings.Join(parts, ", ")
}

// orNone joins words; an empty one is none.
func orNone(words []string) string {
	shown := make([]string, len(words))
	for i, w := range words {
		shown[i] = cmp.Or(w, "none")
	}
	return strings.Join(shown, ", ")
}
