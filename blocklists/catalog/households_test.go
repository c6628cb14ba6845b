package catalog

import (
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"text/tabwriter"
)

// notedRows reads a table of testdata whose rows end in the id of a source, and whose
// sources stand in lines that begin with @ID. It returns rows with the source's
// columns in place of the id.
func notedRows(t *testing.T, file string, columns, ofSource int) (rows [][]string) {
	t.Helper()
	b, err := os.ReadFile("testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	sources := map[string][]string{}
	for i, line := range strings.Split(string(b), "\n") {
		row := strings.Split(line, "\t")
		switch {
		case line == "" || line[0] == '#':
		case line[0] == '@':
			if len(row) != ofSource+1 {
				t.Fatalf("testdata/%s:%d: a source of %d columns, want %d", file, i+1, len(row)-1, ofSource)
			}
			sources[row[0][1:]] = row[1:]
		case len(row) != columns+1 || sources[row[columns]] == nil:
			t.Fatalf("testdata/%s:%d: %d columns, want %d and a source that is known", file, i+1, len(row)-1, columns)
		default:
			rows = append(rows, append(row[:columns:columns], sources[row[columns]]...))
		}
	}
	return rows
}

// Whatever does something useful is answered by default: by itself, and through what
// it was seen to be an alias of, unless the lists know the name itself as one that
// must not be blocked, which the server believes.
func TestNoFunctionalHostIsBlockedByDefault(t *testing.T) {
	c := load(t)
	files, err := readFiles(FS(), "*.tsv")
	if err != nil {
		t.Fatal(err)
	}
	bad := func(file string, line int, what string) { t.Errorf("%s:%d: %s", file, line, what) }
	all := readAliases(files, readSourceTable(files, aliasSourcesFile, bad), bad)
	type count struct{ hosts, aliases, known int }
	counts := map[string]*count{}
	hosts := notedRows(t, "functional.tsv", 3, 2)
	for _, row := range hosts {
		name, kind := row[0], row[1]
		n := counts[kind]
		if n == nil {
			n = &count{}
			counts[kind] = n
		}
		n.hosts++
		found := c.Name(name)
		if len(found) > 0 {
			n.known++
		}
		if e := c.blocker(name); e != nil {
			t.Errorf("%s:%d: %s blocks %s, which is for %s (%s)", e.File, e.Line, e, name, row[2], row[3])
			continue
		}
		if len(all[name]) > 0 {
			n.aliases++
		}
		if len(found) > 0 && (found[0].Tier == "mixed" || found[0].Tier == "essential") {
			continue // the checker looks at what it leads to
		}
		for _, target := range all.targets(name) {
			if e := c.blocker(target); e != nil {
				t.Errorf("%s:%d: %s blocks %s, to which %s leads, which is for %s (%s)", e.File, e.Line, e, target, name, row[2], row[3])
			}
		}
	}
	if len(hosts) < 1000 {
		t.Errorf("%d functional hosts, want 1,000", len(hosts))
	}
	table(t, "functional hosts\thosts\twith a recorded alias\tknown by vendor", func(w io.Writer) {
		for _, kind := range slices.Sorted(maps.Keys(counts)) {
			fmt.Fprintf(w, "%s\t%d\t%d\t%s\n", kind, counts[kind].hosts, counts[kind].aliases, share(counts[kind].known, counts[kind].hosts))
		}
	})
}

// A coverage is what the catalogue knows of the names that devices asked for.
type coverage struct{ names, shared, vendor, rule, blocked int }

func (n *coverage) add(c *Catalog, name string, shared bool) {
	if shared {
		n.shared++
		return
	}
	n.names++
	found := c.Name(name)
	if len(found) > 0 {
		n.vendor++
	}
	if slices.ContainsFunc(found, func(e Entry) bool { return e.Tier != "owner" }) {
		n.rule++
	}
	if c.blocker(name) != nil {
		n.blocked++
	}
}

// households counts the names of testdata/households.tsv by kind of device (each name
// once in a kind) and by study, and all of them.
func households(t *testing.T, c *Catalog) (kinds, studies map[string]*coverage, all coverage) {
	t.Helper()
	kinds, studies = map[string]*coverage{}, map[string]*coverage{}
	seen := map[[2]string]bool{}
	count := func(of map[string]*coverage, key, name string, shared bool) {
		if seen[[2]string{key, name}] {
			return
		}
		seen[[2]string{key, name}] = true
		if of[key] == nil {
			of[key] = &coverage{}
		}
		of[key].add(c, name, shared)
	}
	for _, row := range notedRows(t, "households.tsv", 4, 4) {
		name, shared := row[2], row[3] == "yes"
		count(kinds, row[0], name, shared)
		count(studies, "study "+row[4], name, shared)
		if !seen[[2]string{"", name}] {
			seen[[2]string{"", name}] = true
			all.add(c, name, shared)
		}
	}
	return kinds, studies, all
}

// studyURLs are the addresses of the documents of each study.
func studyURLs(t *testing.T) map[string]map[string]bool {
	t.Helper()
	urls := map[string]map[string]bool{}
	for _, row := range notedRows(t, "households.tsv", 4, 4) {
		if urls["study "+row[4]] == nil {
			urls["study "+row[4]] = map[string]bool{}
		}
		urls["study "+row[4]][row[5]] = true
	}
	return urls
}

// fed reports whether an entry rests on a document of the same repository as one of
// these: then what the entries say of the names is no test of the catalogue.
func fed(c *Catalog, urls map[string]bool) bool {
	repository := func(url string) string {
		part := strings.SplitN(strings.TrimPrefix(url, "https://"), "/", 4)
		return strings.Join(part[:min(len(part), 3)], "/")
	}
	of := map[string]bool{}
	for url := range urls {
		of[repository(url)] = true
	}
	return slices.ContainsFunc(c.entries, func(e Entry) bool {
		return slices.ContainsFunc(e.Claims, func(claim Claim) bool { return of[repository(claim.Source.URL)] })
	})
}

func TestCoverageOfHouseholds(t *testing.T) {
	c := load(t)
	kinds, studies, all := households(t, c)
	urls := studyURLs(t)
	t.Logf("\n%s", householdTable(kinds, all))
	for name := range studies {
		t.Logf("%s: fed the catalogue: %v", name, fed(c, urls[name]))
	}
	if all.names < 500 {
		t.Errorf("%d names, want 500", all.names)
	}
	if all.vendor*100 < 85*all.names || all.rule*100 < 60*all.names {
		t.Errorf("of %d names %d have a vendor and %d a rule, want 85 %% and 60 %%", all.names, all.vendor, all.rule)
	}
}

// householdTable is the table of docs/catalogue/README.md.
func householdTable(kinds map[string]*coverage, all coverage) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 1, ' ', 0)
	fmt.Fprint(w, "| kind of device\t| names\t| with a vendor\t| with a purpose\t| blocked by default\t| shared names, left out\t|\n|---\t|--:\t|--:\t|--:\t|--:\t|--:\t|\n")
	line := func(kind string, n coverage) {
		fmt.Fprintf(w, "| %s\t| %d\t| %s\t| %s\t| %s\t| %d\t|\n", kind, n.names, share(n.vendor, n.names), share(n.rule, n.names), share(n.blocked, n.names), n.shared)
	}
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		line(kind, *kinds[kind])
	}
	line("all, each name once", all)
	w.Flush()
	return b.String()
}

