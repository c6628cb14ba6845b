// Package logtest has a log for tests of reports: that of a small home, made up from a
// seed and kept in memory. Each lookup stands alone in it, beside the rows that a log
// makes of them, and tests compare the two. Package household makes larger ones, and
// writes them through the log's own writer.
package logtest

import (
	"context"
	"fmt"
	"iter"
	"math/rand/v2"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"telltale/devices"
	"telltale/querylog"
)

// A Lookup is one lookup, and whether an attempt begins with it.
type Lookup struct {
	Time    time.Time
	Device  *Device
	Name    *Name
	Type    string
	Verdict string
	Begins  bool
}

// A Device is one of the home's.
type Device struct {
	Identity, Label, MAC, Addr string
	Source                     devices.Source
	Confidence                 devices.Confidence
	Names                      []*Name
	Awake                      func(at time.Time) bool
}

// A Name is one that devices ask for.
type Name struct {
	Name, Vendor, Product, Purpose, Tier, Source, Confidence string
	Attribution                                              string // rule, list, owner, or "" for none
	PerHour                                                  float64
	Retries                                                  int // of a blocked name
	From, Until                                              time.Time
}

// A Home is a household, and the log of it.
type Home struct {
	Zone    *time.Location
	Begin   time.Time // a Monday's midnight
	End     time.Time
	Devices []*Device
	Lookups []Lookup // as recorded: none in a gap
	Gaps    []querylog.Gap
	Events  []querylog.Event
	Imports []querylog.ImportedLog

	Uncounted bool                       // attempts were not counted
	Imported  func(*querylog.Row) string // from which kind of log a row is imported; nil for none
	RowsFrom  time.Time                  // rows of before are deleted, and totals are left; zero for none
	rows      []querylog.Row
}

// Days is how long a household is: two weeks, the second with a change of clocks.
const Days = 14

// New makes up a household.
func New(seed uint64) *Home {
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		panic(err)
	}
	begin := time.Date(2025, 10, 13, 0, 0, 0, 0, zone)
	h := &Home{Zone: zone, Begin: begin, End: begin.AddDate(0, 0, Days)}
	h.addGaps()
	h.addDevices()
	r := rand.New(rand.NewPCG(seed, seed))
	for _, d := range h.Devices {
		for _, n := range d.Names {
			h.ask(r, d, n)
		}
	}
	slices.SortStableFunc(h.Lookups, func(a, b Lookup) int { return a.Time.Compare(b.Time) })
	h.fold()
	return h
}

func (h *Home) day(n, hour, minute int) time.Time {
	return time.Date(2025, 10, 13+n, hour, minute, 0, 0, h.Zone)
}

func (h *Home) addGaps() {
	gap := func(since, until time.Time, effect querylog.Effect, kind, detail string) {
		h.Gaps = append(h.Gaps, querylog.Gap{Since: querylog.Time{Time: since}, Until: querylog.Time{Time: until}, Effect: effect, Kind: kind, Detail: detail})
	}
	gap(h.day(8, 3, 10), h.day(8, 4, 58), querylog.Unrecorded, querylog.KindCrash, "the server had ended without notice")
	gap(h.day(10, 19, 0), h.day(10, 19, 30), querylog.Unblocked, "pause", "")
	gap(h.day(12, 2, 30), h.day(12, 3, 30), querylog.Unrecorded, querylog.GapDown, "no server ran: it was stopped")
	event := func(at time.Time, kind, subject, detail string) {
		h.Events = append(h.Events, querylog.Event{Time: querylog.Time{Time: at}, Node: "home", Kind: kind, Subject: subject, Detail: detail})
	}
	event(h.day(2, 9, 0), "reload", "acme", "2 rules added")
	event(h.day(8, 4, 58), querylog.KindCrash, "", "")
	event(h.day(8, 4, 58), querylog.KindStart, "telltale 1.0", "process 4711")
	event(h.day(9, 20, 15), "note", "living-room-tv", "opted out of <viewing data> in the settings")
	event(h.day(10, 19, 0), "pause", "", "for 30m")
	event(h.day(10, 19, 30), "resume", "", "")
	event(h.day(11, 8, 0), "upstream-down", "192.0.2.53", "no answer")
	event(h.day(12, 2, 30), querylog.KindStop, "", "")
	event(h.day(12, 3, 30), querylog.KindStart, "telltale 1.0", "process 815")
}

