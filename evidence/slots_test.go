package evidence_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"telltale/devices"
	"telltale/evidence"
	"telltale/evidence/logtest"
	"telltale/querylog"
)

// A topHome counts its rows one by one.
type topHome struct{ *logtest.Home }

func (h topHome) Top(ctx context.Context, what string, f querylog.Filter, _ int) (all []querylog.TopRow, err error) {
	if what == "vendors" || what == "purposes" {
		return nil, fmt.Errorf("%s are read from sums", what)
	}
	for r := range h.Rows(ctx, f) {
		key := map[string]string{"names": r.Name, "devices": r.Device}[what]
		if !f.ByFirst || r.Time.Before(f.Since) || !r.Time.Before(f.Until) || f.Verdict != "" && f.Verdict != r.Verdict || f.Name != "" && !strings.Contains(r.Name, f.Name) {
			continue
		}
		one := querylog.TopRow{Key: key, Count: r.Count, Attempts: uint64(r.Attempts), First: r.Time, Last: r.Last}
		if i := slices.IndexFunc(all, func(t querylog.TopRow) bool { return t.Key == key }); i >= 0 {
			all[i].Add(one)
		} else {
			all = append(all, one)
		}
	}
	return all, nil
}

// slotTruth counts lookups by slot and by what they are of, each by itself.
func slotTruth(home *logtest.Home, o evidence.SlotOptions) truth {
	all := truth{}
	for i := range home.Lookups {
		l := &home.Lookups[i]
		if l.Time.Before(o.Since) || !l.Time.Before(o.Until) || o.Verdict != "" && l.Verdict != o.Verdict || !strings.Contains(l.Name.Name, o.Name) ||
			o.Vendor != "" && l.Name.Vendor != o.Vendor || len(o.Whose.Devices) > 0 && l.Device.Identity != o.Whose.Devices[0].Device {
			continue
		}
		key := map[string]string{"devices": l.Device.Identity, "vendors": l.Name.Vendor, "purposes": l.Name.Purpose, "names": l.Name.Name}[o.Of]
		if !isListed(l) && (o.Of == "vendors" || o.Of == "purposes") {
			continue
		}
		form := map[string]string{"hour": "2006-01-02 15 -0700 ", "day": "2006-01-02 "}[o.Step]
		one := evidence.Count{Lookups: 1}
		if l.Begins {
			one.Attempts = 1
		}
		all.add(l.Time.In(o.Zone).Format(form)+key, one)
	}
	return all
}

