// Package liveview is the live view of the log: rows and keys go in, and screens of text
// come out. It knows neither a terminal nor the log: who has them hands over what came,
// draws what Screen returns, and does what Press asks for. Rows are bounded in number and
// each in length, so memory is, however long it runs.
package liveview

import (
	"slices"
	"strings"
	"time"

	"telltale/sorting"
)

// MostRows is how many rows are kept, the newest.
const MostRows = 5000

// A Row is a row of the log, as people read it. ID tells it from others: the same ID again
// is the same row, grown.
type Row struct {
	ID         int64
	Time, Last time.Time
	Count      uint64
	Attempts   uint64

	Device string // which device it is
	Who    string // what that is called
	Client string // the address that asked

	Name    string // "" where names were counted together
	Type    string
	Verdict string
	Vendor  string // of the annotation; "" also where it is the owner alone
	About   string // whose name it is and what for, with what it rests on
	Rule    string // the rule that decided, with its place
	Remark  string // what else is to be said of it
	Open    bool   // it may still grow

	Imported bool // another program recorded it
}

// A Tab is what a View shows.
type Tab int

// Tabs, in the order in which they stand.
const (
	Rows Tab = iota
	Devices
	Vendors
	Names
	tabs
)

// Options say how a View shows rows. The zero value works.
type Options struct {
	Zone   *time.Location // of times; nil: the machine's
	Chosen string         // which rows are shown, where not all are
}

// A View is the live view. Its methods are one goroutine's at a time.
type View struct {
	o             Options
	width, height int

	rows    ring
	frozen  []*Row // while it is paused: what is shown
	tab     Tab
	cursors [tabs]cursor
	filter  filter
	rate    rate

	editing  *edit
	question *question
	page     *page
	note     string
	stopped  bool      // no server runs
	now      time.Time // of the screen
	number   int       // of the last request
}

// New returns a View of no rows yet.
func New(o Options) *View {
	if o.Zone == nil {
		o.Zone = time.Local
	}
	v := &View{o: o, width: 80, height: 24}
	v.rows.place = map[int64]int{}
	return v
}

// Resize says how large the screen is.
func (v *View) Resize(width, height int) { v.width, v.height = max(width, 0), max(height, 0) }

// SetStopped says that no server runs, so that no rows come.
func (v *View) SetStopped(stopped bool) { v.stopped = stopped }

// Add takes in a row, or what became of one.
func (v *View) Add(r Row) {
	r.shorten()
	known := v.rows.of(r.ID)
	if more, ok := v.rows.add(&r); ok {
		from := r.Time
		if known != nil {
			from = known.Last
		}
		v.rate.add(from, r.Last, more)
	}
}

// textMost bounds each text of a row, in octets.
const textMost = 400

// shorten cuts what is longer than anybody reads.
func (r *Row) shorten() {
	for _, s := range []*string{&r.Device, &r.Who, &r.Client, &r.Name, &r.Type, &r.Verdict, &r.Vendor, &r.About, &r.Rule, &r.Remark} {
		if len(*s) > textMost {
			*s = strings.ToValidUTF8((*s)[:textMost], "") + "..."
		}
	}
}

// A ring has the newest rows, in the order in which they came.
type ring struct {
	all   []*Row
	first int           // of all: the oldest, once all are taken
	place map[int64]int // of a row, in all
	gone  int64         // the largest ID that was given up
}

// of returns the row of an ID; nil where it is not there.
func (g *ring) of(id int64) *Row {
	if at, known := g.place[id]; known {
		return g.all[at]
	}
	return nil
}

// add puts a row in, and returns how many lookups that adds. A row that was given up does
// not come back.
func (g *ring) add(r *Row) (more uint64, ok bool) {
	if at, known := g.place[r.ID]; known {
		more = r.Count - min(r.Count, g.all[at].Count)
		g.all[at] = r
		return more, true
	}
	switch {
	case g.gone > 0 && r.ID <= g.gone:
		return 0, false
	case len(g.all) < MostRows:
		g.place[r.ID] = len(g.all)
		g.all = append(g.all, r)
	default:
		old := g.all[g.first]
		delete(g.place, old.ID)
		g.gone = max(g.gone, old.ID)
		g.all[g.first] = r
		g.place[r.ID] = g.first
		g.first = (g.first + 1) % MostRows
	}
	return r.Count, true
}

// inOrder returns the rows, the oldest first.
func (g *ring) inOrder() []*Row { return slices.Concat(g.all[g.first:], g.all[:g.first]) }

