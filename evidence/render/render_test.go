package render

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"telltale/evidence"
	"telltale/evidence/candidate"
	"telltale/evidence/logtest"
	"telltale/evidence/rhythm"
	"telltale/querylog"
)

var update = flag.Bool("update", false, "write the golden files anew")

// reports are those that have golden files: a household, a device, a vendor, one
// without attempts, and one with nothing in it.
func reports(t testing.TB) map[string]*evidence.Report {
	home := logtest.New(1)
	week := home.Begin.AddDate(0, 0, 7)
	all := map[string]*evidence.Report{}
	add := func(name string, h *logtest.Home, o evidence.Options) {
		o.Since, o.Until, o.Zone, o.ZoneName, o.Program = week, home.End, home.Zone, "Europe/Berlin", "telltale 1.0, catalogue 2025-10-01"
		o.Now = home.End.Add(time.Minute)
		r, err := evidence.Make(context.Background(), h, o)
		if err != nil {
			t.Fatal(err)
		}
		all[name] = r
	}
	add("household", home, evidence.Options{Compare: true})
	add("device", home, evidence.Options{Compare: true, Device: "living-room-tv", Whose: whose("living-room-tv")})
	f, err := rhythm.Make(context.Background(), home, rhythm.Options{Since: week, Until: home.End, Zone: home.Zone, ZoneName: "Europe/Berlin", Whose: whose("living-room-tv")})
	if err != nil {
		t.Fatal(err)
	}
	all["device"].Rhythm = f
	add("vendor", home, evidence.Options{Vendor: "phonemaker & söhne"})
	uncounted := *home
	uncounted.Uncounted = true
	add("lookups", &uncounted, evidence.Options{Device: "phone", Whose: whose("phone"), Compare: true})
	add("nothing", home, evidence.Options{Vendor: "Nobody", Device: "192.168.1.11", Whose: querylog.Filter{Device: "192.168.1.11"}})
	return all
}

func whose(device string) querylog.Filter {
	return querylog.Filter{Devices: []querylog.DeviceSpan{{Device: device}}}
}

var formats = map[string]func(*bytes.Buffer, *evidence.Report) error{
	"txt":  func(b *bytes.Buffer, r *evidence.Report) error { return Text(b, r) },
	"html": func(b *bytes.Buffer, r *evidence.Report) error { return HTML(b, r) },
	"md":   func(b *bytes.Buffer, r *evidence.Report) error { return Markdown(b, r) },
	"csv":  func(b *bytes.Buffer, r *evidence.Report) error { return CSV(b, r) },
	"json": func(b *bytes.Buffer, r *evidence.Report) error { return JSON(b, r) },
}

// A bar of the timeline is what was recorded here, and so is the part of it that was
// blocked.
func TestBarsLeaveImportedLookupsOut(t *testing.T) {
	home := logtest.New(1)
	home.Imported = func(r *querylog.Row) string {
		if r.Verdict == "block" {
			return "pi-hole"
		}
		return ""
	}
	r, err := evidence.Make(context.Background(), home, evidence.Options{Since: home.Begin.AddDate(0, 0, 7), Until: home.End, Zone: home.Zone, Now: home.End})
	if err != nil {
		t.Fatal(err)
	}
	p := &page{r: r}
	p.timelineChart()
	bars := strings.Count(p.b.String(), `class="full"`)
	if empty := strings.Count(p.b.String(), `height="0.0"`); bars == 0 || empty != bars || r.Listed.Blocked.Lookups == 0 {
		t.Errorf("%d of %d bars have no blocked part, want all", empty, bars)
	}
}

// Of some seconds of record a chart shows the rate that the report gives, and a part of less
// than a minute of a longer record is as if that was recorded.
func TestChartsOfSomeSecondsHaveTheReportsRate(t *testing.T) {
	r := &evidence.Report{Unit: evidence.UnitLookups}
	for _, c := range []struct {
		n               uint64
		recorded, ofAll int64
		want            float64
	}{{6, 24, 24, 900}, {1, 2, 3600, 60}, {1, 50, 100, 60}, {60, 1800, 3600, 120}} {
		r.Rated = c.ofAll
		if got, of := valueOf(r, evidence.Count{Lookups: c.n}, c.recorded, 0, time.Hour); math.Abs(got-c.want) > 1e-9 || of != recorded {
			t.Errorf("%d in %d s of %d: got %v an hour, want %v", c.n, c.recorded, c.ofAll, got, c.want)
		}
	}
}

