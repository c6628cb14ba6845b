package rhythm

import (
	"cmp"
	"context"
	"math"
	"slices"
	"time"

	"telltale/sorting"
)

const (
	newBeats   = 12               // attempts in the last window
	newSupport = 10               // of it: it is looked at every day, and is to be false once in years
	newBefore  = 7 * 24           // recorded hours since the device was first seen, before it: what comes at weekends alone has come then
	newDue     = 20               // beats that such a rhythm has in the hours before in which the device asked anything
	newShare   = 0.25             // of them, so many attempts there are at most
	newBlock   = 0.6              // of the window's attempts, so many there are at most in any time as long before it
	newHistory = 30 * 24 * hour   // seconds before the window that are looked at
	dayWindow  = 24 * hour * 1000 // milliseconds
	weekWindow = 8 * dayWindow
)

// NewlyReads is for how long before a look rows are read to find new heartbeats.
const NewlyReads = weekWindow*time.Millisecond + newHistory*time.Second

// A Newly is a heartbeat that a device has at a name now and did not have before.
type Newly struct {
	Rhythm
	List   string        // that has the name
	Began  time.Time     // of its first beat
	Before int           // attempts at the name before the window in which it was found
	Due    float64       // beats that it would have had there
	Over   time.Duration // hours there that were recorded and in which the device asked anything
}

// NewHeartbeats returns the heartbeats of listed names that devices have at the end of the
// period and did not have before. The period is NewlyReads long, or as much of it as there
// is a log of. Those that may be ours are left out, see Rhythm.Ours.
func NewHeartbeats(ctx context.Context, log Log, o Options) ([]Newly, error) {
	o.Unlisted = false
	r, err := read(ctx, log, &o)
	if err != nil {
		return nil, err
	}
	var all []Newly
	for _, s := range r.series {
		if !s.listed {
			continue
		}
		for _, window := range []int64{dayWindow, weekWindow} {
			if n := r.newly(s, window); n != nil {
				all = append(all, *n)
				break
			}
		}
	}
	sorting.By(all, func(a, b Newly) int {
		return cmp.Or(a.Began.Compare(b.Began), cmp.Compare(a.Device, b.Device), cmp.Compare(a.Name, b.Name))
	})
	return all, nil
}

// newly returns the heartbeat of the window that ends with the period, where the time before
// it had none: it would have had newDue beats there or more, and less than a quarter of them
// are there. Nor did any time as long before the window have nearly as many attempts, as it
// has where a person uses something now and then.
func (r *reading) newly(s *series, window int64) *Newly {
	until := r.o.Until.UnixMilli()
	since := until - window
	first, _ := slices.BinarySearch(s.times, since)
	times := s.times[first:]
	if len(times) < newBeats {
		return nil
	}
	present, recorded, begin := r.hoursBefore(s, since)
	earlier, _ := slices.BinarySearch(s.times[:first], begin)
	before := first - earlier
	for i := earlier; i < first && s.more != nil; i++ {
		before += s.attempts(i) - 1
	}
	due := func(perSecond float64) float64 { return float64(present) * hour * perSecond }
	half := float64(window) / 1000 / 2 // of the window, so long it goes on at least
	if recorded < newBefore || float64(before) >= newShare*due(float64(len(times))/half) {
		return nil
	}
	intervals := r.devices[s.Device].intervals(times)
	b := findBeat(intervals, r.gap.Seconds())
	if b == nil || b.Beats < newBeats || b.support < newSupport || b.Period >= daily {
		return nil
	}
	active := 0.0
	for _, d := range intervals {
		if math.Round(d/b.Period) <= mostMissed {
			active += d
		}
	}
	last := float64(until-times[len(times)-1]) / 1000
	n := &Newly{Rhythm: s.Rhythm, List: s.list, Before: before, Due: due(float64(b.Beats-1) / active), Over: time.Duration(present) * time.Hour}
	n.Beat, n.times = b, nil
	if n.ours(r.gap); active < half || math.Round(last/b.Period) > mostMissed || n.Ours != "" || n.Due < newDue || float64(before) >= newShare*n.Due {
		return nil
	}
	blocks := map[int64]int{}
	for i := earlier; i < first; i++ {
		in := (since - s.times[i]) / window
		if blocks[in] += s.attempts(i); float64(blocks[in]) >= newBlock*float64(b.Beats) {
			return nil
		}
	}
	n.Began = time.UnixMilli(began(s.times, b.Period))
	n.First, n.Last, n.Kind = r.time(s.times[0]), r.time(s.times[len(s.times)-1]), Heartbeat
	return n
}

// hoursBefore returns in how many hours before a time a device asked anything, and how many
// were recorded since it first did, and since when attempts are looked at for that.
func (r *reading) hoursBefore(s *series, until int64) (present, recorded int, begin int64) {
	d := r.devices[s.Device]
	begin = max(until-newHistory*1000, r.since)
	end := min(max(until/1000/hour-r.first, 0), int64(len(d.known)))
	for i := max((begin/1000+hour-1)/hour-r.first, 0); i < end; i++ {
		if d.present[i] && d.known[i] {
			if present++; present == 1 {
				begin = (r.first + i) * hour * 1000
			}
		}
		if present > 0 && d.known[i] {
			recorded++
		}
	}
	return present, recorded, begin
}

// began returns the first of the attempts at the end that follow one another without a long
// pause: a fifth of all beats may be missing, and then six in a row now and then.
func began(times []int64, period float64) int64 {
	i := len(times) - 1
	for i > 0 && math.Round(float64(times[i]-times[i-1])/1000/period) <= 2*mostMissed {
		i--
	}
	return times[i]
}
