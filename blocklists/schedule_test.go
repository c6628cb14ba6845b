package blocklists

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"
)

const (
	weekdays = 1<<time.Monday | 1<<time.Tuesday | 1<<time.Wednesday | 1<<time.Thursday | 1<<time.Friday
	everyDay = 0x7f
)

func zone(t testing.TB, name string) *time.Location {
	t.Helper()
	z, err := time.LoadLocation(name)
	if err != nil {
		t.Skip("no time zones on this machine: ", err)
	}
	return z
}

func at(t testing.TB, z *time.Location, s string) time.Time {
	t.Helper()
	w, err := time.ParseInLocation("2006-01-02 15:04:05", s, z)
	check(t, err)
	return w
}

var scheduleCases = []struct {
	fact    string
	zone    string
	windows []Window
	now     string
	holds   bool
	next    string // UTC; "" for never
}{
	{"without windows it is always in force", "UTC", nil, "2026-03-04 12:00:00", true, ""},
	{"before its time it is not", "UTC", []Window{{weekdays, 16 * 60, 20 * 60}}, "2026-03-04 15:59:59", false, "2026-03-04 16:00:00"},
	{"it begins on the minute", "UTC", []Window{{weekdays, 16 * 60, 20 * 60}}, "2026-03-04 16:00:00", true, "2026-03-04 20:00:00"},
	{"it ends on the minute", "UTC", []Window{{weekdays, 16 * 60, 20 * 60}}, "2026-03-04 20:00:00", false, "2026-03-05 16:00:00"},
	{"friday evening waits for monday", "UTC", []Window{{weekdays, 16 * 60, 20 * 60}}, "2026-03-06 21:00:00", false, "2026-03-09 16:00:00"},
	{"over midnight it belongs to the day it begins on", "UTC", []Window{{1 << time.Saturday, 22 * 60, 6 * 60}}, "2026-03-08 05:59:00", true, "2026-03-08 06:00:00"},
	{"over midnight the same night a day later is another", "UTC", []Window{{1 << time.Saturday, 22 * 60, 6 * 60}}, "2026-03-09 05:00:00", false, "2026-03-14 22:00:00"},
	{"over midnight from saturday to sunday and on to monday", "UTC", []Window{{1 << time.Sunday, 22 * 60, 6 * 60}}, "2026-03-08 23:00:00", true, "2026-03-09 06:00:00"},
	{"windows that touch are one", "UTC", []Window{{everyDay, 8 * 60, 12 * 60}, {everyDay, 12 * 60, 14 * 60}}, "2026-03-04 11:00:00", true, "2026-03-04 14:00:00"},
	{"whole days that touch are one", "UTC", []Window{{1<<time.Saturday | 1<<time.Sunday, 0, minutesOfDay}}, "2026-03-07 11:00:00", true, "2026-03-09 00:00:00"},
	{"all of the week never ends", "UTC", []Window{{everyDay, 0, minutesOfDay}}, "2026-03-04 11:00:00", true, ""},
	{"once a week, just begun, ends first", "UTC", []Window{{1 << time.Wednesday, 11 * 60, 12 * 60}}, "2026-03-04 11:00:00", true, "2026-03-04 12:00:00"},
	{"once a week, just over, is a week away", "UTC", []Window{{1 << time.Wednesday, 11 * 60, 12 * 60}}, "2026-03-04 12:00:00", false, "2026-03-11 11:00:00"},

	// In Berlin the clocks skip from 02:00 to 03:00 on 2026-03-29 (01:00 UTC), and
	// go back from 03:00 to 02:00 on 2026-10-25 (01:00 UTC).
	{"in spring a night is an hour shorter", "Europe/Berlin", []Window{{everyDay, 22 * 60, 6 * 60}}, "2026-03-28 23:00:00", true, "2026-03-29 04:00:00"},
	{"in autumn a night is an hour longer", "Europe/Berlin", []Window{{everyDay, 22 * 60, 6 * 60}}, "2026-10-24 23:00:00", true, "2026-10-25 05:00:00"},
	{"a window within the skipped hour does not come", "Europe/Berlin", []Window{{everyDay, 2 * 60, 2*60 + 30}}, "2026-03-29 00:00:00", false, "2026-03-30 00:00:00"},
	{"a window that begins in the skipped hour begins after it", "Europe/Berlin", []Window{{everyDay, 2*60 + 30, 4 * 60}}, "2026-03-29 00:00:00", false, "2026-03-29 01:00:00"},
	{"a window that ends in the skipped hour ends with it", "Europe/Berlin", []Window{{everyDay, 60, 2*60 + 30}}, "2026-03-29 01:30:00", true, "2026-03-29 01:00:00"},
	{"a window in the hour shown twice comes twice", "Europe/Berlin", []Window{{everyDay, 2 * 60, 2*60 + 30}}, "2026-10-25 01:00:00", false, "2026-10-25 00:00:00"},
	{"a window up to the hour shown twice comes back", "Europe/Berlin", []Window{{everyDay, 60, 2*60 + 30}}, "2026-10-25 01:00:00", true, "2026-10-25 00:30:00"},
}