func TestWhatTheCheckerRefusesOfAliases(t *testing.T) {
	list := `#@ vendor=Acme purpose=ads tier=telemetry claims=has-the-name:a/list
ads.acme.example
#@ vendor=Acme purpose=push tier=mixed breaks=push claims=has-the-name:a/list
push.acme.example
#@ vendor=Acme purpose=time tier=essential breaks=clock claims=has-the-name:a/list
#@ name=time.acme.example
`
	const seen = "\tseen\t2026-05-16\n"
	for _, c := range []struct{ what, text, want string }{
		{"an alias of nobody", "push.acme.example\tpush.cdn.example" + seen, ""},
		{"telemetry through an alias", "stats.acme.example\tads.acme.example" + seen, ""},
		{"an observed name through one step", "push.acme.example\ta.ads.acme.example" + seen,
			"acme.txt:2: ads.acme.example blocks a.ads.acme.example, to which push.acme.example leads (aliases.tsv:1), which is mixed (acme.txt:4): give it the same tier"},
		{"an essential name through two", "a.time.acme.example\tb.example" + seen + "b.example\tads.acme.example" + seen,
			"acme.txt:2: ads.acme.example blocks ads.acme.example, to which a.time.acme.example leads (aliases.tsv:1), which is essential (acme.txt:6)"},
		{"a circle", "a.example\tb.example" + seen + "b.example\tc.example" + seen + "c.example\ta.example" + seen,
			"aliases.tsv:3: c.example: leads to itself by way of a.example: one of the steps was seen at another time, remove it"},
		{"an alias of itself", "a.example\ta.example" + seen, "aliases.tsv:1: a.example: leads to itself"},
		{"no source", "a.example\tb.example\tnobody\t2026-05-16\n", "aliases.tsv:1: a.example: the source nobody is not in alias-sources.tsv"},
		{"no date", "a.example\tb.example\tseen\t2026\n", "aliases.tsv:1: a.example: 2026 is no date"},
		{"no name", "A.example\tb.example" + seen, "aliases.tsv:1: A.example: write both names in lower case"},
	} {
		files := withSources("acme.txt", list)
		files[aliasesFile] = &fstest.MapFile{Data: []byte(c.text)}
		files[aliasSourcesFile] = &fstest.MapFile{Data: []byte("seen\t2026-05-16\tlab\t\thttps://lab.example/pcap\n")}
		problems, err := Check(files)
		if err != nil {
			t.Fatal(err)
		}
		if c.want == "" && len(problems) > 0 || c.want != "" && (len(problems) == 0 || !strings.HasPrefix(problems[0].String(), c.want)) {
			t.Errorf("%s: got %v, want %q", c.what, problems, c.want)
		}
	}
}