// What is counted by hour or day is what there was, each lookup counted by itself: of rows, of hourly totals
// where rows are deleted or the period is long, and on the day on which clocks are changed.
func TestSlotsAreTheTruth(t *testing.T) {
	india := time.FixedZone("India", 5*3600+1800)
	for _, rowsFrom := range []int{0, 10} { // the day from which on there are rows
		home := logtest.New(3)
		if rowsFrom > 0 {
			home.RowsFrom = home.Begin.AddDate(0, 0, rowsFrom).Add(17*time.Hour + 21*time.Minute)
		}
		week := evidence.Options{Since: home.Begin.AddDate(0, 0, 9), Until: home.End, Zone: home.Zone}
		long, between, tv, acme, elsewhere := week, week, week, week, week
		long.Since = home.End.AddDate(0, 0, -120)
		between.Since, between.Until = week.Since.Add(23*time.Minute), home.End.Add(-31*time.Minute)
		tv.Device, tv.Whose.Devices = "living-room-tv", []querylog.DeviceSpan{{Device: "living-room-tv"}}
		acme.Vendor, elsewhere.Zone = "Acme", india
		for what, o := range map[string]evidence.SlotOptions{
			"devices by hour": {Options: week, Of: "devices", Step: "hour"}, "devices by day": {Options: week, Of: "devices", Step: "day"},
			"vendors by hour": {Options: week, Of: "vendors", Step: "hour"}, "purposes by day": {Options: week, Of: "purposes", Step: "day"},
			"purposes of a device": {Options: tv, Of: "purposes", Step: "hour"}, "purposes of a vendor": {Options: acme, Of: "purposes", Step: "hour"},
			"devices, blocked": {Options: week, Of: "devices", Step: "hour", Verdict: "block"}, "vendors, observed": {Options: week, Of: "vendors", Step: "day", Verdict: "observe"},
			"vendors of a long period": {Options: long, Of: "vendors", Step: "hour"}, "devices of a long period": {Options: long, Of: "devices", Step: "day"},
			"between full hours": {Options: between, Of: "vendors", Step: "hour"},
			"elsewhere":          {Options: elsewhere, Of: "vendors", Step: "day"}, "elsewhere by hour": {Options: elsewhere, Of: "purposes", Step: "hour"},
			"names": {Options: week, Of: "names", Step: "day"}, "devices of a name": {Options: week, Of: "devices", Step: "day", Name: "tv.acme"}, "names, blocked": {Options: tv, Of: "names", Step: "day", Verdict: "block"},
		} {
			what = fmt.Sprintf("%s, rows of %d days are gone", what, rowsFrom)
			ofRows := o.Of == "names" || o.Name != ""
			if rowsFrom > 0 && (ofRows || what[:9] == "elsewhere" || what[:7] == "between") {
				continue // names are gone, and totals are of hours of UTC
			}
			got, totals := truth{}, uint64(0)
			end := o.Since
			_, err := evidence.EachSlot(t.Context(), topHome{home}, o, func(s *evidence.CountSlot) error {
				if !s.Since.Equal(end) {
					t.Errorf("%s: a slot begins %v, and the one before ends %v", what, s.Since, end)
				}
				end = s.Until.Time
				var sum evidence.Count
				for i := range s.Lines {
					l := &s.Lines[i]
					one := evidence.Count{Lookups: l.Count, Attempts: l.Attempts}
					got.add(s.Since.In(o.Zone).Format(map[string]string{"hour": "2006-01-02 15 -0700 ", "day": "2006-01-02 "}[o.Step])+l.Key, one)
					sum.Lookups, sum.Attempts = sum.Lookups+l.Count, sum.Attempts+l.Attempts
					totals += l.Totals
					if l.First.Before(s.Since.Time) || !l.First.Before(s.Until.Time) || l.Count == 0 {
						t.Errorf("%s: from %v: got %+v", what, s.Since, l)
					}
				}
				if s.Asked != nil && (s.Asked.Count != sum.Lookups || s.Asked.Attempts != sum.Attempts) {
					t.Errorf("%s: from %v: got %+v together, the lines are %+v", what, s.Since, s.Asked, sum)
				}
				return nil
			})
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			if !end.Equal(o.Until) {
				t.Errorf("%s: slots end %v, the period %v", what, end, o.Until)
			}
			sameTruth(t, what, got, slotTruth(home, o))
			if long := o.Since.Before(home.Begin); (totals > 0) != (rowsFrom > 0 || long) {
				t.Errorf("%s: %d lookups are read from totals", what, totals)
			}
		}
	}
}

// Where nothing was recorded there is no number, and what is not there is said to be whole only where no lookup may be missing.
func TestSlotsOfGapsHaveNoZero(t *testing.T) {
	home := logtest.New(3)
	home.Lookups = nil
	empty := *home
	empty.RowsFrom = home.End // no row is left: nobody asked
	o := evidence.SlotOptions{Options: evidence.Options{Since: home.Begin.Add(-3 * time.Hour), Until: home.End, Zone: home.Zone, Vendor: "Nobody"}, Of: "vendors", Step: "hour"}
	seen := map[string]int{}
	c, err := evidence.EachSlot(t.Context(), topHome{&empty}, o, func(s *evidence.CountSlot) error {
		if text, err := json.Marshal(s); err != nil || strings.Contains(string(text), "0001-") {
			t.Errorf("got %s, %v: want no time of what nobody asked for", text, err)
		}
		whole := s.Recorded == 3600
		if s.Whole != whole || (s.Asked != nil) != whole || s.Asked != nil && s.Asked.Count != 0 || s.Lines == nil {
			t.Errorf("from %v: got %+v, want a number only where all is recorded", s.Since, s)
		}
		switch {
		case whole:
			seen["whole"]++
		case s.Recorded > 0:
			seen["in part"]++
		default:
			seen["not at all"]++
		}
		return nil
	})
	if err != nil || fmt.Sprint(seen) != "map[in part:4 not at all:3 whole:333]" || !strings.Contains(c.Text, "gaps: ") {
		t.Errorf("got %v, %q, %v", seen, c.Text, err)
	}
	o.Since = home.End.AddDate(-2, 0, 0)
	if _, err := evidence.EachSlot(t.Context(), topHome{&empty}, o, nil); err == nil || !strings.Contains(err.Error(), "17,5") {
		t.Errorf("of two years by hour: got %v", err)
	}
}

