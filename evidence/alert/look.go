package alert

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"telltale/evidence"
	"telltale/evidence/destination"
	"telltale/evidence/experiment"
	"telltale/evidence/rhythm"
	"telltale/querylog"
)

// A Log is what conditions are read from: *querylog.Reader.
type Log interface {
	Rows(ctx context.Context, f querylog.Filter) iter.Seq2[querylog.Row, error]
	experiment.Log
	rhythm.Log
}

// A Source is the log as it is now, and who devices are today.
type Source struct {
	Log     Log
	Today   func(identity string, at time.Time) string                                          // which device it is today that had an identity at a time
	Name    func(device string) string                                                          // what a device of today is called
	Ignored func(device string) bool                                                            // whether nothing is to be told of it
	Planned func(identity string, at time.Time) (today, name string, was []querylog.DeviceSpan) // of experiment.Options
	Close   func() error
}

// overlap is for how long before a condition began to be watched rows are read: those that
// were not stored when what was known was read.
const overlap = 15 * time.Minute

// look returns what happened since the last look, and notes that it did.
func (t *Teller) look(ctx context.Context, src *Source, s *Settings, now time.Time) ([]Alert, error) {
	if err := t.watch(ctx, src, s, now); err != nil {
		return nil, err
	}
	alerts, err := t.lookAtRows(ctx, src, s, now)
	if err != nil || now.Sub(t.ledgerAt) < ledgerEvery {
		return alerts, err
	}
	for _, of := range []struct {
		kind string
		look func(context.Context, *Source, *Settings, time.Time) ([]Alert, error)
	}{{Coverage, t.lookAtCoverage}, {DestinationMoved, t.lookAtDestinations}, {StoppedTelemetry, t.lookAtStopped}, {NewHeartbeat, t.lookAtHeartbeats}} {
		if !slices.Contains(s.Tell, of.kind) {
			continue
		}
		more, err := of.look(ctx, src, s, now)
		if err != nil {
			return nil, err
		}
		alerts = append(alerts, more...)
	}
	t.ledgerAt = now
	return alerts, nil
}

// watch begins to watch what is to be told from now on: what the log has already is not
// told. What is to be told no more is forgotten.
func (t *Teller) watch(ctx context.Context, src *Source, s *Settings, now time.Time) error {
	st := t.state
	for kind := range st.Watched {
		if !slices.Contains(s.Tell, kind) {
			delete(st.Watched, kind)
			st.Seen = slices.DeleteFunc(st.Seen, func(seen seen) bool { return seen.Kind == kind })
			if kind == Coverage {
				st.Low = false
			}
			if kind == StoppedTelemetry {
				st.Stopped, st.StoppedTo = nil, time.Time{}
			}
			if kind == NewHeartbeat {
				st.HeartbeatsTo = time.Time{}
			}
		}
	}
	begin := map[string]bool{}
	for _, kind := range s.Tell {
		if _, ok := st.Watched[kind]; !ok {
			begin[kind] = true
		}
	}
	from := now
	if !t.looked && !t.o.Began.IsZero() { // what came between is new: the first look may be late
		from = now.Add(-max(0, now.Sub(t.o.Began)))
	}
	if begin[FirstLookup] || begin[WentAround] {
		known := t.known(src)
		for sum, err := range src.Log.Sums(ctx, querylog.SumFilter{Since: time.Unix(0, 0), Until: from}) {
			if err != nil {
				return err
			}
			if did, ok := doing(&sum.Row); ok && begin[did.Kind] {
				t.isNew(src, known, did)
			}
		}
	}
	for kind := range begin {
		st.Watched[kind] = from
	}
	return nil
}

// A deed is a device of today, and what it did.
type deed struct{ kind, device, about string }

// known returns what devices of today did before.
func (t *Teller) known(src *Source) map[deed]bool {
	known := make(map[deed]bool, len(t.state.Seen))
	for i := range t.state.Seen {
		s := &t.state.Seen[i]
		known[deed{s.Kind, src.Today(s.Device, s.Time), s.About}] = true
	}
	return known
}

// isNew reports whether a device did something for the first time, and notes it.
func (t *Teller) isNew(src *Source, known map[deed]bool, did seen) bool {
	key := deed{did.Kind, src.Today(did.Device, did.Time), did.About}
	if known[key] {
		return false
	}
	known[key] = true
	t.state.see(did)
	return true
}

// doing returns what a row is of that may be told of once for each device.
func doing(r *querylog.Row) (s seen, ok bool) {
	if r.Vendor == "" || r.Attribution != "rule" && r.Attribution != "list" {
		return s, false
	}
	s = seen{Device: r.Device, Time: r.Time.Time}
	switch {
	case r.Purpose == "dns-bypass":
		s.Kind, s.About = WentAround, r.Vendor+"\n"+r.Product
	case r.Tier == "essential":
		return s, false
	default:
		s.Kind, s.About = FirstLookup, r.Vendor
	}
	return s, true
}

