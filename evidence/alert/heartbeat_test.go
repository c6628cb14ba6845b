package alert

import (
	"testing"
	"time"

	"telltale/querylog"
)

// beats adds attempts of a television at a name, one in ten minutes.
func (d *desk) beats(name string, since, until time.Time) {
	for at := since; at.Before(until); at = at.Add(10 * time.Minute) {
		d.home.asked(at, "mac:02:00:5e:10:00:01", "Acme", name)
	}
}

func TestANewHeartbeatIsToldOnce(t *testing.T) {
	d := newDesk(t, NewHeartbeat)
	d.home.names["mac:02:00:5e:10:00:01"] = "tv"
	begin := noon.AddDate(0, 0, -20)
	d.beats("old.example", begin, noon.AddDate(0, 0, 4))
	d.beats("watched.example", noon.Add(-24*time.Hour), noon.AddDate(0, 0, 4)) // began before anybody wanted to be told
	d.round(t.Context(), noon)
	start := noon.Add(2 * time.Hour)
	d.beats("new.example", start, noon.AddDate(0, 0, 4))
	d.beats("listed.example", start, noon.AddDate(0, 0, 4))
	for i := range d.home.rows {
		if r := &d.home.rows[i]; r.Name == "listed.example" {
			r.AttributionList = "another"
		}
	}
	d.home.ledger = append(d.home.ledger, querylog.Event{Time: querylog.Time{Time: start.Add(-10 * time.Minute)}, Kind: "reload", Subject: "another"})
	d.round(t.Context(), noon.Add(20*time.Hour)) // not a day since the last look
	d.wants()
	for i := range 3 {
		d.start()
		d.round(t.Context(), noon.Add(time.Duration(24*(i+1))*time.Hour))
	}
	d.wants("tv has asked for new.example every 10 min since Sat 28 Nov 14:00, which the list ads has as Acme's (telemetry). In 479 earlier hours that were recorded and in which it asked for anything, 0 attempts began at that name, where such a heartbeat has about 2874. What began then")
	a := d.box.got[0].Alerts[0]
	if a.Command != "telltale rhythm tv --vendor Acme --since 2026-11-28T14:00:00Z --until 2026-11-29T11:58:00Z" || a.title() != "tv: a new heartbeat, new.example" || a.Name != "new.example" || !a.Time.Equal(start) {
		t.Errorf("got %+v", a)
	}
	d.s.Tell = nil
	d.round(t.Context(), noon.Add(100*time.Hour))
	if st := d.kept(t); len(st.Seen) != 0 || !st.HeartbeatsTo.IsZero() {
		t.Errorf("got %+v", st)
	}
}

// A device that is ignored is not told of.
func TestAHeartbeatOfAnIgnoredDevice(t *testing.T) {
	for _, ignored := range []bool{true, false} {
		d := newDesk(t, NewHeartbeat)
		d.home.ignored["mac:02:00:5e:10:00:01"] = ignored
		d.beats("old.example", noon.AddDate(0, 0, -20), noon.AddDate(0, 0, 2))
		d.round(t.Context(), noon)
		d.beats("new.example", noon.Add(time.Hour), noon.AddDate(0, 0, 2))
		d.round(t.Context(), noon.AddDate(0, 0, 1))
		if got := d.box.texts(); len(got) == 0 != ignored {
			t.Errorf("ignored %v: got %q", ignored, got)
		}
	}
}
