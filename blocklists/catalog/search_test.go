package catalog

import (
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

func TestSearchFindsWhatPeopleCallThings(t *testing.T) {
	files := withSources("acme.txt", `#@ vendor=Acme product="PhoneOS/Mi Browser" purpose=ads tier=telemetry region=in claims=has-the-name:a/list
ads.acme.example
#@ vendor=Acme product=Browserling purpose=update tier=essential breaks=updates claims=has-the-name:a/list
#@ name=up.acme.example
#@ vendor="Acme Sub" product=TV purpose=crash software=Sentry tier=telemetry claims=has-the-name:a/list
sentry.sub.example
#@ vendor="Acme Sub" tier=owner claims=has-the-name:a/list
#@ name=sub.example
`)
	files[companiesFile] = &fstest.MapFile{Data: []byte("Acme Sub\tAcme Holding\tKR\t\t\t\t\thttps://sub.example/imprint\t2026-11-27\n")}
	c, err := Read(files)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ text, want string }{
		{"acme", "vendor Acme: 2"}, // the vendor of that name alone
		{"ads.acme.example", "name ads.acme.example: 1"},
		{"a.SUB.example", "name sub.example: 1"},
		{"PhoneOS", "product PhoneOS/Mi Browser: 1"},
		{"mi browser", "product PhoneOS/Mi Browser: 1"},
		{"browser", "product PhoneOS/Mi Browser: 1"}, // whole words: not Browserling
		{"sentry", "software Sentry: 1"},
		{"sub", "vendor Acme Sub: 2"},
		{"holding", "company Acme Holding: 2"},
		{"update", "purpose update: 1"},
		{"crash", "purpose crash: 1, set crash: 1"},
		{"in", "region in: 1"},
		{"India", "region in: 1"},
		{"South Korea", "seat KR: 2"},
		{"kr", "seat KR: 2"},
		{"nothing of that", ""},
		{"  ", ""},
	} {
		var got []string
		for _, m := range c.Search(test.text) {
			got = append(got, m.By+" "+m.What+": "+string(rune('0'+m.Count.Total())))
		}
		if strings.Join(got, ", ") != test.want {
			t.Errorf("%q: got %v, want %s", test.text, got, test.want)
		}
	}
}

func TestTheShippedCatalogueIsSearched(t *testing.T) {
	c := load(t)
	for _, test := range []struct{ text, by, vendor string }{
		{"HyperOS", "product", "Xiaomi"}, {"Mi Browser", "product", "Xiaomi"}, {"xiaomi", "vendor", "Xiaomi"},
		{"data.sec.miui.com", "name", "Xiaomi"}, {"matomo", "software", "Brave"},
	} {
		found := c.Search(test.text)
		if !slices.ContainsFunc(found, func(m Match) bool { return m.By == test.by && m.Vendor == test.vendor && m.Count.Total() > 0 }) {
			t.Errorf("%s: got %d matches, none by %s of %s", test.text, len(found), test.by, test.vendor)
		}
	}
}

