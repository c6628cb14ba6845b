package blocklists

import (
	"slices"
	"strings"
	"testing"
	"time"

	"telltale/dnswire"
)

// endings are the temporary changes that a Store said have ended.
type endings struct{ seen []string }

func (e *endings) add(t Temporary) { e.seen = append(e.seen, string(t.Kind)+" "+t.String()) }

func pauseOf(of Scope, name string, until time.Time) Temporary {
	return Temporary{Kind: Pause, Of: of, Name: name, Until: until}
}

func TestATemporaryChangeEndsByItself(t *testing.T) {
	clk, ended := newClock(), &endings{}
	dir := files(t, map[string]string{"a.txt": "ads.example\n", "own.txt": "192.168.1.9 nas.lan\n"})
	o := Options{Dir: dir, Now: clk.now, Ended: ended.add, Temporary: []Temporary{
		pauseOf(Everything, "", clk.now().Add(time.Hour)), pauseOf(OfGroup, "kids", clk.now().Add(-time.Hour)),
	}}
	s := loaded(t, o)
	if want := []string{"pause group kids"}; !slices.Equal(ended.seen, want) {
		t.Errorf("ended before the start: got %q, want %q", ended.seen, want)
	}
	if got, want := s.says(t, "ads.example"), "observe a ads.example"; got != want {
		t.Errorf("paused: got %q, want %q", got, want)
	}
	if got, want := s.says(t, "nas.lan"), "answer own 192.168.1.9 nas.lan"; got != want {
		t.Errorf("paused: got %q, want %q", got, want)
	}
	if got := s.Current().Temporary(); len(got) != 1 || got[0] != o.Temporary[0] {
		t.Errorf("in force: got %v", got)
	}
	clk.advance(time.Hour)
	s.reload()
	s.reload()
	if got, want := s.says(t, "ads.example"), "block a ads.example"; got != want {
		t.Errorf("after its time: got %q, want %q", got, want)
	}
	if want := []string{"pause group kids", "pause everything"}; !slices.Equal(ended.seen, want) {
		t.Errorf("ended: got %q, want %q", ended.seen, want)
	}
	if got := s.Current().Temporary(); len(got) != 0 {
		t.Errorf("after its time: in force are %v", got)
	}
}

func TestATemporaryChangeWakesTheStore(t *testing.T) {
	dir := files(t, map[string]string{"a.txt": "ads.example\n"})
	o := Options{Dir: dir, Poll: -1}
	s := openStoreT(t, o)
	o.Temporary = []Temporary{pauseOf(Everything, "", time.Now().Add(300*time.Millisecond))}
	check(t, s.Configure(o))
	eventually(t, "it blocks again", func() bool { return s.says(t, "ads.example") == "block a ads.example" })
}

