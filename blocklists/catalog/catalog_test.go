package catalog

import (
	"fmt"
	"io/fs"
	"runtime"
	"strings"
	"testing"

	"telltale/blocklists/format"
)

func load(t testing.TB) *Catalog {
	t.Helper()
	c, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestWhoIsBehindAName(t *testing.T) {
	c := load(t)
	for _, test := range []struct{ what, name, want string }{
		{"a collector", "data.mistat.intl.xiaomi.com", "Xiaomi telemetry telemetry"},
		{"a name below a collector", "a.b.tracking.miui.com", "Xiaomi telemetry telemetry"},
		{"in upper case, with the dot", "Tracking.MIUI.com.", "Xiaomi telemetry telemetry"},
		{"the switch that withdraws consent", "data.sec.miui.com", "Xiaomi essential consent"},
		{"a name that only its owner is known of", "shop.xiaomi.com", "Xiaomi owner "},
		{"a collector under the domain of a content network", "mistat.xiaomi.com.download.ks-cdn.com", "Xiaomi telemetry telemetry"},
		{"another customer of that network", "example.download.ks-cdn.com", ""},
		{"a name that only ends like the vendor's", "notxiaomi.com", ""},
		{"the vendor's name before somebody else's domain", "xiaomi.com.example", ""},
		{"a customer of a hoster", "h4g3z1-native.xiaomi.web.app", ""},
		{"a customer of Microsoft's cloud", "shop.azurewebsites.net", ""},
		{"a customer of Microsoft's cloud that is known", "citrixanalyticseh.servicebus.windows.net", "Citrix telemetry analytics"},
		{"a customer of Amazon's cloud", "example.s3.amazonaws.com", ""},
		{"a self-hosted collector", "sa.api.intl.miui.com", "Xiaomi telemetry analytics"},
		{"the name alone", "samba.tv", "Samba TV telemetry acr"},
		{"what is below the name alone", "www.samba.tv", "Samba TV owner "},
		{"what must stay reachable below it", "platform.cid.samba.tv", "Samba TV essential content"},
		{"the root", ".", ""},
		{"nothing", "", ""},
	} {
		got := ""
		if found := c.Name(test.name); len(found) > 0 {
			got = strings.Join([]string{found[0].Vendor, found[0].Tier, found[0].Purpose}, " ")
		}
		if got != test.want {
			t.Errorf("%s, %s: got %q, want %q", test.what, test.name, got, test.want)
		}
	}
}

func TestSelfHostedCollectorsNameSoftwareAndOperator(t *testing.T) {
	c := load(t)
	for _, test := range []struct{ name, vendor, software string }{
		{"sa.api.intl.miui.com", "Xiaomi", "Sensors Analytics"},
		{"matomo.brave.com", "Brave", "Matomo"},
		{"sentry.tuyaeu.com", "Tuya", "Sentry"},
		{"smetrics.samsung.com", "Samsung", "Adobe Analytics"},
		{"bugsnag.prod.ring.com", "Ring", "Bugsnag"},
	} {
		found := c.Name(test.name)
		if len(found) == 0 || found[0].Vendor != test.vendor || found[0].Software != test.software {
			t.Errorf("%s: got %v, want %s by %s", test.name, found, test.software, test.vendor)
		}
	}
}

// The obvious way: look at every entry.
func TestNameFindsWhatCoversTheName(t *testing.T) {
	c := load(t)
	for i, e := range c.Entries() {
		if i%7 != 0 {
			continue
		}
		for _, name := range []string{e.Name, "a." + e.Name, "a-" + e.Name} {
			var want []Entry
			for _, o := range c.Entries() {
				if o.Covers(name) {
					want = append(want, o)
				}
			}
			got := c.Name(name)
			if len(got) != len(want) {
				t.Errorf("%s: got %v, want %v", name, got, want)
			}
			for j := range got {
				if !got[j].Covers(name) || j > 0 && len(got[j].Name) > len(got[j-1].Name) {
					t.Errorf("%s: got %v, want the most specific first", name, got)
				}
			}
		}
	}
}

func TestNamesAreThoseOfTheEntries(t *testing.T) {
	var got []string
	if err := Shipped().Names(func(name string, listed bool, tier string) { got = append(got, fmt.Sprint(name, listed, tier)) }); err != nil {
		t.Fatal(err)
	}
	for i, e := range load(t).Entries() {
		if want := fmt.Sprint(e.String(), e.Listed(), e.Tier); i >= len(got) || got[i] != want {
			t.Fatalf("%d: got %d names, want %s", i, len(got), want)
		}
	}
}

// The size that docs/catalogue.md and the release notes promise.
func TestTheCatalogueIsAsWideAsPromised(t *testing.T) {
	c := load(t)
	vendors, names := 0, 0
	for _, n := range c.Vendors() {
		if n.Total() > n.Owner {
			vendors++
		}
		names += n.Total() - n.Owner
	}
	if vendors < 45 || names < 900 {
		t.Errorf("got %d vendors and %d names, want at least 45 and 900", vendors, names)
	}
	total := 0
	for _, n := range c.Vendors() {
		total += n.Total()
	}
	if total != len(c.Entries()) {
		t.Errorf("vendors add up to %d entries, there are %d", total, len(c.Entries()))
	}
}

func TestExport(t *testing.T) {
	c := load(t)
	entries, ok := c.Tier("telemetry")
	if !ok {
		t.Fatal("no tier telemetry")
	}
	var b strings.Builder
	if err := Export(&b, "telltale", "Telemetry", entries, false); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	for _, want := range []string{"\ntracking.miui.com\n", "\n=samba.tv\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("the list of tier telemetry is without %q", want)
		}
	}
	for _, not := range []string{"data.sec.miui.com", "\nxp.apple.com\n", "\nxiaomi.com\n"} {
		if strings.Contains(text, not) {
			t.Errorf("the list of tier telemetry has %q", not)
		}
	}
	// What was written is read back as as many rules that block.
	rules := 0
	report := format.Parse(strings.NewReader(text), format.Options{}, func(r *format.Rule) { rules++ })
	if report.BadTotal > 0 || rules != len(entries) {
		t.Errorf("read back: %d rules, %v; want %d", rules, report.Bad, len(entries))
	}
	mixed, _ := c.Tier("mixed")
	if len(mixed) <= len(entries) {
		t.Errorf("tier mixed has %d names, telemetry %d", len(mixed), len(entries))
	}
	if _, ok := c.Tier("owner"); ok {
		t.Error("owners can be exported as a list that blocks")
	}
}

