package rhythm

import (
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"telltale/querylog"
)

const dayLong = 86400.0

// newlyRuns is how many series of each kind are looked at day by day: few in make test, some
// in make bench, and what NEWLY_RUNS says where a person has hours.
func newlyRuns(few, some int) int {
	if n, err := strconv.Atoi(os.Getenv("NEWLY_RUNS")); err == nil && n > 0 {
		return n
	}
	if runs(few) > few {
		return some
	}
	return few
}

// sameNames are processes of names that are asked for alike all year, seconds from its
// beginning.
var sameNames = []struct {
	what string
	next func(r *rand.Rand, mean float64) func() float64
}{
	irregular[0], irregular[1], irregular[2], irregular[3], irregular[4],
	{"used in sessions of an hour or two, one in three days", func(r *rand.Rand, mean float64) func() float64 {
		begin, end, at := 0.0, 0.0, 0.0
		return func() float64 {
			at += mean / 30 * r.ExpFloat64()
			for at > end {
				begin = end + 3*dayLong*r.ExpFloat64()
				end, at = begin+3600*(1+r.Float64()), begin
			}
			return at
		}
	}},
	{"only at weekends, from 9 to 24 o'clock", func(r *rand.Rand, mean float64) func() float64 {
		at := 0.0
		return func() float64 {
			for {
				at += mean / 5 * r.ExpFloat64()
				if math.Mod(at/dayLong, 7) >= 5 && math.Mod(at, dayLong) > 9*3600 {
					return at
				}
			}
		}
	}},
	{"a heartbeat only at weekends, from 9 to 24 o'clock", func(r *rand.Rand, mean float64) func() float64 {
		at := 0.0
		return func() float64 {
			for {
				at += mean / 5 * (0.95 + 0.1*r.Float64())
				if math.Mod(at/dayLong, 7) >= 5 && math.Mod(at, dayLong) > 9*3600 {
					return at
				}
			}
		}
	}},
	{"a heartbeat from 18 to 23 o'clock", func(r *rand.Rand, mean float64) func() float64 {
		at := 0.0
		return func() float64 {
			for {
				at += mean / 5 * (0.95 + 0.1*r.Float64())
				if h := math.Mod(at, dayLong) / 3600; h > 18 && h < 23 {
					return at
				}
			}
		}
	}},
	{"four weeks of ten nobody is there", func(r *rand.Rand, mean float64) func() float64 {
		at := 0.0
		return func() float64 {
			for {
				at += mean / 2 * r.ExpFloat64()
				if math.Mod(at/dayLong, 70) < 42 {
					return at
				}
			}
		}
	}},
	{"twice as often after each month, and then as at first", func(r *rand.Rand, mean float64) func() float64 {
		at := 0.0
		return func() float64 {
			at += 4 * mean * r.ExpFloat64() / math.Pow(2, math.Mod(math.Floor(at/dayLong/30), 4))
			return at
		}
	}},
}

// attemptTimes are when the attempts of so many days begin, in milliseconds since 1970.
func attemptTimes(next func() float64, days int) (out []int64) {
	last := math.Inf(-1)
	for {
		at := next()
		if at >= float64(days)*dayLong {
			return out
		}
		if at-last >= 30 {
			out = append(out, begin.UnixMilli()+int64(at*1000))
		}
		last = at
	}
}

// looked is what a look at the end of a day finds of attempts, of a device that asks all day.
func looked(times []int64, day int) *Newly {
	until := begin.Add(time.Duration(day) * 24 * time.Hour)
	since := until.Add(-NewlyReads)
	if since.Before(begin) {
		since = begin
	}
	hours := int(until.Sub(since).Hours())
	always := slices.Repeat([]bool{true}, hours)
	r := &reading{o: &Options{Since: since, Until: until}, since: since.UnixMilli(), gap: 30 * time.Second, first: since.Unix() / hour,
		devices: map[string]*device{"tv": {observed: &observed{recorded: always, known: always}, present: always}}}
	i, _ := slices.BinarySearch(times, since.UnixMilli())
	k, _ := slices.BinarySearch(times, until.UnixMilli())
	s := &series{Rhythm: Rhythm{Device: "tv", Name: "x.example", TTL: 10, times: times[i:k]}, listed: true}
	for _, window := range []int64{dayWindow, weekWindow} {
		if n := r.newly(s, window); n != nil {
			return n
		}
	}
	return nil
}

