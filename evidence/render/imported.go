package render

import (
	"slices"
	"time"

	"telltale/evidence"
)

// A shown says of what a time of a chart is.
type shown uint8

const (
	nothing  shown = iota // nothing was recorded
	recorded              // of what was recorded here, per hour recorded
	imported              // no rate of what was recorded here is known: of all lookups, per hour of the whole time
)

// valueOf returns how many an hour a time of a chart has, and of what that is.
func valueOf(r *evidence.Report, c evidence.Count, seconds, unrated int64, length time.Duration) (float64, shown) {
	switch {
	case seconds > unrated:
		return perHour(c.OwnIn(r.Unit), seconds-unrated, r.Rated), recorded
	case c.In(r.Unit) > 0:
		return float64(c.In(r.Unit)) / max(length, time.Minute).Hours(), imported
	case seconds > 0: // none, of whomever
		return 0, recorded
	}
	return 0, nothing
}

// slotRates are the values of the timeline's slots.
func slotRates(r *evidence.Report) (values []float64, of []shown) {
	for i := range r.Timeline.Slots {
		s := &r.Timeline.Slots[i]
		v, is := valueOf(r, s.Count, s.Recorded, s.Unrated, s.Until.Sub(s.Since.Time))
		values, of = append(values, v), append(of, is)
	}
	return values, of
}

// weekRates are the values of the hours of a week.
func weekRates(r *evidence.Report) (values []float64, of []shown) {
	lengths := make([]time.Duration, len(r.Hours))
	for at := r.Since.In(r.Location); at.Before(r.Until.Time); {
		past := time.Duration(at.Minute())*time.Minute + time.Duration(at.Second())*time.Second + time.Duration(at.Nanosecond())
		next := at.Add(time.Hour - past)
		if next.After(r.Until.Time) {
			next = r.Until.In(r.Location)
		}
		lengths[(int(at.Weekday())+6)%7*24+at.Hour()] += next.Sub(at)
		at = next
	}
	for i := range r.Hours {
		c := &r.Hours[i]
		v, is := valueOf(r, c.Count, c.Recorded, c.Unrated, lengths[i])
		values, of = append(values, v), append(of, is)
	}
	return values, of
}

// importedText says what a chart shows where no rate is known; "" where it shows nothing of
// that kind.
func importedText(r *evidence.Report, of []shown) string {
	mixed := slices.ContainsFunc(r.Timeline.Slots, func(s evidence.Slot) bool { return s.Unrated > 0 })
	for _, is := range of {
		switch {
		case is != imported:
		case mixed:
			return "Where nothing was recorded here, or totals do not tell imported lookups from others, all lookups are shown, per hour of the whole time: for how long the other server recorded is not known."
		default:
			return "Where nothing was recorded here, imported lookups are shown, per hour of the whole time: for how long the other server recorded is not known."
		}
	}
	return ""
}

// hourly is how many an hour there were of something that is in no chart; "-" where that is
// not known, as no second has a rate.
func hourly(rated int64, v float64) string {
	if rated == 0 {
		return "-"
	}
	return rate(v)
}

// slotRate is how many an hour recorded a slot has; "-" where it has imported lookups alone.
func slotRate(v float64, of shown) string {
	if of == imported {
		return "-"
	}
	return rate(v)
}
