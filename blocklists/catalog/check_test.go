package catalog

import (
	"strings"
	"testing"
	"testing/fstest"
)

func TestTheShippedFilesPassTheChecker(t *testing.T) {
	problems, err := Check(FS())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Error(p)
	}
}

const testSources = "acme/privacy\t2026-11-01\tacme.example\t\thttps://acme.example/privacy\n" +
	"a/list\t2026-05-16\ta/list\tMIT\thttps://github.com/a/list/blob/0123456789012345678901234567890123456789/list.txt\n" +
	"b/list\t\tb/list\t\thttps://github.com/b/list/blob/0123456789012345678901234567890123456789/list.txt\n" +
	"copy/list\t\tcopy/list\t\thttps://github.com/copy/list/blob/0123456789012345678901234567890123456789/list.txt\n" +
	"a#1\t\ta/list\t\thttps://github.com/a/list/issues/1\n"

const testDescent = "copy/list\ta/list\tits README says so\n"

// withSources is a catalogue of one list file.
func withSources(name, text string) fstest.MapFS {
	return fstest.MapFS{name: {Data: []byte(text)}, sourcesFile: {Data: []byte(testSources)}, descentFile: {Data: []byte(testDescent)}}
}

func TestWhatTheCheckerRefusesOfTheTables(t *testing.T) {
	const pinned = "https://github.com/a/b/blob/0123456789012345678901234567890123456789/c"
	for _, c := range []struct{ file, text, want string }{
		{sourcesFile, "a\t2026-05-16\tp\tMIT\t" + pinned + "\nb\t\tp\t\n", "sources.tsv:2: has 4 columns, want 5 with a tab between them"},
		{sourcesFile, "# a comment\n\nA b\t\tp\t\t" + pinned + "\n", "sources.tsv:3: A b: is no id"},
		{sourcesFile, "a\t\tp\t\t" + pinned + "\na\t\tp\t\t" + pinned + "\n", "sources.tsv:2: a stands in the table already"},
		{sourcesFile, "a\tMay\tp\t\t" + pinned + "\n", "sources.tsv:1: a: May is no date"},
		{sourcesFile, "a\t\t\t\t" + pinned + "\n", "sources.tsv:1: a: no project"},
		{sourcesFile, "a\t\tp\t\thttp://a.example/\n", "sources.tsv:1: a: http://a.example/ is no address: write https://..."},
		{sourcesFile, "a\t2026-05-16\tp\t\thttps://github.com/a/b/blob/main/c\n", "sources.tsv:1: a: https://github.com/a/b/blob/main/c points to a file that changes"},
		{sourcesFile, "a\t\tp\t\thttps://a.example/privacy\n", "sources.tsv:1: a: https://a.example/privacy is a page that changes: add the date on which it was read"},
		{descentFile, "a\tb\tfound\nb\tc\tfound\nc\ta\tfound\n", "descent.tsv:3: c and a come from one another"},
		{descentFile, "a\ta\tfound\n", "descent.tsv:1: a and a come from one another"},
		{descentFile, "a\tb\t\n", "descent.tsv:1: a: say what it came from, and how that was found"},
	} {
		problems, err := Check(fstest.MapFS{c.file: {Data: []byte(c.text)}})
		if err != nil {
			t.Fatal(err)
		}
		if len(problems) != 1 || !strings.HasPrefix(problems[0].String(), c.want) {
			t.Errorf("%q: got %v, want %q", c.text, problems, c.want)
		}
	}
}