// Of names that are asked for alike all year, in a home of 25 devices with 40 of them each,
// at most one a year is said to have a new heartbeat. NEWLY_RUNS says how many years of each
// there are where FINDINGS_RUNS is set: 10 take seconds, 100 minutes, and 2,000, as
// make bench has of the others, hours.
func TestNewHeartbeatsAreSeldomFalse(t *testing.T) {
	years, days, means := newlyRuns(1, 10), 60, []float64{600, 4 * 3600}
	if years >= 10 {
		days, means = 365, []float64{60, 600, 3600, 4 * 3600}
	}
	all, of := 0, 0
	for _, process := range sameNames {
		found, looks := 0, 0
		for _, mean := range means {
			r := rand.New(rand.NewPCG(7, uint64(mean)))
			for range years {
				times := attemptTimes(process.next(r, mean), days)
				for day := 4; day <= days; day++ {
					looks++
					if n := looked(times, day); n != nil {
						found++
						t.Logf("%s, %g s: day %d: %+v of %.0f, %d before", process.what, mean, day, *n.Beat, n.Due, n.Before)
						break // it is told once
					}
				}
			}
		}
		names := len(means) * years
		t.Logf("%s: %d of %d names in %d days (%d looks)", process.what, found, names, days, looks)
		all, of = all+found, of+names
	}
	if rate := float64(all) / float64(of); rate > 1e-3 {
		t.Errorf("%.5f of names are said to have a new heartbeat", rate)
	}
}

// A heartbeat that begins is found, of whatever period, within two days or sixteen.
func TestNewHeartbeatsAreFound(t *testing.T) {
	many := newlyRuns(8, 100)
	for _, h := range heartbeats {
		for _, p := range []float64{60, 300, 3600, 2 * 3600, 6 * 3600, 12 * 3600} {
			r := rand.New(rand.NewPCG(3, uint64(p)))
			found, late := 0, 0.0
			for range many {
				next := h.next(r, p)
				start := 20*dayLong + dayLong*r.Float64()
				times := attemptTimes(func() float64 {
					for {
						if at := start + next(); r.Float64() >= 0.2 {
							return at
						}
					}
				}, 60)
				for day := 20; day < 60; day++ {
					n := looked(times, day)
					if n == nil {
						continue
					}
					if math.Abs(n.Beat.Period/p-1) < 0.1 && math.Abs(n.Began.Sub(begin).Seconds()-start) < 8*p+60 {
						found++
						late += float64(day) - start/dayLong
					}
					break
				}
			}
			share := float64(found) / float64(many)
			t.Logf("%s, period %g s: %.4f found, after %.1f days", h.what, p, share, late/float64(found))
			if p <= 6*3600 && share < h.least {
				t.Errorf("%s, period %g s: %.4f found", h.what, p, share)
			}
		}
	}
}

// What is new is only what nothing else explains.
func TestWhatIsANewHeartbeat(t *testing.T) {
	every := func(m *made, name string, from, to time.Duration, period time.Duration) {
		for at := from; at < to; at += period {
			m.ask(name, begin.Add(at))
		}
	}
	const day = 24 * time.Hour
	for what, c := range map[string]struct {
		want int
		made func(m *made)
	}{
		"new":                               {1, func(m *made) { every(m, "beat.acme.example", 13*day, 14*day, 10*time.Minute) }},
		"it goes on for a quarter of a day": {0, func(m *made) { every(m, "beat.acme.example", 13*day+18*time.Hour, 14*day, 10*time.Minute) }},
		"it ended":                          {0, func(m *made) { every(m, "beat.acme.example", 13*day, 13*day+18*time.Hour, 10*time.Minute) }},
		"it was there before":               {0, func(m *made) { every(m, "beat.acme.example", 0, 14*day, 10*time.Minute) }},
		"it was there last week for a day": {0, func(m *made) {
			every(m, "beat.acme.example", 13*day, 14*day, 10*time.Minute)
			every(m, "beat.acme.example", 6*day, 7*day, 10*time.Minute)
		}},
		"no list has it":     {0, func(m *made) { every(m, "beat.example", 13*day, 14*day, 10*time.Minute) }},
		"of the attempt gap": {0, func(m *made) { every(m, "beat.acme.example", 13*day, 14*day, 45*time.Second) }},
		"the device is new":  {0, func(m *made) { m.rows = nil; every(m, "beat.acme.example", 12*day, 14*day, 10*time.Minute) }},
		"the device was away": {0, func(m *made) {
			m.rows = nil
			every(m, "other.example", 0, 2*time.Hour, time.Minute)
			every(m, "beat.acme.example", 13*day, 14*day, 10*time.Minute)
		}},
		"the time before is lost": {0, func(m *made) {
			every(m, "beat.acme.example", 13*day, 14*day, 10*time.Minute)
			m.gaps = []querylog.Gap{{Since: querylog.Time{Time: begin}, Until: querylog.Time{Time: begin.Add(11 * day)}, Effect: querylog.Unrecorded}}
		}},
	} {
		m := &made{since: begin, until: begin.Add(14 * day)}
		every(m, "other.example", 0, 14*day, 50*time.Minute)
		c.made(m)
		got, err := NewHeartbeats(t.Context(), m, Options{Since: m.since, Until: m.until})
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != c.want {
			t.Errorf("%s: got %+v", what, got)
		}
		for _, n := range got {
			if n.Began != begin.Add(13*day).Local() && !n.Began.Equal(begin.Add(13*day)) || n.Name != "beat.acme.example" || n.Beat.Period != 600 || n.Before != 0 || n.Due < 1000 {
				t.Errorf("%s: got %+v, %+v", what, n, n.Beat)
			}
		}
	}
}