func listed(name, vendor, product, purpose, tier string, perHour float64) *Name {
	return &Name{
		Name: name, Vendor: vendor, Product: product, Purpose: purpose, Tier: tier, PerHour: perHour, Attribution: "rule", Confidence: "stated",
		Source: "https://docs.example/" + url.PathEscape(strings.ToLower(vendor)) + "/privacy https://study.example/2024/" + url.PathEscape(name),
	}
}

func (h *Home) addDevices() {
	always := func(time.Time) bool { return true }
	hours := func(from, to int) func(time.Time) bool {
		return func(at time.Time) bool { hour := at.In(h.Zone).Hour(); return hour >= from && hour < to }
	}
	other := func(name, owner string, perHour float64) *Name {
		n := &Name{Name: name, PerHour: perHour}
		if owner != "" {
			n.Vendor, n.Attribution = owner, "owner"
		}
		return n
	}
	tv := listed("logs.tv.acme.example", "Acme", "Acme TV", "viewing", "telemetry", 2)
	tv.Retries, tv.Confidence = 12, "vendor-documents"
	opted := listed("acr.tv.acme.example", "Acme", "Acme TV", "content-recognition", "telemetry", 3)
	opted.Until = h.day(9, 20, 15)
	late := listed("ads.tv.acme.example", "Acme", "Acme TV", "advertising", "telemetry", 1)
	late.From = h.day(8, 0, 0)
	check := listed("check.phone.example", "Phonemaker & Söhne", "Phone OS", "connectivity", "essential", 1)
	metrics := listed("metrics.phone.example", "Phonemaker & Söhne", "Phone OS", "analytics", "telemetry", 0.7)
	push := listed("push.phone.example", "Phonemaker & Söhne", "Push", "push", "mixed", 1.5)
	push.Attribution = "list"
	lamp := listed("beacon.lamps.example", "Lamps", "", "", "telemetry", 0.2)
	lamp.Confidence = "name"
	evil := listed("=cmd|'/c calc'!<script>alert(1)</script>\x1b[31m\u202ex.example", "<b>Evil</b>, \"Inc\"", "-1+2|*x*", "@sum(1)", "mixed", 0.05)
	h.Devices = []*Device{
		{Identity: "living-room-tv", Label: "living-room-tv", MAC: "aa:bb:cc:00:00:01", Addr: "192.168.1.11", Source: devices.ConfiguredMAC, Confidence: devices.High,
			Names: []*Name{tv, opted, late, other("www.shop.example", "Shop", 0.5)}, Awake: func(at time.Time) bool { return hours(17, 24)(at) || at.Minute() < 2 }},
		{Identity: "phone", Label: "phone", MAC: "aa:bb:cc:00:00:02", Addr: "192.168.1.12", Source: devices.ConfiguredMAC, Confidence: devices.High,
			Names: []*Name{check, metrics, push, other("news.example", "", 4)}, Awake: hours(7, 23)},
		{Identity: "mac:aa:bb:cc:00:00:03", Label: "lamp-3", MAC: "aa:bb:cc:00:00:03", Addr: "192.168.1.13", Source: devices.Neighbour, Confidence: devices.Medium,
			Names: []*Name{lamp}, Awake: always},
		{Identity: "addr:192.168.1.14", Label: "192.168.1.14", Addr: "192.168.1.14", Source: devices.BareAddress, Confidence: devices.Low,
			Names: []*Name{other("update.os.example", "Osmaker", 0.5), evil}, Awake: hours(9, 18)},
	}
}

