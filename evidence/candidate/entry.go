package candidate

import (
	"fmt"
	"strings"

	"telltale/evidence/rhythm"
)

// Domain is the registrable domain of a name.
func Domain(name string) string {
	domain, _ := domainOf(name)
	return domain
}

// Entry writes a candidate in the catalogue's format, with what speaks for it as comments.
// What it is the entry of, and who says so, is for a person to fill in. Devices have no names
// in it.
func Entry(c *Candidate) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, "# "+format+"\n", args...) }
	line("A proposal for the catalogue: docs/catalogue/contributing.md says what is still to be done.")
	line("Seen between %s and %s (UTC), %s by %d of a home's devices.", c.First.UTC().Format("2006-01-02 15:04"), c.Last.UTC().Format("2006-01-02 15:04"), attempts(c.Attempts), len(c.Devices))
	for i, d := range c.Devices {
		text := fmt.Sprintf("device %d: %s", i+1, attempts(d.Attempts))
		if d.Rhythm != rhythm.TooFew {
			text += ", " + string(d.Rhythm) + ": " + d.Text
		}
		line("  %s", text)
	}
	line("Score %d:", c.Score)
	for _, p := range c.Parts {
		if c.asked && (p.What == "sibling" || p.What == "domain" || p.What == "alias") {
			p.Text = "a name like it, below the same domain, or with the same alias, is listed as telemetry of " + c.Vendor
		}
		line("  %+d %s: %s", p.Points, p.What, p.Text)
	}
	line("To fill in: which device, firmware and date; what breaks when it is blocked; the document that says so, in sources.tsv.")
	fmt.Fprintf(&b, "#@ vendor=%s", quote(c.Vendor, "WHOSE-IS-IT"))
	if c.Product != "" {
		fmt.Fprintf(&b, " product=%s", quote(c.Product, ""))
	}
	purpose := c.Purpose
	if purpose == "" {
		purpose = "telemetry"
	}
	fmt.Fprintf(&b, " purpose=%s tier=telemetry claims=measured:YOUR-SOURCE\n%s\n", quote(purpose, ""), c.Name)
	return b.String()
}

func attempts(n uint64) string {
	if n == 1 {
		return "1 attempt"
	}
	return fmt.Sprintf("%d attempts", n)
}

func quote(s, otherwise string) string {
	if s == "" {
		s = otherwise
	}
	if strings.ContainsAny(s, " \t\"#") {
		return `"` + strings.ReplaceAll(s, `"`, "'") + `"`
	}
	return s
}