func TestSchedule(t *testing.T) {
	for _, c := range scheduleCases {
		z := zone(t, c.zone)
		s := Schedule{Windows: c.windows, Zone: z}
		now := at(t, z, c.now)
		if got := s.holds(now); got != c.holds {
			t.Errorf("%s: in force: got %v, want %v", c.fact, got, c.holds)
		}
		var want time.Time
		if c.next != "" {
			want = at(t, time.UTC, c.next)
		}
		if got := s.next(now); !got.Equal(want) {
			t.Errorf("%s: changes: got %v, want %v", c.fact, got.UTC(), want)
		}
	}
}

// nextByMinutes is next by looking at every minute of more than a week.
func nextByMinutes(s *Schedule, t time.Time) time.Time {
	now := s.holds(t)
	minute := t.Truncate(time.Minute)
	for range minutesOfWeek + 2*minutesOfDay {
		minute = minute.Add(time.Minute)
		if s.holds(minute) != now {
			return minute
		}
	}
	return time.Time{}
}

func TestScheduleAgreesWithItsTwin(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	zones := []*time.Location{time.UTC, zone(t, "Europe/Berlin"), zone(t, "America/St_Johns"), zone(t, "Australia/Lord_Howe"), zone(t, "Asia/Kolkata")}
	begin := at(t, time.UTC, "2026-01-01 00:00:00")
	for range 300 {
		s := Schedule{Zone: zones[r.IntN(len(zones))]}
		for range 1 + r.IntN(3) {
			s.Windows = append(s.Windows, Window{Days: uint8(r.IntN(128)), From: r.IntN(minutesOfDay), To: 1 + r.IntN(minutesOfDay)})
		}
		now := begin.Add(time.Duration(r.Int64N(int64(2 * 365 * 24 * time.Hour))))
		if r.IntN(2) == 0 { // the days around which clocks are changed
			now = at(t, time.UTC, []string{"2026-03-28 12:00:00", "2026-10-24 12:00:00", "2026-04-04 02:00:00", "2026-03-07 20:00:00"}[r.IntN(4)]).Add(time.Duration(r.Int64N(int64(36 * time.Hour))))
		}
		if got, want := s.next(now), nextByMinutes(&s, now); !got.Equal(want) {
			t.Fatalf("%v %+v at %v: got %v, want %v", s.Zone, s.Windows, now.In(s.Zone), got, want)
		}
	}
}

// evenings is a schedule of four hours on weekdays, in UTC.
func evenings() Schedule {
	return Schedule{Text: "mon-fri 16:00-20:00", Windows: []Window{{weekdays, 16 * 60, 20 * 60}}, Zone: time.UTC}
}

func TestAListIsInForceByItsSchedule(t *testing.T) {
	told := &reports{}
	clk := newClock()
	clk.advance(at(t, time.UTC, "2026-03-04 15:00:00").Sub(clk.now()))
	dir := files(t, map[string]string{
		"a.txt":   "ads.example #@ vendor=Xiaomi\nboth.example\n@@other.example\n",
		"b.txt":   "both.example\nother.example\n",
		"own.txt": "",
	})
	s := loaded(t, Options{Dir: dir, Now: clk.now, Report: told.add, Lists: []ListSettings{{Name: "a", Schedule: evenings()}}})
	outside := map[string]string{
		"ads.example": "pass", "both.example": "block b both.example",
		"other.example": "block b other.example",
	}
	inside := map[string]string{
		"ads.example": "block a ads.example", "both.example": "block a both.example",
		"other.example": "allow a @@other.example",
	}
	expect := func(when string, all map[string]string) {
		t.Helper()
		for ask, want := range all {
			if got := s.says(t, ask); got != want {
				t.Errorf("%s: %s: got %q, want %q", when, ask, got, want)
			}
		}
		v := s.Current().Decide(name(t, "ads.example"), 1, 0)
		if n := s.Current().Attribution(v); v.Level != ByRule || n == nil || n.Vendor != "Xiaomi" {
			t.Errorf("%s: attributed to %+v by %v", when, n, v.Level)
		}
	}
	expect("before its time", outside)
	if st := s.of(t, "a"); !st.Outside || !st.Turns.Equal(at(t, time.UTC, "2026-03-04 16:00:00")) || st.Schedule != evenings().Text {
		t.Errorf("status: got %+v", st)
	}
	if got, want := s.untilDue(), time.Hour; got != want {
		t.Errorf("due: got %v, want %v", got, want)
	}

	clk.advance(time.Hour)
	s.reload()
	expect("when it begins", inside)
	if !told.has("schedule a") {
		t.Errorf("reported: got %v", told.seen)
	}

	clk.advance(26 * time.Hour) // the machine was asleep
	s.reload()
	expect("the next evening", inside)
	clk.advance(4 * time.Hour)
	s.reload()
	expect("when it ends", outside)

	clk.advance(-3 * time.Hour) // the clock was wrong
	s.reload()
	expect("set back into its time", inside)
	clk.advance(-24 * time.Hour)
	s.reload()
	expect("set back by a day", inside)
	clk.advance(-4 * time.Hour)
	s.reload()
	expect("set back to before it begins", outside)
}

