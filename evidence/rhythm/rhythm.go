// Package rhythm says by which rhythm a device asks for a name: at a steady period, when
// it starts, in a batch at night, only while it is used, or by none. It looks at the times
// at which attempts begin, and at nothing else. docs/evidence.md has the method, and how
// often it errs.
package rhythm

import (
	"fmt"
	"math"
	"time"

	"telltale/querylog"
)

// A Kind is a rhythm. The words are in JSON and never change.
type Kind string

const (
	Heartbeat Kind = "heartbeat" // at a steady period
	Boot      Kind = "boot"      // with other names, when the device was silent for hours
	Nightly   Kind = "nightly"   // night after night within the same hour
	InUse     Kind = "in-use"    // in hours in which the device asks for names of no vendor
	Irregular Kind = "irregular" // none of these was found
	TooFew    Kind = "too-few"   // attempts to say
)

// Kinds are all there are, in the order in which they are shown.
var Kinds = []Kind{Heartbeat, Nightly, Boot, InUse, Irregular, TooFew}

// A Rhythm is that of one device at one name, or at all names of one rule.
type Rhythm struct {
	Device  string `json:"device"` // its identity today
	Label   string `json:"label"`  // as shown
	Name    string `json:"name"`   // of a rule: the domain that its names have in common, with "*." in front
	Names   int    `json:"names"`  // of a rule, how many different ones; of a name 1
	Vendor  string `json:"vendor"` // "" of a name that no list has
	Product string `json:"product"`
	Purpose string `json:"purpose"`
	Tier    string `json:"tier"`
	Listed  string `json:"listed_by"` // list and line

	Kind     Kind          `json:"kind"`
	Text     string        `json:"text"` // for people
	Attempts uint64        `json:"attempts"`
	First    querylog.Time `json:"first"`
	Last     querylog.Time `json:"last"`
	Beat     *Beat         `json:"heartbeat"` // of a heartbeat, and of a nightly batch or a boot burst that is one
	Nights   *Nights       `json:"nights"`    // of a nightly batch
	Boots    *Boots        `json:"boots"`     // of a boot burst
	Use      *Use          `json:"use"`       // of what comes only while in use
	TTL      uint32        `json:"ttl"`       // the largest served, seconds; 0 for none
	Ours     string        `json:"ours"`      // why the period may be made here: ttl or attempt-gap; "" for no reason
	Strip    []int         `json:"strip"`     // attempts in each of 120 parts of the period; -1: something is missing from the record, or misdated

	Here bool `json:"-"` // a lookup was answered here, as names of the home are

	times []int64 // Unix milliseconds of rows in which attempts begin, ascending
}

// Why a period may be ours. The words are in JSON and never change.
const (
	OursTTL = "ttl"         // a device that needs a name all the time asks when the answer that it has is over
	OursGap = "attempt-gap" // attempts cannot begin closer to one another
)

// A Beat is a steady period.
type Beat struct {
	Period  float64 `json:"period"`  // seconds
	Jitter  float64 `json:"jitter"`  // seconds: 1.4826 times the median distance of an interval from its multiple of the period
	Present float64 `json:"present"` // share of beats that are there, 0 to 1, without pauses
	Beats   int     `json:"beats"`   // that are there
	Pauses  int     `json:"pauses"`  // longer than 6 periods, in which something was recorded
	Score   float64 `json:"score"`   // how well intervals are multiples of the period: 1 where all are, about 0 where the period has nothing to do with them

	support float64 // logarithm of how much likelier the intervals are with the period than at random times
}

// Nights say when at night a batch comes.
type Nights struct {
	With  int    `json:"with"`  // nights that have it
	Of    int    `json:"of"`    // nights recorded
	Since string `json:"since"` // "02:15"
	Until string `json:"until"`
	Most  uint64 `json:"most"` // attempts in one
}

// Boots say at how many starts of the device it asks.
type Boots struct {
	With int `json:"with"`
	Of   int `json:"of"`
}

// Use says how much of it comes in hours in which the device is used.
type Use struct {
	Share float64 `json:"share"` // of its attempts, 0 to 1
	Hours float64 `json:"hours"` // such hours, of the hours recorded, 0 to 1
}

// ours says why the period may be made here, where attempts end by a gap.
func (r *Rhythm) ours(attemptGap time.Duration) {
	b := r.Beat
	if b == nil {
		return
	}
	switch gap, ttl := attemptGap.Seconds(), float64(r.TTL); {
	case ttl >= leastPeriod && math.Abs(b.Period-ttl) <= max(nearOurs*ttl, b.Jitter):
		r.Ours = OursTTL
	case b.Period < gapMostly*gap || b.Period-b.Jitter < gap*(1+nearOurs):
		r.Ours = OursGap
	}
}

// decide gives the rhythm its words.
func (r *Rhythm) decide() {
	switch b := r.Beat; {
	case r.Nights != nil:
		r.Kind = Nightly
		r.Text = fmt.Sprintf("in %d of %d nights between %s and %s", r.Nights.With, r.Nights.Of, r.Nights.Since, r.Nights.Until)
		if r.Nights.Most > 1 {
			r.Text += fmt.Sprintf(", up to %d attempts", r.Nights.Most)
		}
	case r.Boots != nil:
		r.Kind = Boot
		r.Text = fmt.Sprintf("at %d of %d starts of the device", r.Boots.With, r.Boots.Of)
	case b != nil:
		r.Kind = Heartbeat
		r.Text = fmt.Sprintf("every %s, give or take %s; %.0f %% of beats are there", Length(b.Period), Length(b.Jitter), 100*b.Present)
		switch {
		case b.Pauses == 1:
			r.Text += ", with 1 pause"
		case b.Pauses > 1:
			r.Text += fmt.Sprintf(", with %d pauses", b.Pauses)
		}
		switch r.Ours {
		case OursTTL:
			r.Text += fmt.Sprintf("; possibly ours: answers were served for %s", Length(float64(r.TTL)))
		case OursGap:
			r.Text += "; possibly ours: two attempts cannot begin much closer to one another"
		}
	case r.Use != nil:
		r.Kind = InUse
		r.Text = fmt.Sprintf("%.0f %% in the %.0f %% of hours in which the device asks for names of no vendor", 100*r.Use.Share, 100*r.Use.Hours)
	case len(r.times) < leastSaid:
		r.Kind = TooFew
		r.Text = fmt.Sprintf("fewer than %d attempts are too few to say", leastSaid)
		if r.Attempts >= leastSaid {
			r.Text = fmt.Sprintf("attempts in fewer than %d windows of the log are too few to say", leastSaid)
		}
	default:
		r.Kind = Irregular
		r.Text = "no rhythm was found"
	}
}

// Length writes seconds for people.
func Length(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	switch {
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < 2*time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d < 2*time.Hour:
		return fmt.Sprintf("%.3g min", d.Minutes())
	}
	return fmt.Sprintf("%.3g h", d.Hours())
}