// A rate of the period before that is not known is no 0 in a table.
func TestARateBeforeThatIsNotKnownIsNoNought(t *testing.T) {
	r := reports(t)["household"]
	for rated, want := range map[int64]string{0: "-", r.Before.Rated: "0"} {
		before, v := *r.Before, r.Vendors[0]
		before.Rated, v.Trend = rated, &evidence.Trend{Now: 1}
		one := *r
		one.Before, one.Vendors = &before, []evidence.Vendor{v}
		var b bytes.Buffer
		if err := HTML(&b, &one); err != nil {
			t.Fatal(err)
		}
		_, table, _ := strings.Cut(b.String(), ">An hour before</th>")
		table, _, _ = strings.Cut(table, "</table>")
		if want = "<td class=\"n\">" + want + "</td><td>"; !strings.Contains(table, want) {
			t.Errorf("%d s before have a rate: no %q in %q", rated, want, table)
		}
	}
}

// Of a time of which there are imported lookups alone, charts show these: nothing is hatched,
// and no rate is given.
func TestChartsShowAnImportedHistory(t *testing.T) {
	home := logtest.New(1)
	home.Imported = func(*querylog.Row) string { return "pi-hole" }
	home.Gaps = []querylog.Gap{{Since: querylog.Time{Time: home.Begin}, Until: querylog.Time{Time: home.End}, Effect: querylog.Unrecorded, Kind: querylog.GapUnknown, Detail: "the log begins later"}}
	r, err := evidence.Make(context.Background(), home, evidence.Options{Since: home.Begin.AddDate(0, 0, 7), Until: home.End, Zone: home.Zone, Now: home.End, Compare: true})
	if err != nil {
		t.Fatal(err)
	}
	var text, html bytes.Buffer
	if err := errors.Join(Text(&text, r), HTML(&html, r)); err != nil {
		t.Fatal(err)
	}
	said := strings.Join(strings.Fields(text.String()), " ")
	for _, want := range []string{"Rate not known: nothing was recorded here", "imported lookups are shown, per hour of the whole time", "██"} {
		if !strings.Contains(said, want) {
			t.Errorf("text has no %q:\n%s", want, text.String())
		}
	}
	for _, not := range []string{" 0 attempts", "% of the time recorded", "NaN", "Inf"} {
		if strings.Contains(said, not) {
			t.Errorf("text has %q", not)
		}
	}
	page := html.String()
	if n := strings.Count(page, `class="rest other"`); n != 7 {
		t.Errorf("%d days have a bar, want 7", n)
	}
	if !strings.Contains(page, `class="h5"`) || strings.Contains(page, "NaN") || strings.Contains(page, "Inf") {
		t.Error("the busiest hour of the week is not shown")
	}
}

// What was blocked is of what is known: "-" where nothing is, and never 0.
func TestBlockedIsOfWhatIsKnown(t *testing.T) {
	of := func(attempts, lookups uint64) evidence.Count {
		return evidence.Count{Attempts: attempts, Lookups: lookups}
	}
	for _, c := range []struct {
		counts       evidence.Counts
		share, count string
	}{
		{evidence.Counts{Count: of(110, 220), Unknown: of(110, 220)}, "-", "-"},
		{evidence.Counts{Count: of(110, 220), Unknown: of(100, 200), Blocked: of(5, 10)}, "50 %", "5"},
		{evidence.Counts{Count: of(10, 20), Passed: of(10, 20)}, "0 %", "0"},
	} {
		r := &evidence.Report{Unit: evidence.UnitAttempts, Location: time.UTC, Vendors: []evidence.Vendor{{Vendor: "Acme", Counts: c.counts}}}
		text, md, html := &textWriter{r: r}, &markdown{r: r}, &page{r: r}
		text.vendors()
		md.vendors()
		html.vendors()
		amounts := fmt.Sprintf("%d</td><td class=\"n\">%d</td><td class=\"n\">", c.counts.Attempts, c.counts.Lookups)
		for form, want := range map[string]string{
			text.b.String(): fmt.Sprintf(" %d %8s ", c.counts.Attempts, c.share),
			md.b.String():   fmt.Sprintf("| Acme | %d | %d | %s |", c.counts.Attempts, c.counts.Lookups, c.count),
			html.b.String(): amounts + c.count + "<",
		} {
			if !strings.Contains(form, want) {
				t.Errorf("no %q in %s", want, form)
			}
		}
	}
}