// A notLoggedHome has devices whose lookups the settings keep out of the log, each from a time on.
type notLoggedHome struct {
	topHome
	from map[string]time.Time
}

func (h notLoggedHome) Bindings(ctx context.Context) ([]devices.Binding, error) {
	all, err := h.topHome.Bindings(ctx)
	for i := range all {
		if from, ok := h.from[all[i].Device]; ok {
			all[i].From, all[i].NoLog = from, true
		}
	}
	return all, err
}

// Hourly totals have no addresses: of a time whose rows are deleted nobody can say that an address asked for nothing,
// nor when it asked for nothing but what is listed.
func TestNothingIsSaidOfAnAddressWhoseRowsAreDeleted(t *testing.T) {
	home := logtest.New(3)
	home.RowsFrom = home.Begin.AddDate(0, 0, 10)
	o := evidence.Options{Since: home.Begin.AddDate(0, 0, 2), Until: home.End, Zone: home.Zone, Device: "192.168.1.12", Whose: querylog.Filter{Device: "192.168.1.12"}}
	whole := map[bool]int{}
	_, err := evidence.EachSlot(t.Context(), topHome{home}, evidence.SlotOptions{Options: o, Of: "devices", Step: "day"}, func(s *evidence.CountSlot) error {
		deleted := s.Since.Before(home.RowsFrom)
		if deleted && (s.Whole || s.Asked != nil) {
			t.Errorf("from %v, whose rows are deleted: got whole %v and %+v", s.Since, s.Whole, s.Asked)
		}
		if s.Whole {
			whole[deleted]++
		}
		return nil
	})
	if err != nil || whole[false] == 0 {
		t.Errorf("got %v whole, %v", whole, err)
	}
	for _, since := range []time.Time{o.Since, home.RowsFrom.Add(24 * time.Hour)} {
		o.Since = since
		r, err := evidence.Make(t.Context(), home, o)
		if err != nil {
			t.Fatal(err)
		}
		deleted := since.Before(home.RowsFrom)
		if caveats := strings.Join(r.Caveats, "; "); (r.Silent == nil) != deleted || strings.Contains(caveats, "earlier lookups of them are in no number") != deleted || strings.Contains(caveats, "only how many there were") {
			t.Errorf("since %v: got silent %+v, and %s", since, r.Silent, caveats)
		}
	}
}

// Where the settings kept a device's lookups out of the log, the slots of all devices are not whole, and the report says so.
func TestLogFalseOfADeviceIsNoSilenceOfAll(t *testing.T) {
	home := logtest.New(3)
	from := home.Begin.AddDate(0, 0, 11)
	h := notLoggedHome{topHome{home}, map[string]time.Time{"phone": from, "living-room-tv": from, "mac:aa:bb:cc:00:00:03": home.End}}
	o := evidence.Options{Since: home.Begin.AddDate(0, 0, 9), Until: home.End, Zone: home.Zone, Vendor: "Nobody"}
	c, err := evidence.EachSlot(t.Context(), h, evidence.SlotOptions{Options: o, Of: "vendors", Step: "hour"}, func(s *evidence.CountSlot) error {
		if want := s.Recorded == 3600 && !s.Until.After(from); s.Whole != want || (s.Asked != nil) != want {
			t.Errorf("from %v: got whole %v and %+v, want whole %v", s.Since, s.Whole, s.Asked, want)
		}
		return nil
	})
	if err != nil || c.Whole || !strings.HasSuffix(c.Text, "; not of 2 devices all the time (log: false)") {
		t.Errorf("got %+v, %v", c, err)
	}
	const caveat = "2 devices were not recorded all the time (log: false)"
	has := func(log evidence.Log, o evidence.Options) bool {
		r, err := evidence.Make(t.Context(), log, o)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Contains(strings.Join(r.Caveats, "; "), caveat)
	}
	if !has(h, o) {
		t.Error("the report of all devices does not say that lookups of two were not recorded")
	}
	lamp := o
	lamp.Device, lamp.Whose.Devices = "addr:192.168.1.14", []querylog.DeviceSpan{{Device: "addr:192.168.1.14"}}
	without := o
	without.Whose.Without = []querylog.DeviceSpan{{Device: "phone"}}
	if has(home, o) || has(h, lamp) || has(h, without) {
		t.Error("a report says of devices that it is not about that their lookups were not recorded")
	}
}
