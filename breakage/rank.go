package breakage

import (
	"cmp"
	"fmt"
	"time"

	"telltale/sorting"
)

// A Suspect is a blocked name with how likely it is the one that a device needs.
type Suspect struct {
	Blocked
	Weight  float64 // against the weights of the others; no probability
	Reasons []Reason
}

// A Reason is why a name is more or less likely the cause.
type Reason struct {
	Code string
	Text string // for people
}

// What Reason.Code says. The words are sent, and never change.
const (
	Essential      = "essential"       // the catalogue says that it must work
	BreaksReported = "breaks-reported" // a source of the catalogue says what breaks
	BreaksPresumed = "breaks-presumed" // the catalogue says what breaks, and no source reports it
	Mixed          = "mixed"           // a feature may break
	Unknown        = "unknown"         // no list says what it is for
	FirstTime      = "first"           // it was not blocked before the period
	Burst          = "burst"           // it was asked for again and again
	JustAsked      = "just-asked"      // it was asked for right before the person called
	RuleAdded      = "rule-added"      // its rule came with the last change of its list
	ListChanged    = "list-changed"    // its list changed not long before
	Steady         = "steady"          // it is blocked all the time
	OwnRule        = "own-rule"        // it is blocked by a rule of the user's own
)

// By these a suspect's weight, which begins at 1, is multiplied. docs/broke.md says why.
const (
	weightEssential  = 12
	weightReported   = 24
	weightContested  = 8
	weightPresumed   = 2
	weightMixed      = 3
	weightUnknown    = 2
	weightFirst      = 4
	weightBurst      = 2
	weightJust       = 4
	weightLately     = 2
	weightRuleAdded  = 4
	weightListChange = 2
	weightSteady     = 0.25
	weightOften      = 0.5
)

// What counts as such.
const (
	just       = time.Minute
	lately     = 3 * time.Minute
	burstOf    = 6  // lookups within a minute: more than the types of one attempt
	steadyOf   = 20 // minutes of the hour before
	oftenOf    = 5
	changedIn  = 24 * time.Hour
	firstAfter = time.Hour // the log must reach back so far to say that there was none before
)

// History is how far back the log is looked at.
const History = 7 * 24 * time.Hour

// Known is what is known when names are ranked, beside what was blocked.
type Known struct {
	Called  time.Time // when the person asked
	Since   time.Time // the beginning of the period
	LogFrom time.Time // from when on the log says what was blocked; zero where it does not
	Before  map[string]bool
	// Changed says when a list changed last, zero for unknown, and whether a rule came
	// with that change; nil for nothing known.
	Changed func(list, rule string) (at time.Time, added bool)
	// Catalogue says what the shipped lists know of a name; nil for nothing known.
	Catalogue func(name string) Entry
}

// An Entry is what the catalogue knows of a name; zero for nothing.
type Entry struct {
	Tier     string
	Breaks   string // what stops working when it is blocked
	Reported bool   // a source says that it does
	Disputed bool   // another one says that it does not
}

// Rank orders what was blocked of a device, the likeliest cause of a breakage first.
func Rank(all []Blocked, k *Known) []Suspect {
	out := make([]Suspect, len(all))
	for i := range all {
		out[i] = Suspect{Blocked: all[i], Weight: 1}
		out[i].weigh(k)
	}
	sorting.By(out, func(a, b Suspect) int {
		return cmp.Or(cmp.Compare(b.Weight, a.Weight), b.Last.Compare(a.Last), cmp.Compare(b.Lookups, a.Lookups), cmp.Compare(a.Name, b.Name))
	})
	return out
}

// entry returns what the catalogue knows of a name, which may be none.
func (k *Known) entry(name string) Entry {
	if k.Catalogue == nil || name == "" {
		return Entry{}
	}
	return k.Catalogue(name)
}

func (s *Suspect) add(code string, factor float64, format string, args ...any) {
	s.Weight *= factor
	s.Reasons = append(s.Reasons, Reason{code, fmt.Sprintf(format, args...)})
}