// Where attempts are not counted, no silence ends one.
func TestRhythmsWithoutAGapSayNone(t *testing.T) {
	for gap, want := range map[float64]string{0: "Recorded 0 s of 1 h. Times", 30: "Recorded 0 s of 1 h; an attempt ends after 30 s of silence. Times"} {
		var b bytes.Buffer
		if err := Rhythms(&b, &rhythm.Findings{Length: 3600, Gap: gap, Zone: "UTC"}, "", false); err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(b.String(), want) {
			t.Errorf("got %q, want %q", b.String(), want)
		}
	}
}

// What shows the rest is said in words that hold for any device, period and pseudonym, and
// names are counted, whoever asks for them.
func TestNamesWithoutARhythmAreCountedOnce(t *testing.T) {
	f := &rhythm.Findings{Zone: "UTC"}
	for _, r := range []struct {
		device, name string
		kind         rhythm.Kind
	}{{"tv", "a.example", rhythm.Irregular}, {"phone", "a.example", rhythm.Irregular}, {"tablet", "a.example", rhythm.TooFew}, {"tv", "b.example", rhythm.TooFew}} {
		f.Rhythms = append(f.Rhythms, rhythm.Rhythm{Device: r.device, Name: r.name, Kind: r.kind})
	}
	for _, c := range []struct {
		of   []rhythm.Rhythm
		want string
	}{
		{f.Rhythms, "No rhythm was found of 1 name, and there were too few attempts at 2 names, of 3 devices; a name can be among both: the same command with --every shows them."},
		{f.Rhythms[:1], "No rhythm was found of 1 name, and there were too few attempts at 0 names: the same command with --every shows them."},
	} {
		var b bytes.Buffer
		if err := Rhythms(&b, &rhythm.Findings{Rhythms: c.of, Zone: "UTC"}, "the same command with --every", false); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(strings.Fields(b.String()), " "); !strings.Contains(got, c.want) {
			t.Errorf("no %q in %s", c.want, got)
		}
	}
}

// The table of the timeline says of no time that nothing was blocked where that is not known.
func TestTheTimelineSaysNoNoughtOfWhatIsNotKnown(t *testing.T) {
	three := evidence.Count{Attempts: 3, Lookups: 3}
	one := evidence.Count{Attempts: 1, Lookups: 1}
	for want, s := range map[string]evidence.Slot{
		"-": {}, "0": {Recorded: 60}, "not known": {Count: three, Unknown: three}, "1, of 1 not known": {Recorded: 60, Count: three, Blocked: one, Unknown: one}, "1": {Recorded: 60, Count: three, Blocked: one},
	} {
		if got := slotBlocked(&s, evidence.UnitAttempts); got.text != want {
			t.Errorf("got %q, want %q of %+v", got.text, want, s)
		}
	}
}