func TestWhatTheCheckerRefusesOfCompanies(t *testing.T) {
	const good = "Acme\t\tKR\thttps://acme.example/privacy\thttps://acme.example/off\tSettings > Privacy\tads.acme.example\thttps://acme.example/help\t2026-11-27\n"
	list := "#@ vendor=Acme purpose=ads tier=telemetry claims=has-the-name:a/list\nads.acme.example\n#@ vendor=Acme tier=owner claims=has-the-name:a/list\n#@ name=acme.example\n"
	for _, c := range []struct{ what, text, want string }{
		{"a good line", good, ""},
		{"a second setting", good + strings.Replace(good, "Settings", "App", 1), ""},
		{"another vendor", strings.Replace(good, "Acme", "Acne", 1), "companies.tsv:1: Acne: is no vendor of the list files"},
		{"a country that is none", strings.Replace(good, "KR", "XX", 1), "companies.tsv:1: Acme: country XX is unknown"},
		{"a country in lower case", strings.Replace(good, "KR", "kr", 1), "companies.tsv:1: Acme: country kr is unknown"},
		{"a country without a name", strings.Replace(good, "KR", "AQ", 1), "companies.tsv:1: Acme: country AQ has no name yet: add it to countryNames"},
		{"no date", strings.Replace(good, "2026-11-27", "", 1), "companies.tsv:1: Acme: say where it was read"},
		{"an address that is none", strings.Replace(good, "https://acme.example/off", "acme.example/off", 1), "companies.tsv:1: Acme: acme.example/off is no address"},
		{"two seats", good + strings.Replace(good, "KR", "JP", 1), "companies.tsv:2: Acme: parent, country or privacy page differ"},
		{"a silent name nobody knows", strings.Replace(good, "ads.acme.example", "other.acme.example", 1), "companies.tsv:1: Acme: other.acme.example should fall silent, and is no name"},
		{"a line of other columns", "Acme\tKR\n", "companies.tsv:1: has 2 columns, want 9"},
	} {
		files := withSources("acme.txt", list)
		files[companiesFile] = &fstest.MapFile{Data: []byte(c.text)}
		problems, err := Check(files)
		if err != nil {
			t.Fatal(err)
		}
		if c.want == "" && len(problems) > 0 || c.want != "" && (len(problems) == 0 || !strings.HasPrefix(problems[0].String(), c.want)) {
			t.Errorf("%s: got %v, want %q", c.what, problems, c.want)
		}
	}
	files := withSources("acme.txt", list)
	files[companiesFile] = &fstest.MapFile{Data: []byte(good + strings.Replace(good, "Settings", "App", 1))}
	catalog, err := Read(files)
	if err != nil {
		t.Fatal(err)
	}
	if k, ok := catalog.Company("ACME"); !ok || len(k.OptOuts) != 2 || k.OptOuts[1].Steps != "App > Privacy" || !slices.Equal(k.OptOuts[0].Silent, []string{"ads.acme.example"}) {
		t.Errorf("got %+v %v", k, ok)
	}
}

func TestABrandIsFoundWhereNothingElseIs(t *testing.T) {
	files := withSources("acme.txt", "#@ vendor=Acme product=Beeps purpose=ads tier=telemetry claims=has-the-name:a/list\nads.beeps.example\n")
	files[brandsFile] = &fstest.MapFile{Data: []byte("Boops\tAcme\ta/list\nBeeps\tAcme\ta/list\n")}
	c, err := Read(files)
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{"boops": "brand Boops", "beeps": "product Beeps", "boop": ""} {
		got := ""
		for _, m := range c.Search(text) {
			got += m.By + " " + m.What
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
	}
	if got := c.Brands("ACME"); len(got) != 2 || c.BrandSource(got[0]).ID != "a/list" {
		t.Errorf("got %v", got)
	}
}

func TestWhatTheCheckerRefusesOfBrands(t *testing.T) {
	const good = "Boops\tAcme\ta/list\n"
	list := "#@ vendor=Acme purpose=ads tier=telemetry claims=has-the-name:a/list\nads.acme.example\n"
	for _, c := range []struct{ what, text, want string }{
		{"a good line", good, ""},
		{"another vendor", "Boops\tAcne\ta/list\n", "brands.tsv:1: Boops: Acne is no vendor of the list files"},
		{"no vendor", "Boops\t\ta/list\n", "brands.tsv:1: Boops: write the brand, the vendor"},
		{"the vendor's own name", "acme\tAcme\ta/list\n", "brands.tsv:1: acme: is the vendor's own name"},
		{"twice", good + "boops\tAcme\ta/list\n", "brands.tsv:2: boops: is under Acme already"},
		{"no such source", "Boops\tAcme\tnowhere\n", "brands.tsv:1: Boops: the source nowhere is not in sources.tsv"},
		{"a line of other columns", "Boops\tAcme\n", "brands.tsv:1: has 2 columns, want 3"},
	} {
		files := withSources("acme.txt", list)
		files[brandsFile] = &fstest.MapFile{Data: []byte(c.text)}
		problems, err := Check(files)
		if err != nil {
			t.Fatal(err)
		}
		if c.want == "" && len(problems) > 0 || c.want != "" && (len(problems) == 0 || !strings.HasPrefix(problems[0].String(), c.want)) {
			t.Errorf("%s: got %v, want %q", c.what, problems, c.want)
		}
	}
}
