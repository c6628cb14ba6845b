package letter

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"telltale/devices"
	"telltale/evidence"
	"telltale/evidence/logtest"
	"telltale/querylog"
)

var update = flag.Bool("update", false, "write the golden files anew")

func at(day, hour int) querylog.Time {
	return querylog.Time{Time: time.Date(2026, 11, day, hour, 0, 0, 0, time.UTC)}
}

func report() *evidence.Report {
	counts := func(attempts, lookups, blocked uint64) evidence.Counts {
		return evidence.Counts{Count: evidence.Count{Attempts: attempts, Lookups: lookups}, Blocked: evidence.Count{Attempts: blocked, Lookups: blocked}}
	}
	return &evidence.Report{
		Program: "telltale 1.0, catalogue 2026-11-01", About: evidence.About{Kind: "vendor-of-device", Device: "mac:02:00:5e:10:00:01", Label: "Anna's phone", Vendor: "Acme"}, Since: at(1, 0), Until: at(8, 0), Zone: "Europe/Berlin", Location: time.UTC,
		Coverage: evidence.Coverage{Length: 7 * 86400, Recorded: 7*86400 - 3600, Gaps: []querylog.Gap{{Effect: querylog.Unrecorded, Kind: querylog.GapDown}}},
		Attempts: evidence.Attempts{Counted: "all", Gap: 30}, Unit: "attempts", Totals: evidence.Totals{Why: "none"},
		Confidence: []evidence.Confidence{{Confidence: "high", Count: evidence.Count{Attempts: 40, Lookups: 90}}},
		Identity:   []evidence.Identity{{Device: "mac:02:00:5e:10:00:01", Covers: "192.168.1.20", MAC: "02:00:5e:10:00:01", Source: "neighbour"}},
		Caveats:    []string{"the clock was set, so some lookups may be dated earlier or later than they came"},
		Vendors: []evidence.Vendor{{Vendor: "Acme", Counts: counts(40, 90, 30), Devices: []string{"Anna's phone"}, Names: []evidence.Name{
			{Name: "metrics.acme.example", Product: "AcmeOS [beta]", Purpose: "analytics", Tier: "telemetry", ListedBy: "acme:12", Sources: []string{"https://example.org/a-study-of-what-phones-send-home-while-nobody-looks-at-them-2026"}, Counts: counts(30, 70, 30), First: at(1, 3), Last: at(7, 22)},
			{Name: "config.acme.example", Tier: "mixed", Region: "eu", ListedBy: "acme:14", Counts: counts(10, 20, 0), First: at(2, 3), Last: at(6, 22)},
		}}},
	}
}