// ask makes attempts of a name, each some lookups close together and quiet for more
// than 30 s behind it.
func (h *Home) ask(r *rand.Rand, d *Device, n *Name) {
	at := h.Begin
	for {
		at = at.Add(time.Duration(r.ExpFloat64() / n.PerHour * float64(time.Hour))).Truncate(time.Millisecond)
		if !at.Before(h.End.Add(-time.Minute)) {
			return
		}
		if !d.Awake(at) || !n.From.IsZero() && at.Before(n.From) || !n.Until.IsZero() && at.After(n.Until) || h.blind(at) || h.blind(at.Add(40*time.Second)) {
			at = at.Add(time.Minute)
			continue
		}
		verdict := h.verdict(n, at)
		begins := true
		tries := 1
		if verdict == "block" {
			tries += n.Retries
		}
		for range tries {
			for _, t := range []string{"A", "AAAA"} {
				h.Lookups = append(h.Lookups, Lookup{at, d, n, t, verdict, begins})
				begins = false
				at = at.Add(time.Duration(r.IntN(40)) * time.Millisecond)
			}
			at = at.Add(time.Duration(500+r.IntN(2000)) * time.Millisecond)
		}
		at = at.Add(31 * time.Second)
	}
}

// blind reports whether nothing was recorded at a time.
func (h *Home) blind(at time.Time) bool {
	return slices.ContainsFunc(h.Gaps, func(g querylog.Gap) bool {
		return g.Effect == querylog.Unrecorded && !at.Before(g.Since.Time) && at.Before(g.Until.Time)
	})
}

func (h *Home) verdict(n *Name, at time.Time) string {
	paused := !at.Before(h.day(10, 19, 0)) && at.Before(h.day(10, 19, 30))
	switch {
	case n.Attribution != "rule" && n.Attribution != "list" || n.Tier == "essential":
		return "pass"
	case paused || n.Tier == "mixed":
		return "observe"
	}
	return "block"
}

const window = 10 * time.Second

// fold makes rows of lookups: those of a window that are alike are one.
func (h *Home) fold() {
	type key struct {
		window   int64
		device   *Device
		name     *Name
		typ, ver string
	}
	place := map[key]int{}
	for i := range h.Lookups {
		l := &h.Lookups[i]
		k := key{l.Time.UnixNano() / int64(window), l.Device, l.Name, l.Type, l.Verdict}
		at, ok := place[k]
		if !ok {
			at = len(h.rows)
			place[k] = at
			h.rows = append(h.rows, h.row(l, at))
		}
		row := &h.rows[at]
		row.Count++
		row.Last = querylog.Time{Time: l.Time}
		if l.Begins {
			row.Attempts++
		}
	}
}

func (h *Home) row(l *Lookup, at int) querylog.Row {
	d, n := l.Device, l.Name
	r := querylog.Row{
		Time: querylog.Time{Time: l.Time}, Node: "home", Device: d.Identity, DeviceName: d.Label, Client: d.Addr, MAC: d.MAC, Name: n.Name, Type: l.Type, Verdict: l.Verdict,
		Binding: 1, BindingSource: d.Source.String(), BindingConfidence: d.Confidence.String(), Vendor: n.Vendor, Attribution: n.Attribution, Rcode: "NOERROR",
		AnsweredFrom: "policy", Transport: "udp", Store: "s", ID: int64(at + 1),
	}
	if n.Attribution == "rule" || n.Attribution == "list" {
		r.Product, r.Purpose, r.Tier, r.Source, r.Confidence = n.Product, n.Purpose, n.Tier, n.Source, n.Confidence
		r.AttributionList, r.AttributionLine = "acme", len(n.Name)
	}
	return r
}

// WithoutVerdicts makes every third row be one of which nobody knows what was decided, and
// returns how many lookups they have.
func (h *Home) WithoutVerdicts() (lookups uint64) {
	for i := range h.rows {
		if i%3 == 0 {
			h.rows[i].Verdict = "unknown"
			lookups += h.rows[i].Count
		}
	}
	return lookups
}

