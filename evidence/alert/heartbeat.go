package alert

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"telltale/evidence"
	"telltale/evidence/rhythm"
	"telltale/querylog"
)

const (
	heartbeatEvery  = 24 * time.Hour
	beatsOfALists   = 2 // periods before the first beat in which its list must not have changed
	lookupsAreReady = 2 * time.Minute
)

// lookAtHeartbeats makes an alert of each heartbeat that a device has at a listed name and
// did not have before, once a day.
func (t *Teller) lookAtHeartbeats(ctx context.Context, src *Source, _ *Settings, now time.Time) (alerts []Alert, err error) {
	st, watched := t.state, t.state.Watched[NewHeartbeat]
	if now.Sub(st.HeartbeatsTo) < heartbeatEvery && !now.Before(st.HeartbeatsTo) {
		return nil, nil
	}
	until := now.Add(-lookupsAreReady).Truncate(time.Second)
	o := rhythm.Options{Since: until.Add(-rhythm.NewlyReads), Until: until, Today: src.Today, Name: src.Name}
	if src.Planned != nil {
		o.Was = func(device string) []querylog.DeviceSpan { _, _, was := src.Planned(device, until); return was }
	}
	found, err := rhythm.NewHeartbeats(ctx, src.Log, o)
	if err != nil {
		return nil, err
	}
	var changes []querylog.Event
	if len(found) > 0 {
		if changes, err = src.Log.Ledger(ctx, until.Add(-2*rhythm.NewlyReads), time.Time{}); err != nil {
			return nil, err
		}
	}
	known := t.known(src)
	for i := range found {
		n := &found[i]
		if n.Began.Before(watched) || listChanged(changes, n) || src.Ignored(n.Device) {
			continue
		}
		if t.isNew(src, known, seen{Kind: NewHeartbeat, Device: n.Device, About: n.Name, Time: n.Began}) {
			alerts = append(alerts, t.ofHeartbeat(n, until, now))
		}
	}
	st.HeartbeatsTo = now
	return alerts, nil
}

// listChanged reports whether the list that has a name may have got it when its heartbeat
// began: rows of a name that no list has are kept for a day, so that it may be older.
func listChanged(events []querylog.Event, n *rhythm.Newly) bool {
	since := n.Began.Add(-time.Duration(beatsOfALists * n.Beat.Period * float64(time.Second)))
	return slices.ContainsFunc(events, func(e querylog.Event) bool {
		if e.Time.Before(since) || e.Time.After(n.Began) {
			return false
		}
		switch e.Kind {
		case "reload", "list-added", "list-accepted", "list-recovered":
			return e.Subject == n.List
		case "lists-loaded", "catalogue":
			return true
		}
		return false
	})
}

func (t *Teller) ofHeartbeat(n *rhythm.Newly, until, now time.Time) Alert {
	label, name, vendor, beat := plain(n.Label), plain(n.Name), plain(n.Vendor), n.Beat
	said := plain(cmp.Or(n.Tier, "telemetry"))
	if n.Purpose != "" {
		said += ", " + plain(n.Purpose)
	}
	before := fmt.Sprintf("%d attempts began", n.Before)
	if n.Before == 1 {
		before = "1 attempt began"
	}
	whose := fmt.Sprintf("which the list %s has as %s's (%s)", plain(n.List), vendor, said)
	if n.List == evidence.ObservedList {
		whose = "which you observe as a candidate (no list of others says whose it is)"
	}
	return Alert{
		ID: id(NewHeartbeat, t.o.Node, n.Device, n.Name, querylog.Time{Time: n.Began}.String()), Kind: NewHeartbeat, Time: querylog.Time{Time: n.Began}, Found: querylog.Time{Time: now}, Node: t.o.Node,
		Device: n.Device, Label: label, Vendor: vendor, Name: name,
		Text: fmt.Sprintf("%s has asked for %s every %s since %s, %s. In %d earlier hours that were recorded and in which it asked for anything, %s at that name, where such a heartbeat has about %.0f. What began then, an app, an update or a person, is not in DNS.",
			label, name, rhythm.Length(beat.Period), n.Began.In(t.o.Zone).Format("Mon 2 Jan 15:04"), whose, int(n.Over.Hours()), before, n.Due),
		Command: fmt.Sprintf("telltale rhythm %s --vendor %s --since %s --until %s", quote(cmp.Or(label, n.Device)), quote(vendor), second(n.Began), second(until)),
	}
}
