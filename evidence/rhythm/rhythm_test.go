package rhythm

import (
	"context"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"telltale/devices"
	"telltale/querylog"
)

// A made is a log of attempts that a test makes up.
type made struct {
	since, until time.Time
	rows         []querylog.Row
	gaps         []querylog.Gap
	imports      []querylog.ImportedLog
	bound        []devices.Binding
	uncounted    bool
}

func (m *made) Bindings(context.Context) ([]devices.Binding, error) { return m.bound, nil }

func (m *made) Begun(_ context.Context, f querylog.Filter, listed bool) iter.Seq2[*querylog.Row, error] {
	return func(yield func(*querylog.Row, error) bool) {
		slices.SortStableFunc(m.rows, func(a, b querylog.Row) int { return a.Time.Compare(b.Time.Time) })
		for i := range m.rows {
			r := m.rows[i]
			if listed && r.Vendor == "" || r.Time.Before(f.Since) || r.Time.After(f.Until) {
				continue
			}
			if !yield(&r, nil) {
				return
			}
		}
	}
}

func (m *made) Coverage(_ context.Context, since, until time.Time) (querylog.Coverage, error) {
	c := querylog.Coverage{Since: querylog.Time{Time: since}, Until: querylog.Time{Time: until}, Gaps: m.gaps, Imports: m.imports, AttemptGap: 30 * time.Second, AttemptsSince: querylog.Time{Time: m.since}}
	if m.uncounted {
		c.AttemptsSince = querylog.Time{}
	}
	return c, nil
}

func (m *made) Totals(context.Context, querylog.TotalsFilter) iter.Seq2[querylog.Total, error] {
	return func(yield func(querylog.Total, error) bool) {
		for i := range m.rows {
			r := &m.rows[i]
			if !yield(querylog.Total{Hour: querylog.Time{Time: r.Time.Truncate(time.Hour)}, Device: r.Device, Vendor: r.Vendor, Lookups: max(r.Count, 2)}, nil) {
				return
			}
		}
	}
}

func (m *made) ask(name string, at ...time.Time) {
	for _, t := range at {
		if t.Before(m.since) || !t.Before(m.until) {
			continue
		}
		r := querylog.Row{Time: querylog.Time{Time: t}, Device: "tv", Name: name, Attempts: 1, TTL: 10}
		if strings.HasSuffix(name, "acme.example") {
			r.Vendor, r.Attribution, r.AttributionList, r.AttributionLine = "Acme", "rule", "acme", 1+len(name)
		}
		m.rows = append(m.rows, r)
	}
}