// lookAtRows makes alerts of rows that were not looked at before. Open ones are looked at
// again: what they say is not new then.
func (t *Teller) lookAtRows(ctx context.Context, src *Source, s *Settings, now time.Time) (alerts []Alert, err error) {
	st, since := t.state, time.Time{}
	for _, kind := range []string{FirstLookup, WentAround} {
		if at, ok := st.Watched[kind]; ok && (since.IsZero() || at.Before(since)) {
			since = at
		}
	}
	if since.IsZero() {
		return nil, nil
	}
	for row, err := range src.Log.Rows(ctx, querylog.Filter{Listed: true, Limit: 1}) {
		if err != nil {
			return nil, err
		}
		if row.Store != st.Store || row.ID < st.Row { // another store, or an older copy of it
			st.Store, st.Row = row.Store, 0
		}
	}
	known, first, again := t.known(src), map[deed]time.Time(nil), false
	for row, err := range src.Log.Rows(ctx, querylog.Filter{Listed: true, After: st.Row, Since: since.Add(-overlap)}) {
		if err != nil {
			return nil, err
		}
		again = again || row.Open
		if !again {
			st.Row = row.ID
		}
		if row.Open && row.Binding == 0 { // it may get its device until it is closed, within a minute
			continue
		}
		did, ok := doing(&row)
		if _, watched := st.Watched[did.Kind]; !ok || !watched || !t.isNew(src, known, did) {
			continue
		}
		device := src.Today(row.Device, row.Time.Time)
		if row.Imported != "" || src.Ignored(device) {
			continue
		}
		if first == nil {
			if first, err = firstTimes(ctx, src, now); err != nil {
				return nil, err
			}
		}
		if at, ok := first[deed{did.Kind, device, did.About}]; !ok || !at.Before(did.Time.Add(-overlap)) { // rows of some minutes are in no order
			alerts = append(alerts, t.ofRow(&row, did.Kind, plain(src.Name(device)), now))
		}
	}
	return alerts, nil
}

// firstTimes are when devices of today did things first, by all that the log has now: a row
// that was imported has a smaller number than rows that were looked at before.
func firstTimes(ctx context.Context, src *Source, now time.Time) (map[deed]time.Time, error) {
	first := map[deed]time.Time{}
	for sum, err := range src.Log.Sums(ctx, querylog.SumFilter{Since: time.Unix(0, 0), Until: now}) {
		if err != nil {
			return nil, err
		}
		if did, ok := doing(&sum.Row); ok {
			key := deed{did.Kind, src.Today(did.Device, did.Time), did.About}
			if at, ok := first[key]; !ok || did.Time.Before(at) {
				first[key] = did.Time
			}
		}
	}
	return first, nil
}

// answered says what became of a lookup.
func answered(r *querylog.Row) string {
	switch r.Verdict {
	case "block":
		return "it was blocked"
	case "allow":
		return "it was allowed"
	case "answer":
		return "it was answered here"
	case "observe":
		return passedOn(r, ", as "+cmp.Or(observedAs[r.ObservedBy], "it is only observed"))
	}
	return passedOn(r, "")
}

// passedOn says what became of a lookup that was not decided here, and why it was not: that
// there is no such name, or that nobody knew, is no answer.
func passedOn(r *querylog.Row, why string) string {
	switch r.Rcode {
	case "NOERROR":
		return "it was answered" + why
	case "":
		return "it was not blocked" + why + ", and had no reply"
	}
	return "it was not blocked" + why + ", and the reply was " + plain(r.Rcode)
}

// observedAs says why what a rule blocks was answered, by the log's word for it.
var observedAs = map[string]string{
	"list": "the list only observes", "schedule": "a schedule of its group only observes", "tier": "names of tier mixed are not blocked for it", "tcp-only": "the rule asks to come by TCP, and it did",
	"device": "the settings of the device only observe", "group": "the settings of its group only observe", "everything": "blocking is off (blocking.observe)",
	"pause": "blocking was paused", "pause-device": "blocking was paused for the device", "pause-group": "blocking was paused for its group", "pause-list": "the list was paused", "pause-vendor": "the vendor was paused",
	"observe": "everything was only observed for a time", "observe-device": "the device was only observed for a time", "observe-group": "its group was only observed for a time",
	"observe-list": "the list was only observed for a time", "observe-vendor": "the vendor was only observed for a time",
}