// Half of what lists that did not feed the catalogue block below the domains of the
// largest makers has a rule. The vendors in the table are those of the domains, by
// the catalogue itself.
func TestCoverageOfUnseenNames(t *testing.T) {
	c := load(t)
	type count struct{ names, rule int }
	counts, all := map[string]*count{}, count{}
	for _, row := range notedRows(t, "unseen.tsv", 2, 2) {
		name, vendor := row[0], row[1]
		n := counts[vendor]
		if n == nil {
			n = &count{}
			counts[vendor] = n
		}
		n.names++
		all.names++
		for _, e := range c.Name(name) {
			if e.Vendor != vendor {
				t.Errorf("%s is %s's at %s:%d, want %s's", name, e.Vendor, e.File, e.Line, vendor)
			}
			if e.Tier != "owner" {
				n.rule++
				all.rule++
			}
			break
		}
	}
	table(t, "vendor\tunseen names\twith a purpose", func(w io.Writer) {
		for _, vendor := range slices.Sorted(maps.Keys(counts)) {
			n := counts[vendor]
			fmt.Fprintf(w, "%s\t%d\t%s\n", vendor, n.names, share(n.rule, n.names))
		}
		fmt.Fprintf(w, "all\t%d\t%s\n", all.names, share(all.rule, all.names))
	})
	if 2*all.rule < all.names {
		t.Errorf("%d of %d unseen names have a purpose, want half", all.rule, all.names)
	}
}