// Dates below a timeline whose first day is short do not stand upon one another on a narrow screen.
func TestDatesBelowATimelineHaveRoom(t *testing.T) {
	home := logtest.New(1)
	for _, since := range []time.Time{home.End.AddDate(0, 0, -7).Add(15 * time.Hour), home.End.Add(-23*time.Hour - 10*time.Minute)} {
		r, err := evidence.Make(context.Background(), home, evidence.Options{Since: since, Until: home.End, Zone: home.Zone, Now: home.End})
		if err != nil {
			t.Fatal(err)
		}
		var html bytes.Buffer
		if err := HTML(&html, r); err != nil {
			t.Fatal(err)
		}
		last, n := -100.0, 0
		for _, m := range regexp.MustCompile(fmt.Sprintf(`<text class="small" x="([0-9.]+)%%" y="%d">`, lineTop+lineHeight+16)).FindAllStringSubmatch(html.String(), -1) {
			x, err := strconv.ParseFloat(m[1], 64)
			if err != nil || x-last < 12 || x > 76 {
				t.Errorf("since %v: a date is at %s %% behind one at %.1f %%, %v", since, m[1], last, err)
			}
			last, n = x, n+1
		}
		if n == 0 {
			t.Errorf("since %v: there is no date", since)
		}
	}
}

func TestGolden(t *testing.T) {
	for name, r := range reports(t) {
		for format, write := range formats {
			var b bytes.Buffer
			if err := write(&b, r); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join("testdata", name+"."+format)
			if *update {
				if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(b.Bytes(), want) {
				t.Errorf("%s is another one; -update writes it, git diff shows the change", path)
			}
		}
	}
}

// Text fits a terminal of 80 columns but for words that are longer, and has nothing
// that controls it.
func TestTextFitsATerminal(t *testing.T) {
	for name, r := range reports(t) {
		var b bytes.Buffer
		if err := Text(&b, r); err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(b.String()) {
			line = strings.TrimSuffix(line, "\n")
			if n := utf8.RuneCountInString(line); n > Width && !strings.Contains(line, "https://") {
				t.Errorf("%s: %d columns: %s", name, n, line)
			}
			if strings.ContainsAny(line, "\x1b\u202e\r") {
				t.Errorf("%s: a control character in %q", name, line)
			}
		}
	}
}

// Hours in which totals do not tell imported lookups from others are in no rate: charts show
// all of their lookups, and neither 0 nor a hatching.
func TestChartsShowHoursOfWhichNoRateIsKnown(t *testing.T) {
	home := logtest.New(1)
	since := home.Begin.AddDate(0, 0, 1)
	home.RowsFrom = home.End
	home.Imports = []querylog.ImportedLog{{Format: "pi-hole", First: querylog.Time{Time: since}, Last: querylog.Time{Time: since.AddDate(0, 0, 2).Add(-time.Second)}}}
	r, err := evidence.Make(context.Background(), home, evidence.Options{Since: since, Until: since.AddDate(0, 0, 3), Zone: home.Zone, Now: home.End})
	if err != nil {
		t.Fatal(err)
	}
	values, of := slotRates(r)
	for i, want := range []shown{imported, imported, recorded} {
		if len(of) != 3 || of[i] != want || values[i] == 0 {
			t.Errorf("day %d shows %v of %v, want more than 0 of %v", i, values[i], of[i], want)
		}
	}
	values, of = weekRates(r)
	for i := range r.Hours {
		want, c := nothing, &r.Hours[i]
		if n := c.In(r.Unit); c.Weekday == 3 || c.Weekday < 3 && c.Weekday > 0 && n == 0 {
			want = recorded
		} else if n > 0 {
			want = imported
		}
		if of[i] != want || (values[i] > 0) != (c.In(r.Unit) > 0) {
			t.Errorf("weekday %d, %d:00 shows %v of %v, want %v of %d", c.Weekday, c.Hour, values[i], of[i], want, c.In(r.Unit))
		}
	}
	if text := importedText(r, of); !strings.Contains(text, "or totals do not tell imported lookups from others") {
		t.Errorf("charts say %q", text)
	}
}

// A period of which no rate is known is not compared: it had neither nothing, nor less.
func TestNoRateIsComparedWithOneThatIsNotKnown(t *testing.T) {
	home := logtest.New(1)
	home.RowsFrom, home.Gaps = home.End, nil
	week := home.Begin.AddDate(0, 0, 7)
	for what, first := range map[string]time.Time{"the period before": home.Begin, "the period": week} {
		home.Imports = []querylog.ImportedLog{{Format: "pi-hole", First: querylog.Time{Time: first}, Last: querylog.Time{Time: first.AddDate(0, 0, 7).Add(-time.Minute)}}}
		r, err := evidence.Make(context.Background(), home, evidence.Options{Since: week, Until: week.AddDate(0, 0, 7), Zone: home.Zone, Now: home.End, Compare: true})
		if err != nil {
			t.Fatal(err)
		}
		known := what == "the period before"
		if (r.Rated > 0) != known || (r.Before.Rated > 0) == known || r.Before.Trend.Change != nil {
			t.Fatalf("%s: %d s and before %d s have a rate, the trend is %+v", what, r.Rated, r.Before.Rated, r.Before.Trend)
		}
		var text bytes.Buffer
		if err := Text(&text, r); err != nil {
			t.Fatal(err)
		}
		said := strings.Join(strings.Fields(text.String()), " ")
		if strings.Contains(said, "none before") || strings.Contains(said, "% less") || strings.Contains(said, "the rate of the period before is not known") != known {
			t.Errorf("%s: text is\n%s", what, text.String())
		}
	}
}

// What is observed already is no candidate any more.
func TestObservedCandidatesStandApart(t *testing.T) {
	at := querylog.Time{Time: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)}
	f := &candidate.Found{Names: 9, Unlisted: at, Candidates: []candidate.Candidate{{Name: "metrics.one.example", Score: 4, Attempts: 3, Devices: []candidate.Device{{Label: "tv"}}}, {Name: "metrics.two.example", Score: 6, Attempts: 7, Observed: true}, {Name: "a.three.example", Score: 5, Attempts: 2, Observed: true, ObservedBelow: "three.example"}}}
	var b strings.Builder
	if err := Candidates(&b, f, 20, time.UTC); err != nil {
		t.Fatal(err)
	}
	got := strings.Join(strings.Fields(b.String()), " ")
	for _, want := range []string{"; 1 candidate.", "metrics.one.example score 4, 3 attempts", "OBSERVED ALREADY metrics.two.example (score 6, 7 attempts); a.three.example (score 5, 2 attempts, with three.example). 'telltale candidates observe --remove NAME'"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in\n%s", want, got)
		}
	}
	n := evidence.Name{Name: "metrics.two.example", ListedBy: "candidates:3", Tier: "mixed"}
	if got := saysWho(&n); !strings.Contains(got, "observed on purpose") {
		t.Errorf("got %s", got)
	}
}