func (m *made) find(t *testing.T, name string) Rhythm {
	t.Helper()
	f, err := Make(t.Context(), m, Options{Since: m.since, Until: m.until, Unlisted: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range f.Rhythms {
		if r.Name == name {
			if sum(r.Strip) != int(r.Attempts) {
				t.Errorf("the strip of %s has %d attempts of %d", name, sum(r.Strip), r.Attempts)
			}
			return r
		}
	}
	t.Fatalf("nothing is said of %s: %+v", name, f.Rhythms)
	return Rhythm{}
}

func sum(strip []int) (n int) {
	for _, v := range strip {
		n += max(v, 0)
	}
	return n
}

var begin = time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)

// days is a log of so many days in which a device is used from 18 to 23 o'clock: it starts
// with two names, and asks for names of no vendor meanwhile.
func days(n int) (*made, *rand.Rand) {
	m, r := &made{since: begin, until: begin.AddDate(0, 0, n)}, rand.New(rand.NewPCG(1, 2))
	for day := range n {
		start := begin.AddDate(0, 0, day).Add(18*time.Hour + time.Duration(r.IntN(3000))*time.Second)
		m.ask("boot.acme.example", start.Add(2*time.Second))
		m.ask("news.example", start)
		for range 30 {
			m.ask("news.example", start.Add(time.Duration(r.IntN(5*3600))*time.Second))
		}
		for range 3 {
			m.ask("use.acme.example", start.Add(time.Duration(60+r.IntN(4*3600))*time.Second))
		}
	}
	return m, r
}

// Each rhythm is found where it is, and told by its words.
func TestRhythmsAreTold(t *testing.T) {
	for _, c := range []struct {
		name string
		kind Kind
		text string
		also func(m *made, r *rand.Rand)
	}{
		{"boot.acme.example", Boot, "at 14 of 14 starts of the device", func(*made, *rand.Rand) {}},
		{"use.acme.example", InUse, "100 % in the", func(*made, *rand.Rand) {}},
		{"night.acme.example", Nightly, "nights between 02:", func(m *made, r *rand.Rand) {
			for day := range 14 {
				for k := range 3 {
					m.ask("night.acme.example", begin.AddDate(0, 0, day).Add(2*time.Hour+time.Duration(5+k+r.IntN(20))*time.Minute))
				}
			}
		}},
		{"daily.acme.example", Nightly, "in 14 of 14 nights between 03:", func(m *made, r *rand.Rand) {
			for day := range 14 {
				m.ask("daily.acme.example", begin.AddDate(0, 0, day).Add(3*time.Hour+time.Duration(r.IntN(600))*time.Second))
			}
		}},
		{"beat.acme.example", Heartbeat, "every 2 h, give or take 0.0 s; 100 % of beats are there", func(m *made, _ *rand.Rand) {
			for at := begin; at.Before(m.until); at = at.Add(2 * time.Hour) {
				m.ask("beat.acme.example", at)
			}
		}},
		{"ttl.acme.example", Heartbeat, "possibly ours: answers were served for 10 min", func(m *made, r *rand.Rand) {
			for at := begin; at.Before(begin.Add(5 * time.Hour)); at = at.Add(600*time.Second + time.Duration(r.IntN(9000))*time.Millisecond) {
				m.ask("ttl.acme.example", at)
				m.rows[len(m.rows)-1].TTL = 600
			}
		}},
		{"gap.acme.example", TooFew, "too few", func(m *made, _ *rand.Rand) { m.ask("gap.acme.example", begin.Add(time.Hour), begin.Add(7*time.Hour)) }},
		{"fast.acme.example", Heartbeat, "possibly ours: two attempts cannot begin much closer", func(m *made, r *rand.Rand) {
			for at := begin; at.Before(begin.Add(time.Hour)); at = at.Add(45*time.Second + time.Duration(r.IntN(2000))*time.Millisecond) {
				m.ask("fast.acme.example", at)
			}
		}},
		{"random.acme.example", Irregular, "no rhythm was found", func(m *made, r *rand.Rand) {
			for range 60 {
				m.ask("random.acme.example", begin.Add(time.Duration(r.Int64N(int64(14*24*time.Hour)))))
			}
		}},
	} {
		m, r := days(14)
		c.also(m, r)
		if got := m.find(t, c.name); got.Kind != c.kind || !strings.Contains(got.Text, c.text) {
			t.Errorf("%s: got %s, %q; want %s, %q", c.name, got.Kind, got.Text, c.kind, c.text)
		}
	}
}

// What is not recorded is no silence: beats of a gap are not missed ones, a night without
// a record is no night without a batch, and the strip has a place where nothing is known.
func TestGapsAreNoSilence(t *testing.T) {
	m, _ := days(14)
	for at := begin; at.Before(m.until); at = at.Add(time.Hour) {
		m.ask("beat.acme.example", at)
	}
	for day := range 14 {
		m.ask("night.acme.example", begin.AddDate(0, 0, day).Add(2*time.Hour+time.Duration(day)*time.Minute))
	}
	since, until := begin.AddDate(0, 0, 4), begin.AddDate(0, 0, 7)
	m.rows = slices.DeleteFunc(m.rows, func(r querylog.Row) bool { return !r.Time.Before(since) && r.Time.Before(until) })
	without := m.find(t, "beat.acme.example")
	if without.Beat == nil || without.Beat.Pauses != 1 {
		t.Errorf("without a gap in the record, got %+v, want one pause", without.Beat)
	}
	m.gaps = []querylog.Gap{{Since: querylog.Time{Time: since}, Until: querylog.Time{Time: until}, Effect: querylog.Unrecorded, Kind: querylog.GapDown}}
	got := m.find(t, "beat.acme.example")
	if got.Beat == nil || got.Beat.Pauses != 0 || got.Beat.Present != 1 {
		t.Errorf("got %+v, want all beats that could be recorded", got.Beat)
	}
	unknown := 0
	for _, n := range got.Strip {
		if n < 0 {
			unknown++
		}
	}
	if unknown < 24 || unknown > 26 {
		t.Errorf("%d of 120 parts of the strip are unknown, want three days of fourteen", unknown)
	}
	if got := m.find(t, "night.acme.example"); got.Nights == nil || got.Nights.With != 11 || got.Nights.Of != 11 {
		t.Errorf("got %+v, want 11 of 11 nights", got.Nights)
	}
}

// The last night counts also where the period ends at an earlier time of day than it begins at.
func TestEachNightOfAPeriodCounts(t *testing.T) {
	for _, hours := range []int{0, 1, 3, 9, 23} {
		since := begin.Add(time.Duration(hours) * time.Hour)
		m := &made{since: since, until: since.AddDate(0, 0, 6)}
		for night := range 7 {
			if night != 3 {
				m.ask("night.acme.example", begin.AddDate(0, 0, night).Add(2*time.Hour+10*time.Minute))
			}
		}
		if got := m.find(t, "night.acme.example"); got.Nights == nil || got.Nights.With != 5 || got.Nights.Of != 6 {
			t.Errorf("a period from %d:00 on: got %+v, want 5 of 6 nights", hours, got.Nights)
		}
	}
}

// Names of one rule are looked at together: what is asked for under a new name each time
// has its rhythm there.
func TestARuleHasTheRhythmOfItsNames(t *testing.T) {
	m, _ := days(7)
	for i := range 80 {
		m.ask(fmt.Sprintf("a%04d.t.acme.example", i), begin.Add(time.Duration(i)*2*time.Hour))
	}
	got := m.find(t, "*.t.acme.example")
	if got.Kind != Heartbeat || got.Names != 80 || got.Attempts != 80 || got.Listed != "acme:21" {
		t.Errorf("got %s (%s) of %d names and %d attempts by %s", got.Kind, got.Text, got.Names, got.Attempts, got.Listed)
	}
}

// A log of before attempts were counted has no rhythms, and says why.
func TestWithoutAttemptsThereIsNoRhythm(t *testing.T) {
	m := &made{since: begin, until: begin.AddDate(0, 0, 1), uncounted: true}
	f, err := Make(t.Context(), m, Options{Since: m.since, Until: m.until})
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Rhythms) != 0 || !strings.Contains(strings.Join(f.Caveats, " "), "attempts were not counted") {
		t.Errorf("got %+v", f)
	}
}