func TestSetsAreOfUseOnTheirOwn(t *testing.T) {
	c := load(t)
	has := map[string]string{
		"doh": "dns.google", "connectivity": "connectivitycheck.gstatic.com", "canary": "use-application-dns.net",
		"acr": "samsungacr.com", "crash": "crashlytics.com", "ads": "ad.xiaomi.com", "sdk": "adjust.com",
	}
	for _, s := range Sets {
		entries, ok := c.Set(s.Name)
		if !ok || len(entries) < 3 {
			t.Errorf("set %s: got %d entries", s.Name, len(entries))
		}
		var b strings.Builder
		if err := Export(&b, "telltale", s.Meaning, entries, true); err != nil {
			t.Fatal(err)
		}
		if want := has[s.Name] + "\n"; !strings.Contains(b.String(), want) {
			t.Errorf("set %s is without %s", s.Name, want)
		}
	}
	if _, ok := c.Set("none"); ok {
		t.Error("a set that is not there was found")
	}
}

func TestNeitherCanariesNorConnectivityChecksAreBlocked(t *testing.T) {
	c := load(t)
	for _, set := range []string{"canary", "connectivity"} {
		entries, _ := c.Set(set)
		for _, e := range entries {
			if e.Listed() && e.Tier == "telemetry" {
				t.Errorf("%s:%d: %s is of set %s and blocked by default", e.File, e.Line, &e, set)
			}
		}
	}
}

// Annotations are read once and stay; the names themselves are the matcher's.
func TestAnnotationsOfAThousandNamesCostLittle(t *testing.T) {
	const most = 300 << 10 // bytes for 1,000 names
	var notes []*format.Annotation
	parse := func() (names int) {
		entries, err := fs.ReadDir(FS(), ".")
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			f, err := FS().Open(e.Name())
			if err != nil {
				t.Fatal(err)
			}
			format.Parse(f, format.Options{}, func(r *format.Rule) { notes = append(notes, r.Annotation) })
			f.Close()
		}
		return len(notes)
	}
	names := parse()
	notes = make([]*format.Annotation, 0, names)
	before := heap()
	parse()
	used := int64(heap()) - int64(before)
	runtime.KeepAlive(notes)
	t.Logf("%d names, %d KB of annotations, %d KB for 1,000 names", names, used>>10, used*1000/int64(names)>>10)
	if used*1000/int64(names) > most {
		t.Errorf("annotations cost %d bytes for 1,000 names, want at most %d", used*1000/int64(names), most)
	}
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