func TestWhatTheCheckerRefuses(t *testing.T) {
	const head = "#@ vendor=Acme product=Phone purpose=telemetry tier=telemetry claims=states-purpose:acme/privacy\n"
	for _, c := range []struct{ name, text, want string }{
		{"an entry without a claim", "#@ vendor=Acme purpose=crash tier=telemetry\nlog.acme.example\n",
			"acme.txt:2: log.acme.example: no claim: add claims=KIND:ID with sources of sources.tsv, or do not ship the entry; docs/catalogue.md says what counts as one"},
		{"an entry without a vendor", "#@ purpose=crash tier=telemetry confidence=name claims=has-the-name:a/list\nlog.acme.example\n",
			"acme.txt:2: log.acme.example: no vendor: add vendor=NAME to the #@ line above"},
		{"an unknown purpose", head + "log.acme.example #@ purpose=spying\n",
			"acme.txt:2: log.acme.example: purpose=spying is not in the vocabulary: take one of docs/catalogue.md"},
		{"an unknown tier", head + "log.acme.example #@ tier=bad\n",
			"acme.txt:2: tier=bad is unknown: write telemetry, mixed, essential or owner"},
		{"an unknown key", head + "log.acme.example #@ colour=red\n", "acme.txt:2: the key colour is unknown"},
		{"a confidence that is computed", head + "log.acme.example #@ confidence=stated\n", "acme.txt:2: log.acme.example: confidence=stated: it is computed from the claims: remove it"},
		{"a purpose read off the name that a source says", head + "log.acme.example #@ confidence=name\n", "acme.txt:2: log.acme.example: confidence=name, but a source says the purpose: remove it"},
		{"a purpose that cannot be read in the name", head + "p.acme.example #@ claims=has-the-name:a/list confidence=name\n",
			"acme.txt:2: p.acme.example: confidence=name, but nothing of purpose=telemetry can be read in it: remove confidence=name, and the name is listed only"},
		{"a claim of no kind", head + "log.acme.example #@ claims=says:a/list\n",
			"acme.txt:2: log.acme.example: the claim says is unknown: write one of vendor-documents, measured, states-purpose, states-breakage, disputes, has-the-name"},
		{"a claim without a source", head + "log.acme.example #@ claims=measured\n", "acme.txt:2: log.acme.example: the source  is not in sources.tsv"},
		{"a source that is not in the table", head + "log.acme.example #@ claims=measured:nobody\n",
			"acme.txt:2: log.acme.example: the source nobody is not in sources.tsv: add it there, with a link that stays what it is"},
		{"a claim twice", head + "log.acme.example #@ claims=measured:a/list,a/list\n", "acme.txt:2: log.acme.example: the source a/list makes the same claim twice: keep one"},
		{"a source without the table", head + "log.acme.example #@ source=https://acme.example\n", "acme.txt:2: log.acme.example: source= is for lists of one's own"},
		{"a dispute of nothing", head + "log.acme.example #@ claims=\"has-the-name:a/list disputes:b/list\"\n", "acme.txt:2: log.acme.example: disputes:, but no source says that something breaks"},
		{"a breakage without what breaks", head + "log.acme.example #@ claims=states-breakage:a/list\n", "acme.txt:2: log.acme.example: a source says what breaks, and breaks= is empty"},
		{"an unknown region", head + "log.acme.example #@ region=Europe\n", "acme.txt:2: log.acme.example: region=Europe is unknown"},
		{"a country that is none", head + "client-uc.acme.example #@ region=uc\n", "acme.txt:2: client-uc.acme.example: region=uc is unknown"},
		{"a date that is none", head + "log.acme.example #@ since=May\n", "acme.txt:2: log.acme.example: since=May is no date"},
		{"an essential name on a line that blocks", head + "log.acme.example #@ tier=essential breaks=all\n",
			"acme.txt:2: log.acme.example: a plain line blocks, but tier=essential never does: write #@ name=log.acme.example"},
		{"telemetry on a line that does not block", head + "#@ name=log.acme.example\n",
			"acme.txt:2: log.acme.example: tier=telemetry is for lines that block: write log.acme.example without #@ name="},
		{"mixed without what breaks", head + "log.acme.example #@ tier=mixed\n", "acme.txt:2: log.acme.example: tier=mixed without breaks: say what stops working"},
		{"telemetry that breaks something", head + "log.acme.example #@ breaks=mail claims=states-breakage:a#1\n", "acme.txt:2: log.acme.example: tier=telemetry, but a source says that something breaks: make it mixed, or add by disputes:"},
		{"an owner with a purpose", head + "#@ name=acme.example tier=owner\n", "acme.txt:2: acme.example: an owner has no purpose"},
		{"a name twice", head + "log.acme.example\nlog.acme.example\n", "acme.txt:3: log.acme.example stands at acme.txt:2 already: keep one"},
		{"a name under two vendors", head + "log.acme.example\nlog.acme.example #@ vendor=Other\n",
			"acme.txt:3: log.acme.example is under Other here and under Acme at acme.txt:2"},
		{"a subtree with an essential name in it", head + "acme.example\n#@ name==time.acme.example purpose=time tier=essential breaks=clock\n",
			"acme.txt:2: acme.example blocks =time.acme.example, which is essential (acme.txt:3): list names below it one by one"},
		{"an observed name in a blocked subtree", head + "acme.example\nlog.acme.example #@ tier=mixed breaks=mail\n",
			"acme.txt:3: log.acme.example is to be observed, but acme.example blocks it (acme.txt:2)"},
		{"the domain of a hoster", head + "web.app\n", "acme.txt:2: web.app: is a public suffix"},
		{"a hosts line", head + "0.0.0.0 log.acme.example\n", "acme.txt:2: 0.0.0.0 log.acme.example is not a form of this catalogue"},
		{"an exception", head + "@@||log.acme.example^\n", "acme.txt:2: @@||log.acme.example^ is not a form of this catalogue"},
		{"a line that is no name", head + "not a name\n", "acme.txt:2: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			problems, err := Check(withSources("acme.txt", c.text))
			if err != nil {
				t.Fatal(err)
			}
			if len(problems) == 0 {
				t.Fatalf("got no problem, want %q", c.want)
			}
			for _, p := range problems {
				if strings.HasPrefix(p.String(), c.want) {
					return
				}
			}
			t.Errorf("got %v, want %q", problems, c.want)
		})
	}
}

