package breakage

import (
	"fmt"
	"strings"
	"time"
)

// A Finding is what a search found, as far as others may know it: no device, no
// address, no name of a list that is a person's own.
type Finding struct {
	Suspect   Suspect
	List      string // a shipped or subscribed list; "" for one of the person's own
	Edition   string // of the catalogue
	Version   string // of the program
	Entry     Entry  // of the catalogue
	Names     int    // that were looked through
	Questions int
	At        time.Time
}

// Report returns the text of a finding for the catalogue's issues, or "" where the
// catalogue knows already that blocking the name breaks something.
func Report(f *Finding) string {
	if f.Entry.Reported || f.Entry.Tier == "essential" {
		return ""
	}
	var b strings.Builder
	line := func(key, format string, args ...any) {
		fmt.Fprintf(&b, "%-12s%s\n", key+":", fmt.Sprintf(format, args...))
	}
	s := &f.Suspect
	fmt.Fprintf(&b, "Something stops working while %s is blocked\n\n", s.Name)
	line("Name", "%s", s.Name)
	if s.Alias != "" {
		line("Alias", "%s, which decided", s.Alias)
	}
	switch {
	case f.List == "":
		line("Blocked by", "a list of the user's own")
	case s.Rule == "":
		line("Blocked by", "%s", f.List)
	default:
		line("Blocked by", "%s, line %d: %s", f.List, s.Line, strings.ReplaceAll(s.Rule, "\n", " "))
	}
	line("Catalogue", "%s", f.Entry.said(s))
	line("Edition", "%s", f.Edition)
	line("Found", "%s by telltale broke (%s), among %s by %s", f.At.UTC().Format(time.DateOnly), f.Version, count(f.Names, "blocked name"), count(f.Questions, "question"))
	line("Evidence", "a person says that it works while the name is let through, and does not while it is blocked")
	line("Breaks", "(say here what did not work, in which app or feature)")
	line("Product", "(say here the maker, the model and the version of the software)")
	return b.String()
}

// said says what the catalogue has of a name.
func (e *Entry) said(s *Suspect) string {
	if e.Tier == "" {
		return "it does not have the name"
	}
	text := "tier " + e.Tier
	if s.Vendor != "" {
		text = s.Vendor + ", " + text
	}
	if e.Breaks == "" {
		return text + ", nothing about what breaks"
	}
	return text + ", breaks " + e.Breaks + ", which no source reports"
}