func (s *Suspect) weigh(k *Known) {
	if s.Own {
		s.add(OwnRule, 1, "your own rule blocks it")
	}
	s.weighClaims(k)
	s.weighTimes(k)
	s.weighChange(k)
}

// weighClaims weighs what is said of the name.
func (s *Suspect) weighClaims(k *Known) {
	e := Entry{Tier: s.Tier, Breaks: s.Breaks, Disputed: s.Contested}
	if known := k.entry(s.Name); known.Tier != "" {
		e = known
	} else if known := k.entry(s.Alias); known.Tier != "" { // it is the alias that is blocked
		e = known
	}
	what := e.Breaks
	if what == "" {
		what = s.Purpose
	}
	switch {
	case e.Tier == "essential":
		s.add(Essential, weightEssential, "it must work: %s", cmp.Or(what, "the catalogue says so"))
	case e.Breaks != "" && e.Reported && e.Disputed:
		s.add(BreaksReported, weightContested, "blocking it is reported to break %s, which others dispute", e.Breaks)
	case e.Breaks != "" && e.Reported:
		s.add(BreaksReported, weightReported, "blocking it is reported to break %s", e.Breaks)
	case e.Breaks != "":
		s.add(BreaksPresumed, weightPresumed, "blocking it may break %s", e.Breaks)
	case e.Tier == "" && !s.Annotated:
		s.add(Unknown, weightUnknown, "no list says what it is for")
	}
	if e.Tier == "mixed" {
		s.add(Mixed, weightMixed, "tier mixed: a feature may need it")
	}
}

// weighTimes weighs when it was asked for.
func (s *Suspect) weighTimes(k *Known) {
	ago := k.Called.Sub(s.Last)
	switch {
	case ago <= just:
		s.add(JustAsked, weightJust, "asked for %s ago", shortly(ago))
	case ago <= lately:
		s.add(JustAsked, weightLately, "asked for %s ago", shortly(ago))
	}
	if from := k.LogFrom; !from.IsZero() && k.Since.Sub(from) >= firstAfter && !k.Before[s.Name] && s.Before == 0 {
		s.add(FirstTime, weightFirst, "not blocked in the %s before", period(k.Since.Sub(from)))
	}
	if s.Blocked.Burst >= burstOf {
		s.add(Burst, weightBurst, "asked for again and again: %d times within a minute", s.Blocked.Burst)
	}
	switch {
	case s.Before >= steadyOf:
		s.add(Steady, weightSteady, "blocked all the time: in %d minutes of the hour before", s.Before)
	case s.Before >= oftenOf:
		s.add(Steady, weightOften, "blocked before as well: in %d minutes of the hour before", s.Before)
	}
}

// weighChange weighs what changed before it was blocked.
func (s *Suspect) weighChange(k *Known) {
	if k.Changed == nil || s.Own {
		return
	}
	at, added := k.Changed(s.List, s.Rule)
	if at.IsZero() || at.After(s.Last) || k.Called.Sub(at) > changedIn {
		return
	}
	if added {
		s.add(RuleAdded, weightRuleAdded, "its rule is new: %s got it %s ago", s.List, period(k.Called.Sub(at)))
		return
	}
	s.add(ListChanged, weightListChange, "%s changed %s ago", s.List, period(k.Called.Sub(at)))
}

// shortly says a short time in seconds.
func shortly(d time.Duration) string {
	return fmt.Sprintf("%d s", int(max(d, 0).Round(time.Second)/time.Second))
}

// period says a time in the unit that is nearest to it.
func period(d time.Duration) string {
	unit, n := "minute", int(max(d, 0).Round(time.Minute)/time.Minute)
	if n >= 120 {
		unit, n = "hour", (n+30)/60
	}
	if unit == "hour" && n >= 48 {
		unit, n = "day", (n+12)/24
	}
	return count(n, unit)
}

// count says how many there are of something.
func count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}