// Rows returns the rows that a filter of times, devices and vendors chooses.
func (h *Home) Rows(_ context.Context, f querylog.Filter) iter.Seq2[querylog.Row, error] {
	return func(yield func(querylog.Row, error) bool) {
		for _, r := range h.rows {
			if r.Time.Before(h.RowsFrom) || r.Last.Before(f.Since) || r.Time.After(f.Until) || f.Vendor != "" && !strings.EqualFold(r.Vendor, f.Vendor) ||
				len(f.Devices) > 0 && !querylog.AnyHas(f.Devices, r.Device, r.Time.Time) || f.Device != "" && r.Client != f.Device {
				continue
			}
			if h.Uncounted {
				r.Attempts = 0
			}
			if h.Imported != nil {
				r.Imported = h.Imported(&r)
			}
			if !yield(r, nil) {
				return
			}
		}
	}
}

// Begun returns the rows that a filter chooses in which an attempt begins.
func (h *Home) Begun(ctx context.Context, f querylog.Filter, listed bool) iter.Seq2[*querylog.Row, error] {
	return func(yield func(*querylog.Row, error) bool) {
		for r := range h.Rows(ctx, f) {
			if r.Attempts > 0 && (!listed || r.Vendor != "") && !yield(&r, nil) {
				return
			}
		}
	}
}

// Sums returns the rows that a filter chooses: for whole days, sums of those of listed
// names, as a store makes them.
func (h *Home) Sums(ctx context.Context, f querylog.SumFilter) iter.Seq2[*querylog.Sum, error] {
	return func(yield func(*querylog.Sum, error) bool) {
		sums, order := map[querylog.Row]*querylog.Sum{}, []*querylog.Sum{}
		add := func(of querylog.Row, part querylog.SumPart, r *querylog.Row) {
			s := sums[of]
			if s == nil {
				s = &querylog.Sum{Row: of, Part: part}
				s.Time, s.Last = r.Time, r.Last
				sums[of], order = s, append(order, s)
			}
			s.Count += r.Count
			s.Attempts += r.Attempts
			s.ID = max(s.ID, r.ID)
			s.Time, s.Last = querylog.Time{Time: earliest(s.Time.Time, r.Time.Time)}, querylog.Time{Time: latest(s.Last.Time, r.Last.Time)}
		}
		all := querylog.Filter{Since: f.Since, Until: f.Until, Device: f.Device, Devices: f.Devices, Without: f.Without, Vendor: f.Vendor}
		for r := range h.Rows(ctx, all) {
			if r.Time.Before(f.Since) || !r.Time.Before(f.Until) {
				continue
			}
			day := r.Time.UTC().Truncate(24 * time.Hour)
			apart := slices.ContainsFunc(f.Apart, func(at time.Time) bool { return at.After(day) && at.Before(day.AddDate(0, 0, 1)) })
			if f.Rows || apart || day.Before(f.Since) || day.AddDate(0, 0, 1).After(f.Until) || r.Attribution != "rule" && r.Attribution != "list" {
				if !yield(&querylog.Sum{Row: r}, nil) {
					return
				}
				continue
			}
			of := r
			of.Last, of.ID, of.Count, of.Attempts, of.Type = querylog.Time{}, 0, 0, 0, ""
			of.Time = querylog.Time{Time: day}
			add(of, querylog.Named, &r)
			of.Time, of.Name, of.Alias, of.AttributionLine = querylog.Time{Time: r.Time.UTC().Truncate(time.Hour)}, "", "", 0
			add(of, querylog.Hourly, &r)
		}
		slices.SortStableFunc(order, func(a, b *querylog.Sum) int { return int(a.Part) - int(b.Part) })
		for _, s := range order {
			if !yield(s, nil) {
				return
			}
		}
	}
}

// Ledger returns the events between two times.
func (h *Home) Ledger(_ context.Context, since, until time.Time) (all []querylog.Event, err error) {
	for _, e := range h.Events {
		if !e.Time.Before(since) && !e.Time.After(until) {
			all = append(all, e)
		}
	}
	return all, nil
}

