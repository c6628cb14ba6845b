// Package same suggests which devices may be one: a phone that has made up another MAC for
// itself looks like a new device. It is pure, and only suggests: a person joins devices.
package same

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// A Device is what is known of one.
type Device struct {
	ID      string // its identity
	MadeUp  bool   // software chose its MAC
	Settled bool   // a person, or the settings, said what it is called
	Hosts   []string
	Kind    string // "" for unknown; so are the next two
	Vendor  string
	Product string
	First   time.Time
	Last    time.Time // when it was last there
}

// A Suggestion says that two devices may be one.
type Suggestion struct {
	New, Old string // identities
	Reasons  []string
}

const (
	overlap  = 30 * time.Minute    // how long both may be there: the old one's address is not given up at once
	soon     = time.Hour           // one comes right after the other
	longest  = 30 * 24 * time.Hour // between the two
	enough   = 3                   // points
	nameSaid = 3                   // for a host name that says more than what it is
)

// general are host names that many devices have.
var general = []string{"iphone", "ipad", "android", "localhost", "phone", "tablet", "laptop", "macbook", "desktop", "galaxy", "unknown", "watch"}

// Suggest returns which of all may be one at a time, each device in one suggestion at most.
func Suggest(all []Device, now time.Time) []Suggestion {
	type pair struct {
		old, new *Device
		points   int
		reasons  []string
	}
	var pairs []pair
	for i := range all {
		for k := range all {
			if points, reasons := compare(&all[i], &all[k], now); points >= enough {
				pairs = append(pairs, pair{&all[i], &all[k], points, reasons})
			}
		}
	}
	slices.SortStableFunc(pairs, func(a, b pair) int { return cmp.Compare(b.points, a.points) })
	var out []Suggestion
	for _, p := range pairs {
		alone := !slices.ContainsFunc(pairs, func(q pair) bool {
			return (q.old != p.old || q.new != p.new) && (q.old == p.old || q.new == p.new) && q.points >= p.points
		})
		if alone && !slices.ContainsFunc(out, func(s Suggestion) bool { return s.New == p.new.ID || s.Old == p.old.ID }) {
			out = append(out, Suggestion{p.new.ID, p.old.ID, p.reasons})
		}
	}
	return out
}

// compare says how much there is for it that after is what before was.
func compare(before, after *Device, now time.Time) (points int, reasons []string) {
	gap := after.First.Sub(before.Last)
	switch {
	case before == after || !after.MadeUp || after.Settled || before.Last.IsZero() || after.First.IsZero():
		return 0, nil
	case !before.First.Before(after.First) || gap < -overlap || gap > longest || now.Sub(after.First) > longest:
		return 0, nil
	case before.Kind != "" && after.Kind != "" && before.Kind != after.Kind:
		return 0, nil
	}
	for _, host := range after.Hosts {
		if !slices.ContainsFunc(before.Hosts, func(h string) bool { return strings.EqualFold(h, host) }) {
			continue
		}
		said := nameSaid
		if slices.Contains(general, strings.Trim(strings.ToLower(host), "-0123456789")) {
			said = 1
		}
		points += said
		reasons = append(reasons, fmt.Sprintf("both call themselves %s", host))
		break
	}
	if before.Kind != "" && before.Kind == after.Kind {
		points++
		what := "both seem to be a " + before.Kind
		if before.Vendor != "" && before.Vendor == after.Vendor {
			points++
			what += " of " + before.Vendor
		}
		reasons = append(reasons, what)
	}
	if len(reasons) == 0 {
		return 0, nil
	}
	switch {
	case gap <= soon && gap >= 0:
		points++
		reasons = append(reasons, fmt.Sprintf("one came %s after the other was last there", gap.Round(time.Minute)))
	case gap < 0:
		points++
		reasons = append(reasons, "one came as the other left")
	}
	return points, reasons
}