func TestAGroupIsBlockedForByItsSchedule(t *testing.T) {
	clk := newClock()
	clk.advance(at(t, time.UTC, "2026-03-04 15:00:00").Sub(clk.now()))
	dir := files(t, map[string]string{"a.txt": "ads.example\n"})
	s := loaded(t, Options{Dir: dir, Now: clk.now, Groups: []GroupSettings{{Name: "tablet", Schedule: evenings()}}})
	for _, step := range []struct{ fact, group, everyone string }{
		{"before its time", "observe a ads.example", "block a ads.example"},
		{"when it begins", "block a ads.example", "block a ads.example"},
	} {
		if got := said(s.Current().Decide(name(t, "ads.example"), 1, 1)); got != step.group {
			t.Errorf("%s: the group: got %q, want %q", step.fact, got, step.group)
		}
		if got := s.says(t, "ads.example"); got != step.everyone {
			t.Errorf("%s: all others: got %q, want %q", step.fact, got, step.everyone)
		}
		clk.advance(time.Hour)
		s.reload()
	}
}

// The timer of a running store makes the changes, also those that follow the first.
func TestScheduleTurnsByItself(t *testing.T) {
	dir := files(t, map[string]string{"a.txt": "ads.example\n"})
	synctest.Test(t, func(t *testing.T) {
		// The bubble's clock starts at midnight UTC on 2000-01-01, a Saturday.
		schedule := Schedule{Text: "sun 10:00-12:00", Windows: []Window{{1 << time.Sunday, 10 * 60, 12 * 60}}, Zone: time.UTC}
		s, err := load(Options{Dir: dir, Poll: -1, Lists: []ListSettings{{Name: "a", Schedule: schedule}}}, true)
		check(t, err)
		// Without inotify, in whose reads the bubble's clock would stand still.
		s.running.Go(func() { s.keepInStep(nil, func(...string) {}) })
		defer s.Close()
		for _, step := range []struct {
			wait time.Duration
			want string
		}{
			{34*time.Hour - time.Second, "pass"},
			{2 * time.Second, "block a ads.example"},
			{2*time.Hour - 3*time.Second, "block a ads.example"},
			{3 * time.Second, "pass"},
			{7*24*time.Hour - 2*time.Hour, "block a ads.example"},
		} {
			time.Sleep(step.wait)
			synctest.Wait()
			if got := s.says(t, "ads.example"); got != step.want {
				t.Errorf("%v: got %q, want %q", time.Now().UTC(), got, step.want)
			}
		}
	})
}

func TestAFileAndAShippedListOfOneNameAreBothInForce(t *testing.T) {
	off := false
	for _, lists := range [][]ListSettings{nil, {{Name: "shipped:games", Enabled: &off}}} {
		s := loaded(t, Options{
			Dir:     files(t, map[string]string{"games.txt": "mine.example\n"}),
			Shipped: shippedFS(map[string]string{"games.txt": "theirs.example #@ vendor=V tier=telemetry\n"}),
			Lists:   lists,
		})
		if got, want := s.says(t, "mine.example"), "block games mine.example"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		want := "block shipped:games theirs.example"
		if lists != nil {
			want = "pass"
			off := s.Off()
			if len(off) != 1 {
				t.Fatalf("lists that are off: got %v", off)
			}
			f, err := off[0].Open()
			check(t, err)
			f.Close()
		}
		if got := s.says(t, "theirs.example"); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
