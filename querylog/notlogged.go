package querylog

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"telltale/devices"
	"telltale/sorting"
)

// A Span is a time from one moment up to another.
type Span struct{ Since, Until time.Time }

// NotLogged returns when, between two times, the settings kept lookups of the device that the
// filter chooses out of the log (log: false for it, or for a group of it), in order and apart:
// that it asked for nothing then is not known.
func (f *Filter) NotLogged(bindings []devices.Binding, since, until time.Time) []Span {
	addr, err := netip.ParseAddr(f.Device)
	isAddress := err == nil
	var spans []Span
	for i := range bindings {
		b := &bindings[i]
		if !b.NoLog {
			continue
		}
		of := Span{since, until}
		of.narrow(b.From, b.Until)
		if isAddress {
			if b.Addr == addr {
				spans = append(spans, of)
			}
			continue
		}
		for k := range f.Devices {
			if d := &f.Devices[k]; d.Device == b.Device {
				one := of
				one.narrow(d.From, d.Until)
				spans = append(spans, one)
			}
		}
	}
	return apart(spans)
}

// AddNotLogged adds to the gaps the times in which lookups of the device, of which the
// coverage is to be said, were kept out of the log.
func (c *Coverage) AddNotLogged(spans []Span) {
	c.Gaps = slices.Clone(c.Gaps)
	for _, s := range spans {
		c.Gaps = append(c.Gaps, Gap{Time{s.Since}, Time{s.Until}, Unrecorded, GapNotLogged, "", "log: false was set for the device: no lookups of it were kept"})
	}
	c.SortGaps()
}

// mostSpans are told one by one.
const mostSpans = 5

// spansText says when something was so, for people, in a period up to a time.
func spansText(all []Span, until time.Time, zone *time.Location) string {
	const form = "Mon 2 Jan 15:04"
	var parts []string
	for i, s := range all {
		switch since := s.Since.In(zone).Format(form); {
		case i == mostSpans:
			return fmt.Sprintf("%s, and %d more times", strings.Join(parts, ", "), len(all)-i)
		case s.Until.Equal(until):
			parts = append(parts, "from "+since+" on")
		default:
			parts = append(parts, fmt.Sprintf("from %s to %s", since, s.Until.In(zone).Format(form)))
		}
	}
	return strings.Join(parts, ", ")
}

// NotLoggedText says for people when lookups of somebody were kept out of the log, in a period up to a time.
func NotLoggedText(who string, all []Span, until time.Time, zone *time.Location) string {
	return fmt.Sprintf("lookups of %s were not recorded %s: it, or a group of it, had log: false in the settings. What it asked for then is not known", who, spansText(all, until, zone))
}

// narrow leaves of a span what is within two times; a zero time is no bound.
func (s *Span) narrow(since, until time.Time) {
	if since.After(s.Since) {
		s.Since = since
	}
	if !until.IsZero() && until.Before(s.Until) {
		s.Until = until
	}
}

// apart returns spans in order, with those that meet as one and without those of no length.
func apart(all []Span) (out []Span) {
	sorting.By(all, func(a, b Span) int { return cmp.Or(a.Since.Compare(b.Since), a.Until.Compare(b.Until)) })
	for _, s := range all {
		switch last := len(out) - 1; {
		case !s.Since.Before(s.Until):
		case last < 0 || s.Since.After(out[last].Until):
			out = append(out, s)
		case s.Until.After(out[last].Until):
			out[last].Until = s.Until
		}
	}
	return out
}
