// Package household makes up a home: which of its devices looks up which name when, from
// a seed. It writes that into a query log through the log's own writer, with a driven
// clock, and knows the truth beside it: each lookup alone, the gaps, the clock's steps.
// Tests compare what the log and its reports say with that. docs/household.md describes
// it.
package household

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"time"

	"telltale/dnswire"
)

// Options say what home it is. The zero value is one of two weeks.
type Options struct {
	Seed  uint64
	Begin time.Time // a midnight, in the zone of the home; zero for Monday, 6 October 2025 in the machine's
	Days  int       // 4 or more; 0 for 14
	Pace  float64   // of what is asked for at random times, times so much; 0 for 1

	KeepAll bool // rows of names that no list has are kept, too, longer than a day

	// Only are the devices that ask for anything, by their labels, beside Television, at which
	// the server is killed; all where there are none.
	Only []string

	// Planted are further habits, by the device's label. Their names need not be in Names.
	Planted map[string][]Habit

	// Said are lines of the ledger that the home's people have written, such as an
	// experiment's steps, in their order. None may be while the server does not run.
	Said []Line
}

// A Line is one of the ledger, so long after the home began.
type Line struct {
	After                 time.Duration
	Kind, Subject, Detail string
}

// A Home is what happens in a home.
type Home struct {
	Options
	Devices []*Device
	Lookups []Lookup // as recorded, in their order; Write fills it

	Downs    []Down    // when nothing was recorded
	Steps    []Step    // of the clock
	OptedOut time.Time // when Phone was told to send no analytics: a Tuesday, 9 o'clock
	asked    []Lookup
}

// A Down is a time in which nothing was recorded, as clocks showed it.
type Down struct {
	Since, Until time.Time
	Crash        bool // the server was killed at Since
	Lost         int  // of the lookups of the second before
}

// A Step is one of the clock: it showed From, and the next moment To.
type Step struct{ From, To time.Time }

// A Device is one of the home's.
type Device struct {
	Label string // what it is called today
	Kind  string // see Kinds
	Wakes [2]int // hours from and until which it is used; twice the same for always
	Boots bool   // it starts when it wakes

	Habits []Habit
	Was    []Identity // one after the other
}

// An Identity is what the log knows a device by for a time.
type Identity struct {
	Device, Name, MAC, Addr string
	Since                   time.Time
}

// A Name is one that is looked up.
type Name struct {
	Name                           string
	Vendor, Product, Purpose, Tier string // as the home's list says; "" where it has none
}

// Verdict is what is decided of a name.
func (n *Name) Verdict() string {
	switch n.Tier {
	case "telemetry":
		return "block"
	case "mixed":
		return "observe"
	}
	return "pass"
}

// A Habit is how a device looks up a name.
type Habit struct {
	Name    *Name
	Every   time.Duration // a heartbeat's period, from a time of its own on; 0 for random times
	Jitter  time.Duration // it comes up to so much later
	PerDay  float64       // at random times, while the device is used
	Nightly int           // so often in a batch at 02:15, awake or not
	AtBoot  bool
	Asleep  bool // also while the device is not used
	Retries int  // how often a blocked name is asked for again
	Suffix  string
	Types   []uint16 // A and AAAA where there is none

	Since, Until time.Time
}

// A Lookup is one, and whether an attempt begins with it.
type Lookup struct {
	Time   time.Time // as the clock showed it
	Device *Device
	Was    *Identity
	Name   *Name
	Suffix string // behind it
	Type   uint16
	Begins bool

	at time.Duration // since the home began, whatever clocks show
}

// Asked is the name as it was asked for.
func (l *Lookup) Asked() string {
	if l.Suffix == "" {
		return l.Name.Name
	}
	return l.Name.Name + "." + l.Suffix
}

// New makes up a home. Nothing is written yet.
func New(o Options) *Home {
	if o.Begin.IsZero() {
		o.Begin = time.Date(2025, 10, 6, 0, 0, 0, 0, time.Local)
	}
	if o.Days == 0 {
		o.Days = 14
	}
	o.Pace = cmp.Or(o.Pace, 1)
	h := &Home{Options: o}
	h.OptedOut = h.day(7*((o.Days-1)/7)+1, 9, 0)
	h.happen()
	h.addDevices()
	for i, d := range h.Devices {
		if len(o.Only) > 0 && d.Label != Television && !slices.Contains(o.Only, d.Label) {
			continue
		}
		for j := range d.Habits {
			h.ask(d, &d.Habits[j], rand.New(rand.NewPCG(o.Seed, uint64(i)<<16|uint64(j))))
		}
	}
	slices.SortStableFunc(h.asked, func(a, b Lookup) int { return cmp.Compare(a.at, b.at) })
	return h
}

// End is when the home ends.
func (h *Home) End() time.Time { return h.day(h.Days, 0, 0) }