// chosen returns the rows that are shown, the oldest first.
func (v *View) chosen() []*Row {
	all := v.frozen
	if all == nil {
		all = v.rows.inOrder()
	}
	if v.filter.none() {
		return all
	}
	var some []*Row
	for _, r := range all {
		if v.filter.matches(r) {
			some = append(some, r)
		}
	}
	return some
}

// waiting returns how many rows that are shown came since it was paused.
func (v *View) waiting() (n int) {
	if v.frozen == nil {
		return 0
	}
	last := int64(0)
	for _, r := range v.frozen {
		last = max(last, r.ID)
	}
	for _, r := range v.rows.all {
		if r.ID > last && (v.filter.none() || v.filter.matches(r)) {
			n++
		}
	}
	return n
}

// A filter says which rows are shown: those that have all words, each somewhere; or those
// of a device or a vendor.
type filter struct {
	text           string   // as it is shown
	words          []string // in lower case
	device, vendor string
}

// none reports whether all rows are shown.
func (f *filter) none() bool { return len(f.words) == 0 && f.device == "" && f.vendor == "" }

func (f *filter) set(text string) {
	*f = filter{text: text, words: strings.Fields(strings.ToLower(text))}
}

func (f *filter) matches(r *Row) bool {
	if f.device != "" && r.Device != f.device || f.vendor != "" && r.Vendor != f.vendor {
		return false
	}
	for _, w := range f.words {
		if !slices.ContainsFunc([]string{r.Name, r.Who, r.Client, r.About, r.Verdict, r.Type, r.Rule}, func(s string) bool { return strings.Contains(strings.ToLower(s), w) }) {
			return false
		}
	}
	return true
}

// A rate counts lookups by the second, for the last minute.
type rate struct {
	seconds [60]struct {
		at int64 // Unix
		n  uint64
	}
}

// add counts n lookups that came between two times: nobody knows when, so they are spread
// evenly over these seconds.
func (r *rate) add(from, to time.Time, n uint64) {
	last := to.Unix()
	first := min(max(from.Unix(), last-int64(len(r.seconds))+1), last)
	of := uint64(max(to.Unix()-from.Unix()+1, 1)) // seconds, also those that are too long ago
	for s := first; s <= last; s++ {
		at := of - uint64(last-s) // of these seconds, it is the at-th
		r.addIn(s, n*at/of-n*(at-1)/of)
	}
}

func (r *rate) addIn(s int64, n uint64) {
	if b := &r.seconds[(s%60+60)%60]; b.at == s {
		b.n += n
	} else if b.at < s {
		b.at, b.n = s, n
	}
}

// of returns the lookups in a second.
func (r *rate) of(second int64) uint64 {
	if b := &r.seconds[(second%60+60)%60]; b.at == second {
		return b.n
	}
	return 0
}

// rateOver is how many seconds make the rate that is shown. The last one is not over.
const rateOver = 10

// mean returns how many lookups a second there were lately.
func (r *rate) mean(now time.Time) float64 {
	sum := uint64(0)
	for s := range int64(rateOver) {
		sum += r.of(now.Unix() - 1 - s)
	}
	return float64(sum) / rateOver
}

// A group is the rows of one device, vendor or name.
type group struct {
	key, label string
	lookups    uint64
	attempts   uint64
	blocked    uint64
	names      map[string]bool // of a vendor or a device
	devices    map[string]bool // of a vendor or a name
	last       *Row
}

// groups counts rows by what a tab is about, the most lookups first. Rows that say nothing
// of it are in none.
func groups(tab Tab, rows []*Row) []*group {
	by := map[string]*group{}
	var all []*group
	for _, r := range rows {
		key, label := r.Device, r.Who
		switch tab {
		case Vendors:
			key, label = r.Vendor, r.Vendor
		case Names:
			key, label = r.Name, r.Name
		}
		if key == "" {
			continue
		}
		g := by[key]
		if g == nil {
			g = &group{key: key, names: map[string]bool{}, devices: map[string]bool{}}
			by[key] = g
			all = append(all, g)
		}
		g.label, g.last = label, r
		g.lookups += r.Count
		g.attempts += r.Attempts
		g.names[r.Name], g.devices[r.Device] = true, true
		if r.Verdict == "block" {
			g.blocked += r.Count
		}
	}
	sorting.StableBy(all, func(a, b *group) int {
		switch {
		case a.lookups > b.lookups:
			return -1
		case a.lookups < b.lookups:
			return 1
		}
		return strings.Compare(a.key, b.key)
	})
	return all
}
