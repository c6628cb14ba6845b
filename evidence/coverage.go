package evidence

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"telltale/querylog"
	"telltale/sorting"
)

// newCoverage says what of a period was recorded, of one device or of all.
func newCoverage(c *querylog.Coverage, o *Options) Coverage {
	return Coverage{
		Length: seconds(c.Length()), Recorded: seconds(c.Recorded()), Whole: nothingMissing(c, o.Device != ""), Text: coverageText(c, o.Zone),
		Gaps: nonNil(c.Gaps), Listed: c.Listed, Unlisted: c.Unlisted,
	}
}

// NewCoverage says what of a period was recorded of all devices, as a report does.
func NewCoverage(c *querylog.Coverage, zone *time.Location) Coverage {
	return newCoverage(c, &Options{Zone: zone})
}

// notLoggedText says that lookups of so many devices were kept out of the log.
func notLoggedText(n int) string {
	return fmt.Sprintf("lookups of %s were not recorded all the time (log: false): what was asked for then is in no number", Plural(uint64(n), "device"))
}

func seconds(d time.Duration) int64 { return int64((d + time.Second/2) / time.Second) }

// nothingMissing reports whether no lookup of a listed name is known to be missing, with
// its name, its time, and where it is of one device, its device: only then may it be said
// that there was none.
func nothingMissing(c *querylog.Coverage, ofDevice bool) bool {
	return c.Until.After(c.Since.Time) && c.IsWhole(c.Since.Time, c.Until.Time) && !slices.ContainsFunc(c.Gaps, func(g querylog.Gap) bool {
		return g.Effect == querylog.Unnamed || g.Effect == querylog.Removed || g.Effect == querylog.Undated || ofDevice && g.Effect == querylog.Unbound
	})
}

// gapsShown are spelled out; the table of gaps has all.
const gapsShown = 3

// coverageText is what a report opens with: for how long lookups were recorded, of
// how long, and the gaps.
func coverageText(c *querylog.Coverage, zone *time.Location) string {
	text := fmt.Sprintf("%s of %s", Length(c.Recorded()), Length(c.Length()))
	var missing []querylog.Gap
	for _, g := range c.Gaps {
		if g.Effect == querylog.Unrecorded || g.Effect == querylog.Incomplete {
			missing = append(missing, g)
		}
	}
	switch len(missing) {
	case 0:
		return text + "; no gap is known"
	case 1:
		text += "; 1 gap: "
	default:
		text += fmt.Sprintf("; %d gaps: ", len(missing))
	}
	byLength := slices.Clone(missing)
	sorting.StableBy(byLength, func(a, b querylog.Gap) int { return cmp.Compare(lengthOf(&b), lengthOf(&a)) })
	longest := byLength[:min(gapsShown, len(byLength))]
	sorting.StableBy(longest, func(a, b querylog.Gap) int { return a.Since.Compare(b.Since.Time) })
	var parts []string
	for i := range longest {
		parts = append(parts, GapText(&longest[i], zone))
	}
	text += strings.Join(parts, "; ")
	if more := len(missing) - len(longest); more > 0 {
		text += fmt.Sprintf("; and %d shorter", more)
	}
	return text
}

func lengthOf(g *querylog.Gap) time.Duration { return g.Until.Sub(g.Since.Time) }

// gapWords are what kinds of gaps are called.
var gapWords = map[string]string{
	querylog.GapDown: "no server ran", querylog.GapOff: "the log was switched off", querylog.GapNotLogged: "lookups of the device were not recorded (log: false)",
	querylog.KindCrash: "the server had ended without notice", querylog.KindSuspended: "the server did not run",
	querylog.KindLost: "lookups were lost", querylog.KindStore: "the store was set aside", "overload": "queries were dropped unread",
}

// GapText names a gap: why, from when to when, and how long.
func GapText(g *querylog.Gap, zone *time.Location) string {
	why := gapWords[g.Kind]
	switch {
	case why != "":
	case g.Kind == querylog.GapUnknown && g.Detail != "":
		why = g.Detail
	default:
		why = g.Kind
	}
	return fmt.Sprintf("%s %s (%s)", why, From(g.Since.Time, g.Until.Time, zone), Length(lengthOf(g)))
}

// From writes a time from one point to another for people.
func From(since, until time.Time, zone *time.Location) string {
	end := Short(until, zone)
	if y, m, d := since.In(zone).Date(); until.In(zone).Year() == y && until.In(zone).Month() == m && until.In(zone).Day() == d {
		end = until.In(zone).Format("15:04")
	}
	return Short(since, zone) + " to " + end
}

// Short writes a time for people.
func Short(t time.Time, zone *time.Location) string { return t.In(zone).Format("Mon 2 Jan 15:04") }

// Length writes a length of time for people: 166 h 12 m.
func Length(d time.Duration) string {
	d = d.Round(time.Second)
	h, m, s := int64(d/time.Hour), int64(d/time.Minute)%60, int64(d/time.Second)%60
	switch {
	case h > 0 && m > 0:
		return fmt.Sprintf("%d h %d m", h, m)
	case h > 0:
		return fmt.Sprintf("%d h", h)
	case m > 0 && s > 0:
		return fmt.Sprintf("%d m %d s", m, s)
	case m > 0:
		return fmt.Sprintf("%d m", m)
	}
	return fmt.Sprintf("%d s", s)
}

// caveatWords say what effects of gaps mean for who reads a report.
var caveatWords = []struct {
	effect querylog.Effect
	text   string
}{
	{querylog.Unnamed, "some lookups were recorded without their names, so a name may have been asked for more often than is shown"},
	{querylog.Undated, "the clock was set, so some lookups may be dated earlier or later than they came"},
	{querylog.Uncounted, "some lookups were each counted as an attempt"},
	{querylog.Unblocked, "lists were paused, held back or not in force for a time: less was blocked than at other times, and devices whose lookups are answered ask less often than blocked ones"},
	{querylog.Unbound, "some lookups may be another device's than is shown"},
	{querylog.Removed, "rows were deleted because of their age, or for want of space: their names are not in this report, nor their lookups where there is no hourly total of them"},
}

// removedOfAddress is what Removed means where totals cannot be read.
const removedOfAddress = "rows were deleted because of their age, or for want of space: their lookups are not in this report, since hourly totals have no addresses"

// caveats are the sentences on a period's gaps beside those that coverageText has.
// totals says whether hourly totals are read where rows are deleted.
func caveats(c *querylog.Coverage, zone *time.Location, totals bool) (all []string) {
	for _, w := range caveatWords {
		var of []querylog.Gap
		for _, g := range c.Gaps {
			if g.Effect == w.effect {
				of = append(of, g)
			}
		}
		if len(of) == 0 {
			continue
		}
		if w.effect == querylog.Removed && !totals {
			w.text = removedOfAddress
		}
		text := From(of[0].Since.Time, of[0].Until.Time, zone) + ": " + w.text
		if len(of) > 1 {
			text = fmt.Sprintf("%d times, first %s: %s", len(of), Short(of[0].Since.Time, zone), w.text)
		}
		all = append(all, text)
	}
	return all
}

func nonNil[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}