// Bindings returns who held which address.
func (h *Home) Bindings(context.Context) (all []devices.Binding, err error) {
	for i, d := range h.Devices {
		all = append(all, devices.Binding{
			ID: uint64(i + 1), Device: d.Identity, Name: d.Label, Addr: netip.MustParseAddr(d.Addr), MAC: d.MAC, Source: d.Source, Confidence: d.Confidence, From: h.Begin,
		})
	}
	return all, nil
}

// Coverage returns the gaps between two times.
func (h *Home) Coverage(_ context.Context, since, until time.Time) (querylog.Coverage, error) {
	c := querylog.Coverage{Since: querylog.Time{Time: since}, Until: querylog.Time{Time: until}, Begin: querylog.Time{Time: h.Begin}}
	c.Listed, c.Unlisted, c.Totals = h.oldest(true), h.oldest(false), c.Begin
	c.OldestListed, c.OldestUnlisted = c.Listed, c.Unlisted
	c.Imports = h.Imports
	if !h.Uncounted {
		c.AttemptsSince, c.AttemptGap = c.Begin, 30*time.Second
	}
	add := func(g querylog.Gap) {
		g.Since, g.Until = querylog.Time{Time: latest(g.Since.Time, since)}, querylog.Time{Time: earliest(g.Until.Time, until)}
		if g.Since.Before(g.Until.Time) {
			c.Gaps = append(c.Gaps, g)
		}
	}
	add(querylog.Gap{Until: c.Begin, Effect: querylog.Unrecorded, Kind: querylog.GapUnknown, Detail: "the log begins later"})
	for _, g := range h.Gaps {
		add(g)
	}
	return c, nil
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earliest(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// oldest returns the time of the oldest row of listed names, or of others.
func (h *Home) oldest(listed bool) querylog.Time {
	for i := range h.rows {
		if r := &h.rows[i]; !r.Time.Before(h.RowsFrom) && (r.Attribution == "rule" || r.Attribution == "list") == listed {
			return r.Time
		}
	}
	return querylog.Time{}
}

// Totals returns the hourly totals that a filter chooses.
func (h *Home) Totals(_ context.Context, f querylog.TotalsFilter) iter.Seq2[querylog.Total, error] {
	all := map[querylog.Total]*querylog.Total{}
	var order []*querylog.Total
	for i := range h.rows {
		r := &h.rows[i]
		of := querylog.Total{Hour: querylog.Time{Time: r.Time.UTC().Truncate(time.Hour)}, Device: r.Device, Verdict: r.Verdict}
		if r.Attribution == "rule" || r.Attribution == "list" {
			of.Vendor, of.Product, of.Purpose, of.Tier = r.Vendor, r.Product, r.Purpose, r.Tier
		}
		t := all[of]
		if t == nil {
			one := of
			one.First, one.Last, one.Names = r.Time, r.Last, 1 // at least
			t = &one
			all[of], order = t, append(order, t)
		}
		t.Lookups += r.Count
		if !h.Uncounted {
			t.Attempts += uint64(r.Attempts)
		}
		t.First, t.Last = querylog.Time{Time: earliest(t.First.Time, r.Time.Time)}, querylog.Time{Time: latest(t.Last.Time, r.Last.Time)}
	}
	slices.SortStableFunc(order, func(a, b *querylog.Total) int { return a.Hour.Compare(b.Hour.Time) })
	return func(yield func(querylog.Total, error) bool) {
		for _, t := range order {
			if !t.Hour.Add(time.Hour).After(f.Since) || !t.Hour.Before(f.Until) || f.Vendor != "" && !strings.EqualFold(t.Vendor, f.Vendor) ||
				f.Others && t.Vendor != "" || len(f.Devices) > 0 && !slices.Contains(f.Devices, t.Device) {
				continue
			}
			if !yield(*t, nil) {
				return
			}
		}
	}
}

// Hours returns none: totals have all lookups.
func (h *Home) Hours(context.Context, time.Time, time.Time) ([]querylog.Hour, error) { return nil, nil }

// String says how large a household is.
func (h *Home) String() string {
	return fmt.Sprintf("%d lookups in %d rows", len(h.Lookups), len(h.rows))
}