// What log: false kept out of the log is missing: it is no silence and no pause, and it is said.
func TestWhatIsNotLoggedIsMissing(t *testing.T) {
	m := &made{since: begin, until: begin.AddDate(0, 0, 10)}
	at := func(hours int) time.Time { return begin.Add(time.Duration(hours) * time.Hour) }
	m.bound = []devices.Binding{
		{Device: "tv", From: begin, Until: at(96)}, {Device: "tv", From: at(96), Until: at(144), NoLog: true}, {Device: "tv", From: at(144)},
		{Device: "phone", From: at(120), NoLog: true}, {Device: "ignored", From: begin, NoLog: true},
	}
	for hour := range 240 {
		if hour < 96 || hour >= 144 {
			m.ask("beat.acme.example", at(hour).Add(30*time.Minute))
			if hour%24 == 2 {
				m.ask("night.acme.example", at(hour))
			}
		}
	}
	all := querylog.Filter{Without: []querylog.DeviceSpan{{Device: "ignored"}}}
	one := func(device string) querylog.Filter {
		return querylog.Filter{Devices: []querylog.DeviceSpan{{Device: device}}}
	}
	for _, c := range []struct {
		whose     querylog.Filter
		days      float64 // recorded
		tv, other string  // of caveats
	}{
		{all, 10, "lookups of tv were not recorded from Fri 6 Mar 00:00 to Sun 8 Mar 00:00: ", "lookups of phone were not recorded from Sat 7 Mar 00:00 on: "},
		{one("tv"), 8, "lookups of tv were not recorded from Fri 6 Mar 00:00 to Sun 8 Mar 00:00: ", ""},
		{one("ignored"), 0, "", "lookups of ignored were not recorded from Mon 2 Mar 00:00 on: "},
		{one("fridge"), 10, "", ""},
	} {
		f, err := Make(t.Context(), m, Options{Since: m.since, Until: m.until, Whose: c.whose})
		if err != nil {
			t.Fatal(err)
		}
		said := strings.Join(f.Caveats, "\n")
		want := 0
		for _, text := range []string{c.tv, c.other} {
			if text != "" {
				want++
			}
			if !strings.Contains(said, text) {
				t.Errorf("%+v: got %s, want %q", c.whose.Devices, said, text)
			}
		}
		if got := strings.Count(said, "were not recorded"); got != want || float64(f.Recorded) != c.days*86400 {
			t.Errorf("%+v: got %d times not recorded and %d seconds, want %d and %v days", c.whose.Devices, got, f.Recorded, want, c.days)
		}
		if c.tv == "" {
			continue
		}
		for _, r := range f.Rhythms {
			unknown := 0
			for _, n := range r.Strip {
				if n < 0 {
					unknown++
				}
			}
			if unknown < 24 || unknown > 25 {
				t.Errorf("%s: %d of 120 parts of the strip are unknown, want two days of ten", r.Name, unknown)
			}
			if r.Name == "night.acme.example" && (r.Nights == nil || r.Nights.With != 8 || r.Nights.Of != 8) {
				t.Errorf("got %+v, want 8 of 8 nights", r.Nights)
			}
		}
	}
}

