package breakage

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestEachReasonWeighsAsThePageSays(t *testing.T) {
	called := noon.Add(15 * time.Minute)
	old := Blocked{Name: "a.example", First: noon, Last: noon, Lookups: 1, Burst: 1, Says: Says{List: "acme", Annotated: true, Tier: "telemetry"}}
	with := func(change func(*Blocked)) Blocked {
		b := old
		change(&b)
		return b
	}
	knows := func(e Entry) *Known { return &Known{Catalogue: func(string) Entry { return e }} }
	for _, c := range []struct {
		fact  string
		b     Blocked
		known *Known
		want  float64
		codes string
		text  string // of the first reason
	}{
		{"nothing is known against it", old, nil, 1, "", ""},
		{"asked for a moment ago", with(func(b *Blocked) { b.Last = called.Add(-20 * time.Second) }), nil, 4, JustAsked, "20 s ago"},
		{"asked for two minutes ago", with(func(b *Blocked) { b.Last = called.Add(-2 * time.Minute) }), nil, 2, JustAsked, "120 s ago"},
		{"retried", with(func(b *Blocked) { b.Burst = 6 }), nil, 2, Burst, "6 times within a minute"},
		{"an attempt and its retry are none", with(func(b *Blocked) { b.Burst = 5 }), nil, 1, "", ""},
		{"blocked all the time", with(func(b *Blocked) { b.Before = 30 }), nil, 0.25, Steady, "30 minutes"},
		{"blocked before as well", with(func(b *Blocked) { b.Before = 5 }), nil, 0.5, Steady, "5 minutes"},
		{"blocked a while ago", with(func(b *Blocked) { b.Before = 4 }), nil, 1, "", ""},
		{"of tier mixed", with(func(b *Blocked) { b.Tier = "mixed" }), nil, 3, Mixed, "tier mixed"},
		{"of tier mixed with a word on what breaks", with(func(b *Blocked) { b.Tier, b.Breaks = "mixed", "mail" }), nil, 6, BreaksPresumed + " " + Mixed, "may break mail"},
		{"reported", old, knows(Entry{Tier: "mixed", Breaks: "mail", Reported: true}), 72, BreaksReported + " " + Mixed, "reported to break mail"},
		{"reported and disputed", old, knows(Entry{Tier: "telemetry", Breaks: "mail", Reported: true, Disputed: true}), 8, BreaksReported, "others dispute"},
		{"essential, blocked by another list", old, knows(Entry{Tier: "essential", Breaks: "updates"}), 12, Essential, "it must work: updates"},
		{"the catalogue does not have it", with(func(b *Blocked) { b.Tier = "mixed" }), knows(Entry{}), 3, Mixed, ""},
		{"the catalogue has its alias", with(func(b *Blocked) { b.Alias = "x.cdn.example" }), &Known{Catalogue: func(name string) Entry {
			if name == "x.cdn.example" {
				return Entry{Tier: "essential", Breaks: "updates"}
			}
			return Entry{}
		}}, 12, Essential, "it must work: updates"},
		{"nobody says what it is for", with(func(b *Blocked) { b.Annotated, b.Tier = false, "" }), nil, 2, Unknown, "no list says"},
		{"the user's own rule", with(func(b *Blocked) { b.Own = true }), nil, 1, OwnRule, "your own rule"},
		{"never blocked before", old, &Known{Since: noon, LogFrom: noon.Add(-48 * time.Hour)}, 4, FirstTime, "not blocked in the 2 days before"},
		{"blocked before, says the log", old, &Known{Since: noon, LogFrom: noon.Add(-48 * time.Hour), Before: map[string]bool{"a.example": true}}, 1, "", ""},
		{"blocked before, says the table", with(func(b *Blocked) { b.Before = 1 }), &Known{Since: noon, LogFrom: noon.Add(-48 * time.Hour)}, 1, "", ""},
		{"the log is too young to say", old, &Known{Since: noon, LogFrom: noon.Add(-time.Minute)}, 1, "", ""},
		{"the log is off", old, &Known{Since: noon}, 1, "", ""},
		{"its list changed", old, &Known{Changed: func(string, string) (time.Time, bool) { return noon.Add(-2 * time.Hour), false }}, 2, ListChanged, "acme changed 2 hours ago"},
		{"its rule is new", old, &Known{Changed: func(string, string) (time.Time, bool) { return noon.Add(-10 * time.Minute), true }}, 4, RuleAdded, "acme got it 25 minutes ago"},
		{"its list changed long ago", old, &Known{Changed: func(string, string) (time.Time, bool) { return noon.Add(-48 * time.Hour), true }}, 1, "", ""},
		{"its list changed after it was blocked", old, &Known{Changed: func(string, string) (time.Time, bool) { return noon.Add(time.Minute), true }}, 1, "", ""},
	} {
		t.Run(c.fact, func(t *testing.T) {
			k := &Known{}
			if c.known != nil {
				k = c.known
			}
			k.Called = called
			s := Rank([]Blocked{c.b}, k)[0]
			var codes []string
			for _, r := range s.Reasons {
				codes = append(codes, r.Code)
			}
			if got := strings.Join(codes, " "); math.Abs(s.Weight-c.want) > 1e-9 || got != c.codes {
				t.Errorf("got %v for %q, want %v for %q", s.Weight, got, c.want, c.codes)
			}
			if len(s.Reasons) > 0 && !strings.Contains(s.Reasons[0].Text, c.text) {
				t.Errorf("got %q, want %q in it", s.Reasons[0].Text, c.text)
			}
		})
	}
}