func (t *Teller) ofRow(r *querylog.Row, kind, label string, now time.Time) Alert {
	name, vendor := plain(r.Name), plain(r.Vendor)
	a := Alert{
		ID: id(kind, r.Store, r.Device, r.Vendor, r.Product, r.Time.String()), Kind: kind, Time: r.Time, Found: querylog.Time{Time: now}, Node: t.o.Node,
		Device: r.Device, Label: label, Vendor: vendor, Name: name,
	}
	if name == "" { // of names that were counted together
		name = "a name that is not known any more"
	}
	what := answered(r)
	if kind == WentAround {
		a.Text = fmt.Sprintf("%s asked for %s, a name of another resolver (%s), and %s", label, name, plain(cmp.Or(r.Product, r.Vendor)), what)
		if r.Verdict == "block" {
			a.Text += ". It may have asked elsewhere all the same."
		} else {
			a.Text += ": what it asks there is not in this log. It may only have tried."
		}
	} else {
		said := plain(cmp.Or(r.Tier, "telemetry"))
		if r.Purpose != "" && r.Purpose != r.Tier {
			said += ", " + plain(r.Purpose)
		}
		if r.AttributionList == evidence.ObservedList {
			of := "a name that you observe below " + plain(strings.TrimPrefix(r.Vendor, evidence.ObservedVendor))
			if evidence.ObservedVendor+r.Name == r.Vendor {
				of = name + ", or of a name below it,"
			}
			a.Text = fmt.Sprintf("%s asked for %s, which you observe as a candidate (no list of others says whose it is); %s. It is the device's first lookup of %s since you observe it.", label, name, what, of)
		} else {
			a.Text = fmt.Sprintf("%s asked for %s, which the list %s has as %s's (%s); %s. The log has no earlier lookup of a listed name of %s by this device.", label, name, plain(cmp.Or(r.AttributionList, r.List)), vendor, said, what, vendor)
		}
	}
	a.Command = fmt.Sprintf("telltale log --device %s --vendor %s --since %s --until %s", quote(cmp.Or(label, r.Device)), quote(vendor), second(r.Time.Time), second(r.Last.Add(time.Second)))
	return a
}

// second writes a time for a command.
func second(at time.Time) string { return at.UTC().Format(time.RFC3339) }

// ledgerEvery is how often the ledger is looked at: it is read whole.
const ledgerEvery = 10 * time.Minute

// leastMissing is the shortest time of which it is told that it was not recorded: a restart
// takes less than a second, and 100 % would else be a message of "0 s" after each.
const leastMissing = time.Second

// lookAtCoverage makes an alert where less of the last day was recorded than is wanted,
// once until enough is again.
func (t *Teller) lookAtCoverage(ctx context.Context, src *Source, s *Settings, now time.Time) ([]Alert, error) {
	const day = 24 * time.Hour
	since := now.Add(-day)
	if from := t.state.Watched[Coverage]; from.After(since) {
		since = from
	}
	c, err := src.Log.Coverage(ctx, since, now)
	if err != nil {
		return nil, err
	}
	missing := c.Length() - c.Recorded()
	if missing <= day*time.Duration(100-s.Coverage)/100 || missing < leastMissing {
		t.state.Low = false
		return nil, nil
	}
	if t.state.Low {
		return nil, nil
	}
	t.state.Low = true
	text := fmt.Sprintf("%s of the last 24 hours were not recorded: whether anything was asked then is not in the log (wanted are %d %% of a day, alerts.coverage).", evidence.Length(missing), s.Coverage)
	var longest *querylog.Gap
	for i := range c.Gaps {
		if g := &c.Gaps[i]; g.Effect == querylog.Unrecorded && (longest == nil || g.Until.Sub(g.Since.Time) > longest.Until.Sub(longest.Since.Time)) {
			longest = g
		}
	}
	if longest != nil {
		text += " The longest gap: " + plain(evidence.GapText(longest, t.o.Zone)) + "."
	}
	at := querylog.Time{Time: now}
	return []Alert{{
		ID: id(Coverage, t.o.Node, at.String()), Kind: Coverage, Time: at, Found: at, Node: t.o.Node, Text: text,
		Command: fmt.Sprintf("telltale ledger --since %s --until %s", second(since), second(now)),
	}}, nil
}

// Bounds of what is told of the ledger.
const (
	ledgerAge   = 31 * 24 * time.Hour // what is older is not told any more
	longestText = 1_000               // characters of what an event says
)

// lookAtDestinations makes an alert of each event that says that a name moved.
func (t *Teller) lookAtDestinations(ctx context.Context, src *Source, _ *Settings, now time.Time) (alerts []Alert, err error) {
	since := now.Add(-ledgerAge)
	t.state.Seen = slices.DeleteFunc(t.state.Seen, func(s seen) bool { return s.Kind == DestinationMoved && s.Time.Before(since) })
	if from := t.state.Watched[DestinationMoved]; from.After(since) {
		since = from
	}
	events, err := src.Log.Ledger(ctx, since, time.Time{})
	if err != nil {
		return nil, err
	}
	known := t.known(src)
	for i := range events {
		ev := &events[i]
		if ev.Kind != destination.KindMoved || !t.isNew(src, known, seen{Kind: DestinationMoved, About: ev.Subject + "\n" + ev.Time.String(), Time: ev.Time.Time}) {
			continue
		}
		name := plain(ev.Subject)
		alerts = append(alerts, Alert{
			ID: id(DestinationMoved, ev.Node, ev.Subject, ev.Time.String()), Kind: DestinationMoved, Time: ev.Time, Found: querylog.Time{Time: now}, Node: t.o.Node, Name: name,
			Text:    fmt.Sprintf("%s leads elsewhere than when it was last asked for: %s. That is what databases say of its addresses here; where data goes from there, is not in DNS.", name, plainTo(ev.Detail, longestText)),
			Command: fmt.Sprintf("telltale destinations %s --history", quote(name)),
		})
	}
	return alerts, nil
}