// A name that the person observes is listed by nobody else as a vendor's, and nobody says what it is for.
func TestObservedNamesAreSaidToBeTheReadersOwn(t *testing.T) {
	for _, all := range []bool{false, true} {
		r := reports(t)["household"]
		observed := uint64(0)
		for i := range r.Vendors {
			v := &r.Vendors[i]
			if v.Vendor != "Acme" && !all {
				continue
			}
			v.Vendor = "candidate one.example"
			observed += v.Counts.In(r.Unit)
			for k := range v.Names {
				v.Names[k].ListedBy = "candidates:3"
			}
		}
		want := fmt.Sprintf(" of names listed as a vendor's (%s of them of names that you observe)", evidence.Number(observed))
		var text, page strings.Builder
		if err := cmp.Or(Text(&text, r), HTML(&page, r)); err != nil {
			t.Fatal(err)
		}
		for what, got := range map[string]string{"text": strings.Join(strings.Fields(text.String()), " "), "page": strings.ReplaceAll(page.String(), "&#39;", "'")} {
			if observed == 0 || !strings.Contains(got, want) {
				t.Errorf("%s: %q is not in\n%.800s", what, want, got)
			}
			if has := strings.Contains(strings.ToLower(got), "said to be for"); has == all {
				t.Errorf("%s: got %v for whether names are said to be for something, and all are observed: %v", what, has, all)
			}
		}
	}
	r := &evidence.Report{About: evidence.About{Vendor: "candidate one.example"}, Coverage: evidence.Coverage{Whole: true}}
	if got := r.NoneText(); !strings.Contains(got, "No lookup of names that you observe below one.example was") {
		t.Errorf("got %s", got)
	}
}