func TestGolden(t *testing.T) {
	for _, language := range Languages {
		var b strings.Builder
		places, err := Write(&b, report(), language)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join("testdata", language+".golden")
		if *update {
			if err := os.MkdirAll("testdata", 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil || b.String() != string(want) {
			t.Errorf("%s: got\n%s\nwant\n%s%v", language, b.String(), want, err)
		}
		for _, home := range []string{"Anna", "02:00:5e", "192.168", "[beta]"} {
			if strings.Contains(b.String(), home) {
				t.Errorf("%s: %q of the home, or of others, is in it", language, home)
			}
		}
		for _, claim := range []string{"GDPR", "DSGVO", "Article", "Art.", "right to", "obliged", "Anspruch", "verpflichtet", "spied", "spion"} {
			if strings.Contains(b.String(), claim) {
				t.Errorf("%s: %q is a claim", language, claim)
			}
		}
		if places != strings.Count(b.String(), "[") || places != strings.Count(b.String(), "]") || places < 8 {
			t.Errorf("%s: got %d places", language, places)
		}
		for line := range strings.Lines(b.String()) {
			if utf8.RuneCountInString(line) > width+1 && strings.Contains(strings.TrimSpace(line), " ") && !strings.Contains(line, "https://") {
				t.Errorf("%s: a long line: %s", language, line)
			}
		}
	}
}

func TestEachLanguageHasAllWords(t *testing.T) {
	for name, l := range languages {
		if got := missing(l); len(got) > 0 || len(l.questions) != len(english.questions) || len(l.limits) != len(english.limits) || len(l.sure) != 3 {
			t.Errorf("%s lacks %v", name, got)
		}
	}
	if len(languages) != len(Languages) {
		t.Errorf("got %d languages", len(languages))
	}
}

func TestNothingToAskAbout(t *testing.T) {
	r := report()
	r.Vendors = nil
	if _, err := Write(new(strings.Builder), r, "en"); !errors.Is(err, ErrNothing) {
		t.Errorf("got %v", err)
	}
	if _, err := Write(new(strings.Builder), report(), "xx"); err == nil {
		t.Error("a language that there is not is taken")
	}
}

// A report of a long period has counts and no names: a letter would say that none was looked up.
func TestNoLetterWithoutNames(t *testing.T) {
	r := report()
	r.Vendors[0].Names = []evidence.Name{{Counts: r.Vendors[0].Counts}} // counted together
	var b strings.Builder
	if _, err := Write(&b, r, "en"); !errors.Is(err, ErrNoNames) || b.Len() != 0 {
		t.Errorf("got %v and %q", err, b.String())
	}
}

// Whatever is known of a name, the letter says no more of it.
func TestWhatIsNotKnownIsLeftOut(t *testing.T) {
	r := report()
	r.Attempts.Counted, r.Totals.Why = "none", "long"
	r.Vendors[0].Names = []evidence.Name{{Counts: evidence.Counts{Count: evidence.Count{Lookups: 7}}, First: at(1, 1), Last: at(1, 1)}, {Name: "x.acme.example", First: at(1, 1), Last: at(1, 1)}}
	var b strings.Builder
	if _, err := Write(&b, r, "en"); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"looked up 1 name that", "(names that were counted together)", "7 lookups", "are deleted by now, or were read as hourly totals", "count one each"} {
		if !strings.Contains(strings.ReplaceAll(b.String(), "\n  ", " "), want) && !strings.Contains(strings.ReplaceAll(b.String(), "\n", " "), want) {
			t.Errorf("%q is not in\n%s", want, b.String())
		}
	}
	if strings.Contains(b.String(), "attempts (") || strings.Contains(b.String(), "listed by ") {
		t.Errorf("got\n%s", b.String())
	}
}

// The vendor is told what the device rests on, and not that it is its address where that
// was an id.
func TestWhatADeviceIsToldFromOthersBy(t *testing.T) {
	for _, c := range []struct {
		sources []string
		en, de  string
	}{
		{nil, "by what the record does not have.", "durch etwas, was die Aufzeichnung nicht enthält, unterschieden."},
		{[]string{"bare-address"}, "by its address there.", "durch seine Adresse darin unterschieden."},
		{[]string{"lease"}, "by its hardware address (MAC).", "durch seine Hardware-Adresse (MAC) unterschieden."},
		{[]string{"client-id"}, "by an id that it sends with its lookups.", "durch eine Kennung, die es mit seinen Abfragen sendet, unterschieden."},
		{[]string{"configured-client-id", "configured-address", "this-host"}, "by its address there or an id that", ""},
	} {
		r := report()
		r.Identity = nil
		for _, source := range c.sources {
			r.Identity = append(r.Identity, evidence.Identity{Source: source})
		}
		for language, want := range map[string]string{"en": c.en, "de": c.de} {
			var b strings.Builder
			if _, err := Write(&b, r, language); err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(strings.Join(strings.Fields(b.String()), " "), want) {
				t.Errorf("%v: %q is not in\n%s", c.sources, want, b.String())
			}
		}
	}
	for source := devices.Source(1); source.String() != devices.Source(0).String(); source++ {
		r := report()
		r.Identity[0].Source = source.String()
		w := &writer{r: r, words: &english}
		if w.toldBy() == english.by[byUnknown] {
			t.Errorf("%s: a letter does not know what that is", source)
		}
	}
}

// written is a letter on one line.
func written(t *testing.T, r *evidence.Report, language string) string {
	t.Helper()
	var b strings.Builder
	if _, err := Write(&b, r, language); err != nil {
		t.Fatal(err)
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

// The letter says from when on there is a record, and not since when one was asked for.
func TestTheFirstSentenceHasTheTimeRecorded(t *testing.T) {
	gap := func(since, until querylog.Time, effect querylog.Effect) querylog.Gap {
		return querylog.Gap{Since: since, Until: until, Effect: effect, Kind: querylog.GapUnknown}
	}
	for _, c := range []struct {
		gaps []querylog.Gap
		want string
	}{
		{nil, "From 1 Nov 2026 00:00 to 8 Nov 2026 00:00"},
		{[]querylog.Gap{gap(at(3, 0), at(4, 0), querylog.Unrecorded)}, "From 1 Nov 2026 00:00 to 8 Nov 2026 00:00"},
		{[]querylog.Gap{gap(at(1, 0), at(4, 0), querylog.Unrecorded), gap(at(3, 0), at(5, 6), querylog.Unrecorded), gap(at(7, 0), at(8, 0), querylog.Unrecorded)}, "From 5 Nov 2026 06:00 to 7 Nov 2026 00:00"},
		{[]querylog.Gap{gap(at(1, 0), at(4, 0), querylog.Unblocked)}, "From 1 Nov 2026 00:00 to 8 Nov 2026 00:00"},
		{[]querylog.Gap{gap(at(1, 0), at(8, 0), querylog.Unrecorded)}, "From 1 Nov 2026 00:00 to 8 Nov 2026 00:00"}, // imported lookups alone
	} {
		r := report()
		r.Coverage.Gaps = c.gaps
		if got := written(t, r, "en"); !strings.Contains(got, c.want+" (Europe/Berlin) the DNS server") || !strings.Contains(got, "Period: 1 Nov 2026 00:00 to 8 Nov 2026 00:00") {
			t.Errorf("%+v: %q is not in\n%s", c.gaps, c.want, got)
		}
	}
}

func TestAllBlockedIsNotSome(t *testing.T) {
	r := report()
	if got := written(t, r, "en"); !strings.Contains(got, "did not answer some of them") {
		t.Errorf("got %s", got)
	}
	r.Vendors[0].Counts.Blocked = r.Vendors[0].Counts.Count
	for language, want := range map[string]string{"en": "My network answered none of them with an address: all were blocked.", "de": "Mein Netz hat keine davon mit einer Adresse beantwortet"} {
		if got := written(t, r, language); !strings.Contains(got, want) || strings.Contains(got, "some of them") || strings.Contains(got, "einen Teil davon") {
			t.Errorf("%q is not in\n%s", want, got)
		}
	}
}

// A name that the person observes is on no list of others, and its vendor is not known.
func TestObservedNamesAreThePersonsOwn(t *testing.T) {
	r := report()
	r.Vendors[0].Vendor = "candidate acme.example"
	for i := range r.Vendors[0].Names {
		r.Vendors[0].Names[i].ListedBy, r.Vendors[0].Names[i].Sources = "candidates:3", nil
	}
	for language, all := range map[string][]string{
		"en": {"names below acme.example by my device", "looked up 2 names below acme.example: ", "no list says whose they are", "is my own guess", "recorded because I observe it"},
		"de": {"Namen unter acme.example durch mein Gerät", "Keine Liste sagt, wem sie gehören", "vermute ich selbst", "aufgezeichnet, weil ich ihn beobachte"},
	} {
		got := written(t, r, language)
		for _, want := range all {
			if !strings.Contains(got, want) {
				t.Errorf("%q is not in\n%s", want, got)
			}
		}
		for _, other := range []string{"candidate acme", "candidates", "The lists", "the lists", "Listen ", "that lists attribute"} {
			if strings.Contains(got, other) {
				t.Errorf("%q is in\n%s", other, got)
			}
		}
	}
	r.Vendors[0].Names[0].ListedBy = "mine:1" // a list that calls its vendor so
	if got := written(t, r, "en"); !strings.Contains(got, "that lists attribute to candidate acme.example") || strings.Count(got, "because I observe it") != 1 {
		t.Errorf("got %s", got)
	}
}

// What another server recorded is of the time in which nothing was recorded here: the letter does not count it under a time that begins later.
func TestTheFirstSentenceHasTheTimeOfImportedLookups(t *testing.T) {
	home := logtest.New(3)
	begin := home.Begin.AddDate(0, 0, 7)
	home.Gaps = append(home.Gaps, querylog.Gap{Since: querylog.Time{Time: home.Begin}, Until: querylog.Time{Time: begin}, Effect: querylog.Unrecorded, Kind: querylog.GapUnknown})
	imported := uint64(0)
	home.Imported = func(r *querylog.Row) string {
		if r.Time.Before(begin) {
			return "adguard"
		}
		return ""
	}
	o := evidence.Options{Since: home.Begin.AddDate(0, 0, -3), Until: begin.AddDate(0, 0, 2), Zone: home.Zone, ZoneName: "Europe/Berlin", Device: "phone", Vendor: "Phonemaker & Söhne"}
	o.Whose.Devices = []querylog.DeviceSpan{{Device: "phone"}}
	var first, last time.Time
	for i := range home.Lookups {
		if l := &home.Lookups[i]; l.Device.Identity == "phone" && l.Name.Vendor == o.Vendor && l.Time.Before(o.Until) {
			if first.IsZero() {
				first = l.Time
			}
			if last = l.Time; l.Time.Before(begin) {
				imported++
			}
		}
	}
	made := func() *evidence.Report {
		r, err := evidence.Make(t.Context(), home, o)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	layout := english.layout
	for language, want := range map[string]string{
		"en": fmt.Sprintf("Another DNS server recorded %d of these lookups: they were imported from its log.", imported),
		"de": fmt.Sprintf("Von diesen Abfragen hat ein anderer DNS-Server %d aufgezeichnet: Sie stammen aus dessen Protokoll.", imported),
	} {
		if got := written(t, made(), language); imported == 0 || !strings.Contains(got, want) {
			t.Errorf("%q is not in\n%s", want, got)
		}
	}
	if got, want := written(t, made(), "en"), "From "+first.In(home.Zone).Format(layout)+" to "+o.Until.In(home.Zone).Format(layout)+" ("; !strings.Contains(got, want) {
		t.Errorf("%q is not in\n%s", want, got)
	}
	home.Gaps[len(home.Gaps)-1] = querylog.Gap{Since: querylog.Time{Time: begin}, Until: querylog.Time{Time: home.End}, Effect: querylog.Unrecorded, Kind: querylog.GapUnknown}
	home.Imported = func(r *querylog.Row) string { return map[bool]string{true: "adguard"}[!r.Time.Before(begin)] }
	if got, want := written(t, made(), "en"), "From "+home.Begin.Format(layout)+" to "+last.In(home.Zone).Format(layout)+" ("; !strings.Contains(got, want) {
		t.Errorf("%q is not in\n%s", want, got)
	}
	o.Until = begin
	if got := written(t, made(), "en"); strings.Contains(got, "Another DNS server") {
		t.Errorf("nothing is imported: got\n%s", got)
	}
}