func TestEqualSuspectsAreOrderedByWhenTheyWereAskedFor(t *testing.T) {
	at := func(name string, ago time.Duration, lookups int) Blocked {
		return Blocked{Name: name, First: noon.Add(-ago), Last: noon.Add(-ago), Lookups: lookups, Says: Says{Annotated: true}}
	}
	var got []string
	for _, s := range Rank([]Blocked{at("d", 9*time.Minute, 1), at("c", 9*time.Minute, 1), at("b", 9*time.Minute, 5), at("a", 8*time.Minute, 1)}, &Known{Called: noon}) {
		got = append(got, s.Name)
	}
	if want := []string{"a", "b", "c", "d"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestTimesAreSaidInTheirUnit(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0 minutes", time.Minute: "1 minute", 119 * time.Minute: "119 minutes", 3 * time.Hour: "3 hours", 47 * time.Hour: "47 hours", 7 * 24 * time.Hour: "7 days",
	} {
		if got := period(d); got != want {
			t.Errorf("%s: got %q, want %q", d, got, want)
		}
	}
}

func TestAReportIsForOthers(t *testing.T) {
	f := Finding{
		Suspect: Suspect{Blocked: Blocked{Name: "x.acme.example", Says: Says{List: "acme", Line: 12, Rule: "acme.example", Vendor: "Acme", Alias: "cdn.example"}}},
		List:    "acme", Edition: "2026-05-01", Version: "1.0", Names: 40, Questions: 6, At: noon,
	}
	for _, c := range []struct {
		fact   string
		change func(*Finding)
		want   string // in the text; "" for no text
	}{
		{"the catalogue does not have the name", func(*Finding) {}, "Catalogue:  it does not have the name\n"},
		{"it says who decided", func(*Finding) {}, "Blocked by: acme, line 12: acme.example\n"},
		{"it says how it was found", func(*Finding) {}, "among 40 blocked names by 6 questions\n"},
		{"it says which alias", func(*Finding) {}, "Alias:      cdn.example, which decided\n"},
		{"a list of the user's own has no name", func(f *Finding) { f.List = "" }, "Blocked by: a list of the user's own\n"},
		{"the catalogue says nothing about what breaks", func(f *Finding) { f.Entry = Entry{Tier: "telemetry"} }, "Acme, tier telemetry, nothing about what breaks\n"},
		{"the catalogue says what nobody reports", func(f *Finding) { f.Entry = Entry{Tier: "mixed", Breaks: "mail"} }, "breaks mail, which no source reports\n"},
		{"the catalogue knows it", func(f *Finding) { f.Entry = Entry{Tier: "mixed", Breaks: "mail", Reported: true} }, ""},
		{"the catalogue says that it must work", func(f *Finding) { f.Entry = Entry{Tier: "essential"} }, ""},
	} {
		g := f
		c.change(&g)
		if got := Report(&g); !strings.Contains(got, c.want) || (c.want == "") != (got == "") {
			t.Errorf("%s: got\n%s\nwant %q in it", c.fact, got, c.want)
		}
	}
}
