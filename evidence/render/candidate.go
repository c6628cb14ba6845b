package render

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"telltale/evidence"
	"telltale/evidence/candidate"
	"telltale/evidence/rhythm"
)

// Candidates writes the first so many candidates for a terminal.
func Candidates(w io.Writer, f *candidate.Found, most int, zone *time.Location) error {
	t := &textWriter{r: &evidence.Report{}}
	shown := slices.IndexFunc(f.Candidates, func(c candidate.Candidate) bool { return c.Observed })
	if shown < 0 {
		shown = len(f.Candidates)
	}
	if f.Names == 0 {
		t.line("No attempt at a name that no list has was recorded here.")
	} else {
		since := ""
		if !f.Unlisted.IsZero() {
			since = ", with rows since " + evidence.Short(f.Unlisted.Time, zone)
		}
		t.wrap("", fmt.Sprintf("%s that no list of others has%s; %s.", evidence.Plural(uint64(f.Names), "name"), since, evidence.Plural(uint64(shown), "candidate")))
	}
	for i := range f.Candidates[:min(shown, most)] {
		c := &f.Candidates[i]
		t.head(fmt.Sprintf("%s  score %d, %s", c.Name, c.Score, evidence.Plural(c.Attempts, "attempt")))
		for _, p := range c.Parts {
			text := p.Text
			if p.Device != "" && len(c.Devices) > 1 {
				text += " (" + p.Device + ")"
			}
			t.wrapAt(fmt.Sprintf("  %+3d  ", p.Points), 7, text)
		}
		var by []string
		for _, d := range c.Devices {
			text := fmt.Sprintf("%s (%d", d.Label, d.Attempts)
			if d.Rhythm != rhythm.TooFew && d.Rhythm != rhythm.Irregular {
				text += ", " + kindWords[d.Rhythm]
			}
			by = append(by, text+")")
		}
		t.wrapAt("       ", 7, "asked for by "+strings.Join(by, ", "))
	}
	if more := shown - most; more > 0 {
		t.line("")
		t.line("And " + evidence.Plural(uint64(more), "more candidate") + ": --limit shows more.")
	}
	if len(f.Candidates) > shown {
		var all []string
		for i := range f.Candidates[shown:] {
			c := &f.Candidates[shown+i]
			text := fmt.Sprintf("score %d, %s", c.Score, evidence.Plural(c.Attempts, "attempt"))
			if c.ObservedBelow != "" { // which is what can be taken back
				text += ", with " + c.ObservedBelow
			}
			all = append(all, c.Name+" ("+text+")")
		}
		t.head("OBSERVED ALREADY")
		t.wrap("  ", strings.Join(all, "; ")+". 'telltale candidates observe --remove NAME' takes one back.")
	}
	if len(f.Candidates) > 0 {
		t.line("")
		t.wrap("", "'telltale candidates observe NAME' records a name as if a list had it, and blocks nothing; 'telltale candidates propose NAME' writes it as an entry for the catalogue.")
	}
	t.list("READ THIS WITH CARE", f.Caveats)
	_, err := io.WriteString(w, t.b.String())
	return err
}