// Imported lookups are in no rhythm: for how long the other server recorded is not known.
func TestImportedLookupsAreLeftOut(t *testing.T) {
	m, _ := days(7)
	for i := range 30 {
		m.ask("beat.acme.example", begin.Add(time.Duration(i)*time.Hour))
		m.rows[len(m.rows)-1].Imported = "pihole"
	}
	before := m.since.AddDate(0, 0, -1) // attempts were not counted yet
	m.rows = append(m.rows, querylog.Row{Time: querylog.Time{Time: before.Add(time.Hour)}, Device: "tv", Name: "beat.acme.example", Attempts: 7, Vendor: "Acme", Attribution: "rule", Imported: "dnsmasq"})
	f, err := Make(t.Context(), m, Options{Since: before, Until: m.until, Vendor: "Acme"})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range f.Rhythms {
		if r.Name == "beat.acme.example" {
			t.Errorf("got %+v", r)
		}
	}
	if !strings.Contains(strings.Join(f.Caveats, " "), "37 attempts were imported") {
		t.Errorf("got %q", f.Caveats)
	}
}

func TestARhythmSaysWhetherItsNameIsAnsweredHere(t *testing.T) {
	m := &made{since: begin, until: begin.Add(time.Hour)}
	m.ask("nas.smith.example", begin, begin.Add(time.Minute))
	m.ask("a.acme.example", begin)
	m.ask("b.acme.example", begin)
	m.rows[0].Verdict, m.rows[3].Verdict = "answer", "answer" // one of two lookups, and one of two names of a rule
	m.ask("shop.example", begin)
	for name, want := range map[string]bool{"nas.smith.example": true, "shop.example": false, "a.acme.example": false, "*.acme.example": true} {
		if got := m.find(t, name).Here; got != want {
			t.Errorf("%s: got %v, want %v", name, got, want)
		}
	}
}

// All attempts of a row count, as they do in reports, though they have one time.
func TestAttemptsOfOneWindowAllCount(t *testing.T) {
	m := &made{since: begin, until: begin.AddDate(0, 0, 5)}
	for day := range 5 {
		at := begin.AddDate(0, 0, day).Add(2 * time.Hour)
		for _, name := range []string{"a.t.acme.example", "b.t.acme.example"} { // of one rule, at once
			m.ask(name, at)
			m.rows[len(m.rows)-1].Attempts = uint32(2 + day%2)
		}
	}
	got := m.find(t, "a.t.acme.example")
	if got.Attempts != 12 || got.Nights == nil || got.Nights.Most != 3 {
		t.Errorf("got %d attempts, %+v; want 12, at most 3 in a night", got.Attempts, got.Nights)
	}
	if rule := m.find(t, "*.t.acme.example"); rule.Attempts != 12 {
		t.Errorf("got %d attempts at names of one rule at once, want 12", rule.Attempts)
	}
	m.rows = m.rows[:6]
	if got := m.find(t, "a.t.acme.example"); got.Attempts != 7 || got.Kind != TooFew {
		t.Errorf("got %d attempts, %s", got.Attempts, got.Kind)
	}
	m.rows[0].Attempts = 9
	if got := m.find(t, "a.t.acme.example"); got.Kind != TooFew || !strings.Contains(got.Text, "in fewer than 8 windows") {
		t.Errorf("got %d attempts, %s, %s", got.Attempts, got.Kind, got.Text)
	}
}

// Imported lookups do not say that a device is used, nor that it was not silent.
func TestImportedLookupsSayNothingOfUse(t *testing.T) {
	m, _ := days(14)
	day := begin.AddDate(0, 0, 3)
	for i := range 16 { // each of many lookups, before the device starts here
		m.rows = append(m.rows, querylog.Row{Time: querylog.Time{Time: day.Add(time.Duration(i) * time.Hour)}, Device: "tv", Name: "news.example", Attempts: 1, Count: 2000, Imported: "pihole"})
	}
	m.imports = []querylog.ImportedLog{{Format: "pihole", First: querylog.Time{Time: day}, Last: querylog.Time{Time: day.Add(15 * time.Hour)}}}
	if got := m.find(t, "use.acme.example"); got.Kind != InUse {
		t.Errorf("got %s, %q", got.Kind, got.Text)
	}
	if got := m.find(t, "boot.acme.example"); got.Boots == nil || got.Boots.Of != 14 {
		t.Errorf("got %+v, want 14 starts", got.Boots)
	}
	f, err := Make(t.Context(), m, Options{Since: m.since, Until: m.until})
	if err != nil || !strings.Contains(strings.Join(f.Caveats, " "), "no starts of a device are looked for") {
		t.Errorf("got %v, %v", f.Caveats, err)
	}
}