func TestWhatATemporaryChangeIsOf(t *testing.T) {
	hour := time.Now().Add(time.Hour)
	shipped := "#@ vendor=Acme tier=telemetry\nads.example\n#@ vendor=Other tier=mixed\nmixed.example\n"
	groups := []GroupSettings{{Name: "tv", Groups: []string{"kids", "guests"}}, {Name: "phone", Groups: []string{"guests"}}, {Name: "pc"}}
	for _, c := range []struct {
		fact        string
		of          Temporary
		a, b, own   string
		tv, pc, all string // what ads.example is for them, and for who has no settings
		because     string // for the tv
	}{
		{fact: "everything", of: Temporary{Kind: Pause, Of: Everything}, tv: "observe pause", pc: "observe pause", all: "observe pause", because: "everything, until "},
		{fact: "everything is observed", of: Temporary{Kind: Observing, Of: Everything}, tv: "observe observe", pc: "observe observe", all: "observe observe", because: "everything, until "},
		{fact: "a device", of: Temporary{Kind: Pause, Of: OfDevice, Name: "tv", Shown: "the tv"}, tv: "observe pause-device", pc: "block", all: "block", because: "device the tv, until "},
		{fact: "a device is observed", of: Temporary{Kind: Observing, Of: OfDevice, Name: "tv"}, tv: "observe observe-device", pc: "block", all: "block", because: "device tv, until "},
		{fact: "a group", of: Temporary{Kind: Pause, Of: OfGroup, Name: "guests"}, tv: "observe pause-group", pc: "block", all: "block", because: "group guests, until "},
		{fact: "a group is observed", of: Temporary{Kind: Observing, Of: OfGroup, Name: "kids"}, tv: "observe observe-group", pc: "block", all: "block", because: "group kids, until "},
		{fact: "a group that nobody is in", of: Temporary{Kind: Pause, Of: OfGroup, Name: "nobody"}, tv: "block", pc: "block", all: "block"},
		{fact: "a list", of: Temporary{Kind: Pause, Of: OfList, Name: "vendor"}, tv: "observe pause-list", pc: "observe pause-list", all: "observe pause-list", because: "list vendor, until "},
		{fact: "a list is observed", of: Temporary{Kind: Observing, Of: OfList, Name: "vendor"}, tv: "observe observe-list", pc: "observe observe-list", all: "observe observe-list", because: "list vendor, until "},
		{fact: "a list of two that block", of: Temporary{Kind: Pause, Of: OfList, Name: "vendor"}, a: "ads.example", tv: "block", pc: "block", all: "block"},
		{fact: "the exceptions of a paused list hold", of: Temporary{Kind: Pause, Of: OfList, Name: "a"}, a: "@@ads.example", tv: "allow", pc: "allow", all: "allow"},
		{fact: "those of an observed one do not", of: Temporary{Kind: Observing, Of: OfList, Name: "a"}, a: "@@ads.example", tv: "block", pc: "block", all: "block"},
		{fact: "the user's own rules", of: Temporary{Kind: Pause, Of: OfList, Name: "own"}, own: "ads.example\n", tv: "block", pc: "block", all: "block"},
		{fact: "a vendor", of: Temporary{Kind: Pause, Of: OfVendor, Name: "ACME"}, tv: "observe pause-vendor", pc: "observe pause-vendor", all: "observe pause-vendor", because: "vendor ACME, until "},
		{fact: "a vendor's name that another list blocks, too", of: Temporary{Kind: Pause, Of: OfVendor, Name: "acme"}, a: "ads.example", own: "ads.example", tv: "observe pause-vendor", pc: "observe pause-vendor", all: "observe pause-vendor", because: "vendor acme, until "},
		{fact: "a vendor is observed", of: Temporary{Kind: Observing, Of: OfVendor, Name: "Acme"}, tv: "observe observe-vendor", pc: "observe observe-vendor", all: "observe observe-vendor", because: "vendor Acme, until "},
		{fact: "another vendor", of: Temporary{Kind: Pause, Of: OfVendor, Name: "Other"}, tv: "block", pc: "block", all: "block"},
	} {
		t.Run(c.fact, func(t *testing.T) {
			c.of.Until = hour
			p := policyOf(t, Options{
				Dir: files(t, map[string]string{"own.txt": c.own + "\n", "a.txt": c.a + "\n"}), Shipped: shippedFS(map[string]string{"vendor.txt": shipped}),
				Groups: groups, Temporary: []Temporary{c.of},
			})
			is := func(g Group) string {
				v := p.Decide(name(t, "ads.example"), dnswire.TypeA, g)
				return strings.TrimSpace(v.Action.String() + " " + v.ObservedBy.String())
			}
			if got, want := []string{is(1), is(3), is(0)}, []string{c.tv, c.pc, c.all}; !slices.Equal(got, want) {
				t.Errorf("the tv, the pc, and anybody: got %q, want %q", got, want)
			}
			if got := p.Consider(name(t, "ads.example"), dnswire.TypeA, 1).Because; !strings.HasPrefix(got, c.because) || (got == "") != (c.because == "") {
				t.Errorf("because: got %q, want %q", got, c.because)
			}
			// What the tier observes anyway is no pause's.
			if v := p.Decide(name(t, "mixed.example"), dnswire.TypeA, 1); v.ObservedBy != ByTier {
				t.Errorf("a name of tier mixed: got %v, want %v", v.ObservedBy, ByTier)
			}
		})
	}
}

