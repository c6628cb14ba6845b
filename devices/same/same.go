// Package same suggests which devices may be one: a phone that has made up another MAC for
// itself looks like a new device. It is pure, and only suggests: a person joins devices.
package same

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"telltale/sorting"
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

// most is how many devices are compared, the latest by when they were last there: each
// device of a guest network that makes up its MAC is a new one.
const most = 500

// A best is what one device is most like. With tied, something else is as much like it.
type best struct {
	old    *Device
	points int
	tied   bool
}

// add takes it that old is like the device.
func (b *best) add(old *Device, points int) {
	switch {
	case points > b.points:
		*b = best{old, points, false}
	case points == b.points:
		b.tied = true
	}
}

// Suggest returns which of all may be one at a time, each device in one suggestion at most.
func Suggest(all []Device, now time.Time) []Suggestion {
	if len(all) > most {
		all = slices.Clone(all)
		sorting.StableBy(all, func(a, b Device) int { return b.Last.Compare(a.Last) })
		all = all[:most]
	}
	news, olds := make([]best, len(all)), make([]best, len(all)) // as the new one, and as the old one
	for i := range all {
		for k := range all {
			if points := compare(&all[i], &all[k], now, nil); points >= enough {
				news[k].add(&all[i], points)
				olds[i].add(nil, points)
			}
		}
	}
	var out []Suggestion
	for i := range all {
		for k := range all {
			if n, o := news[k], olds[i]; n.old == &all[i] && !n.tied && !o.tied && n.points == o.points {
				var reasons []string
				compare(&all[i], &all[k], now, &reasons)
				out = append(out, Suggestion{all[k].ID, all[i].ID, reasons})
			}
		}
	}
	return out
}

// compare says how much there is for it that after is what before was. The reasons are
// added to reasons, unless it is nil.
func compare(before, after *Device, now time.Time, reasons *[]string) (points int) {
	gap := after.First.Sub(before.Last)
	switch {
	case before == after || !after.MadeUp || after.Settled || before.Last.IsZero() || after.First.IsZero():
		return 0
	case !before.First.Before(after.First) || gap < -overlap || gap > longest || now.Sub(after.First) > longest:
		return 0
	case before.Kind != "" && after.Kind != "" && before.Kind != after.Kind:
		return 0
	}
	add := func(n int, reason func() string) {
		points += n
		if reasons != nil {
			*reasons = append(*reasons, reason())
		}
	}
	for _, host := range after.Hosts {
		if !slices.ContainsFunc(before.Hosts, func(h string) bool { return strings.EqualFold(h, host) }) {
			continue
		}
		said := nameSaid
		if slices.Contains(general, strings.Trim(strings.ToLower(host), "-0123456789")) {
			said = 1
		}
		add(said, func() string { return fmt.Sprintf("both call themselves %s", host) })
		break
	}
	switch {
	case before.Kind == "" || before.Kind != after.Kind:
	case before.Vendor != "" && before.Vendor == after.Vendor:
		add(2, func() string { return fmt.Sprintf("both seem to be a %s of %s", before.Kind, before.Vendor) })
	default:
		add(1, func() string { return fmt.Sprintf("both seem to be a %s", before.Kind) })
	}
	switch {
	case points == 0:
	case gap <= soon && gap >= 0:
		add(1, func() string {
			return fmt.Sprintf("one came %s after the other was last there", gap.Round(time.Minute))
		})
	case gap < 0:
		add(1, func() string { return "one came as the other left" })
	}
	return points
}