// day is a time on the n-th day.
func (h *Home) day(n, hour, minute int) time.Time {
	y, m, d := h.Begin.Date()
	return time.Date(y, m, d+n, hour, minute, 0, 0, h.Begin.Location())
}

// Part is the day which stands where the n-th of fourteen does.
func (h *Home) Part(n int) int { return n * h.Days / 14 }

// happen says what happens to the server and its clock. The crash is set by Write: it is
// in the middle of a device's retries.
func (h *Home) happen() {
	at := h.day(h.Part(3), 10, 20)
	h.Steps = append(h.Steps, Step{at, at.Add(7 * time.Minute)})
	h.Downs = append(h.Downs, Down{Since: h.day(h.Part(5), 2, 30), Until: h.day(h.Part(5), 4, 0)})
	at = h.day(h.Part(11), 15, 40)
	h.Steps = append(h.Steps, Step{at, at.Add(-4 * time.Minute)})
}

// clock returns what the clock shows so long after the home's beginning.
func (h *Home) clock(at time.Duration) time.Time {
	t := h.Begin.Add(at)
	for _, s := range h.Steps {
		if !t.Before(s.From) {
			t = t.Add(s.To.Sub(s.From))
		}
	}
	return t
}

// awake reports whether a device is used at a time.
func (h *Home) awake(d *Device, at time.Time) bool {
	hour := at.In(h.Begin.Location()).Hour()
	from, to := d.Wakes[0], d.Wakes[1]
	switch {
	case from == to:
		return true
	case from < to:
		return hour >= from && hour < to
	}
	return hour >= from || hour < to
}

// starts returns when a habit has a device look up its name, sorted.
func (h *Home) starts(d *Device, b *Habit, r *rand.Rand) (all []time.Time) {
	begin, end := h.Begin.Add(time.Minute), h.End().Add(-3*time.Minute)
	if b.Every > 0 {
		for at := begin.Add(time.Duration(r.Int64N(int64(b.Every)))); at.Before(end); at = at.Add(b.Every) {
			all = append(all, at.Add(time.Duration(r.Int64N(int64(b.Jitter)+1))))
		}
	}
	if b.PerDay > 0 {
		mean := float64(24*time.Hour) / (b.PerDay * h.Pace)
		for at := begin; ; {
			if at = at.Add(time.Duration(r.ExpFloat64() * mean)); !at.Before(end) {
				break
			}
			all = append(all, at)
		}
	}
	all = slices.DeleteFunc(all, func(at time.Time) bool { return !b.Asleep && !h.awake(d, at) })
	for day := range h.Days {
		for range b.Nightly {
			all = append(all, h.day(day, 2, 15).Add(time.Duration(r.IntN(600_000))*time.Millisecond))
		}
		if b.AtBoot && d.Boots {
			all = append(all, h.day(day, d.Wakes[0], 1).Add(time.Duration(r.IntN(4000))*time.Millisecond))
		}
	}
	all = slices.DeleteFunc(all, func(at time.Time) bool {
		return !b.Since.IsZero() && at.Before(b.Since) || !b.Until.IsZero() && !at.Before(b.Until) || at.Before(begin) || !at.Before(end)
	})
	slices.SortFunc(all, time.Time.Compare)
	return all
}

// apart is how long a device is silent of a name before it looks it up in another hour:
// longer than a window of the log, so that no row has lookups of two hours.
const apart = 61 * time.Second

// ask makes the lookups of a habit.
func (h *Home) ask(d *Device, b *Habit, r *rand.Rand) {
	types := b.Types
	if types == nil {
		types = []uint16{dnswire.TypeA, dnswire.TypeAAAA}
	}
	forms := []string{""}
	if b.Suffix != "" {
		forms = append(forms, b.Suffix)
	}
	tries := 1
	if b.Name.Verdict() == "block" {
		tries += b.Retries
	}
	last := -time.Hour
	for _, start := range h.starts(d, b, r) {
		at := max(start.Sub(h.Begin).Truncate(time.Millisecond), last+100*time.Millisecond)
		for range tries {
			for _, form := range forms {
				for _, typ := range types {
					if at-last < apart && !h.clock(at).Truncate(time.Hour).Equal(h.clock(last).Truncate(time.Hour)) {
						at = last + apart
					}
					now := h.clock(at)
					l := Lookup{Time: now, Device: d, Name: b.Name, Suffix: form, Type: typ, at: at}
					for i := range d.Was {
						if !now.Before(d.Was[i].Since) {
							l.Was = &d.Was[i]
						}
					}
					h.asked = append(h.asked, l)
					last = at
					at += time.Duration(3+r.IntN(40)) * time.Millisecond
				}
			}
			at += time.Duration(500+r.IntN(2000)) * time.Millisecond
		}
	}
}