func TestRulesEndWhenDue(t *testing.T) {
	clk := newClock()
	dir := files(t, map[string]string{"a.txt": "ads.example #@ until=2026-01-01T12:30:00Z\nmore.example\n"})
	s := loaded(t, Options{Dir: dir, Now: clk.now, Groups: []GroupSettings{{ObserveUntil: clk.now().Add(time.Hour)}}})
	if got, want := s.says(t, "ads.example"), "block a ads.example"; got != want {
		t.Fatalf("before: got %q, want %q (%v)", got, want, s.of(t, "a").Bad)
	}
	if got, want := s.untilDue(), 30*time.Minute; got != want {
		t.Errorf("due: got %v, want %v", got, want)
	}
	clk.advance(30 * time.Minute)
	s.reload()
	if got, want := s.says(t, "ads.example"), "pass"; got != want {
		t.Errorf("when due: got %q, want %q", got, want)
	}
	if got, want := s.untilDue(), 30*time.Minute; got != want {
		t.Errorf("due: got %v, want %v", got, want)
	}
	if got, want := said(s.Current().Decide(name(t, "more.example"), 1, 1)), "observe a more.example"; got != want {
		t.Errorf("the group: got %q, want %q", got, want)
	}
	clk.advance(30 * time.Minute)
	s.reload()
	if got, want := said(s.Current().Decide(name(t, "more.example"), 1, 1)), "block a more.example"; got != want {
		t.Errorf("the group when due: got %q, want %q", got, want)
	}
}

// A clock that was ahead and is set back makes nothing last longer: what was to end
// after an hour ends after an hour of the steady clock.
func TestWhatEndsDoesNotOutliveAClockSetBack(t *testing.T) {
	clk, steady := newClock(), time.Duration(0)
	tick := func(d time.Duration) { clk.advance(d); steady += d }
	hour := clk.now().Add(time.Hour)
	o := Options{
		Dir: files(t, map[string]string{
			"own.txt":   "@@ok.example  #@ until=" + hour.UTC().Format(time.RFC3339) + "\n",
			"a.txt":     "ok.example\nads.example\n",
			"trial.txt": "try.example\n",
		}),
		Now: clk.now, Steady: func() time.Duration { return steady },
		Lists:  []ListSettings{{Name: "trial", ObserveUntil: hour}},
		Groups: []GroupSettings{{Name: "tv", ObserveUntil: hour}, {Name: "tablet", GroupObserveUntil: hour}},
	}
	s := loaded(t, o)
	expect := func(when string, want ...string) {
		t.Helper()
		got := []string{s.says(t, "ok.example"), s.says(t, "try.example")}
		for group := range Group(2) {
			got = append(got, s.Current().Decide(name(t, "ads.example"), 1, group+1).Action.String())
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", when, got, want)
		}
	}
	before := []string{"allow own @@ok.example", "observe trial try.example", "observe", "observe"}
	after := []string{"block a ok.example", "block trial try.example", "block", "block"}
	expect("at first", before...)
	clk.advance(-3 * time.Hour)
	s.reload()
	expect("set back", before...)
	if got, want := s.untilDue(), time.Hour; got != want {
		t.Errorf("set back: due in %v, want %v", got, want)
	}
	tick(30 * time.Minute)
	s.reload()
	expect("after half an hour", before...)
	tick(30 * time.Minute)
	s.reload()
	expect("after the hour", after...)

	o.Temporary = []Temporary{pauseOf(Everything, "", clk.now().Add(time.Hour))}
	check(t, s.Configure(o))
	clk.advance(-3 * time.Hour)
	tick(59 * time.Minute)
	s.reload()
	if got := s.Current().Temporary(); len(got) != 1 || !got[0].Until.Equal(clk.now().Add(time.Minute)) {
		t.Errorf("paused: got %v; want one minute from %v", got, clk.now())
	}
	tick(time.Minute)
	s.reload()
	if got := s.Current().Temporary(); len(got) != 0 || s.says(t, "ads.example") != "block a ads.example" {
		t.Errorf("an hour after the pause began: %s, %v", s.says(t, "ads.example"), got)
	}
}

// By the wall clock things end all the same: a machine that slept, or whose clock
// was behind.
func TestWhatEndsEndsByTheWallClock(t *testing.T) {
	clk := newClock()
	s := loaded(t, Options{
		Dir: files(t, map[string]string{"a.txt": "ads.example\n"}), Now: clk.now,
		Steady: func() time.Duration { return 0 }, Temporary: []Temporary{pauseOf(Everything, "", clk.now().Add(time.Hour))},
	})
	clk.advance(time.Hour)
	s.reload()
	if got, want := s.says(t, "ads.example"), "block a ads.example"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