func TestWhatTheCheckerAllows(t *testing.T) {
	const text = `# Acme
#@ vendor=Acme product=Phone purpose=telemetry tier=telemetry since=2026-05 claims="vendor-documents:acme/privacy has-the-name:a/list"
log.acme.example
=acme.example  #@ region=de
ads.acme.example  #@ breaks="the home screen, perhaps" claims="states-purpose:acme/privacy states-breakage:a#1 disputes:b/list"
#@ vendor=Acme purpose=update tier=essential breaks=updates claims="states-breakage:a#1 disputes:b/list"
#@ name=update.acme.example
#@ vendor=Acme tier=owner claims=states-purpose:acme/privacy
#@ name=acme.example
`
	problems, err := Check(withSources("acme.txt", text))
	if err != nil || len(problems) > 0 {
		t.Errorf("got %v %v, want no problems", problems, err)
	}
}

// Whatever a file holds, the checker says where, and what it passes can be read.
func FuzzCheck(f *testing.F) {
	f.Add("#@ vendor=Acme purpose=crash tier=telemetry confidence=name claims=has-the-name:a/list\nlog.acme.example\n=acme.example\n")
	f.Add("#@ name==acme.example tier=owner\n0.0.0.0 a.example\n||b.example^\n/c/\n")
	f.Add("$ORIGIN rpz.example.\n*.a CNAME .\n")
	f.Add("#@ tier=mixed breaks=\"\n@@=a.example\n.\n*\n")
	f.Fuzz(func(t *testing.T, text string) {
		fsys := withSources("acme.txt", text)
		problems, err := Check(fsys)
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Count(text, "\n") + strings.Count(text, "\r") + 1
		for _, p := range problems {
			if p.File != "acme.txt" || p.Line < 1 || p.Line > lines || p.What == "" {
				t.Errorf("a problem without its place: %+v", p)
			}
		}
		if len(problems) > 0 {
			return
		}
		c, err := Read(fsys)
		if err != nil {
			t.Fatalf("passed by the checker, and not read: %v", err)
		}
		for _, e := range c.Entries() {
			if e.Vendor == "" || len(e.Claims) == 0 || e.Tier == "" {
				t.Errorf("passed by the checker: %+v", e)
			}
		}
	})
}

// Whatever the tables hold, each mistake has its place, and the check ends.
func FuzzTables(f *testing.F) {
	f.Add(testSources, testDescent, "a.example\tb.example\ta#1\t2026-05-16\n", "Acme\t\tKR\t\t\t\t\thttps://a.example/\t2026-05-16\n")
	f.Add("a\t\tp\t\thttps://a.example/\r\n", "a\tb\tc\nb\ta\tc\n", "a\tb\ta\t\nb\ta\ta\t\n", "\t\t\t\t\t\t\t\t\n")
	f.Fuzz(func(t *testing.T, sources, descent, aliases, companies string) {
		files := fileSet{"acme.txt": []byte("#@ vendor=Acme purpose=push tier=mixed breaks=push claims=has-the-name:a/list\na.example\n"),
			sourcesFile: []byte(sources), descentFile: []byte(descent), aliasesFile: []byte(aliases), aliasSourcesFile: []byte(sources), companiesFile: []byte(companies)}
		for _, p := range check(files) {
			if text := files[p.File]; text == nil || p.Line < 1 || p.Line > strings.Count(string(text), "\n")+1 || p.What == "" {
				t.Errorf("a problem without its place: %+v", p)
			}
		}
	})
}
