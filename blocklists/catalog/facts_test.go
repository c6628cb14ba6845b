package catalog

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"

	"github.com/ulikunitz/xz"
	"golang.org/x/net/publicsuffix"
)

// What the outside says: the facts gathered from public documents and lists, and
// lists of others, which are no part of this project. The tests below hold the
// catalogue against them where they are at hand.

// A fact is a row of facts/catalog.tsv.
type fact struct {
	name, vendor, purpose string
	exact                 bool
	advice                string // block, block-optional, never-block
}

// outside returns the folder of the lists of others and the facts; it skips the
// test where they are not at hand.
func outside(t *testing.T) (corpus string, facts []fact, keep []string) {
	t.Helper()
	corpus = os.Getenv("TELLTALE_CORPUS")
	if corpus == "" {
		t.Skip("TELLTALE_CORPUS is not set: nothing to hold the catalogue against")
	}
	dir := filepath.Join(corpus, "..", "facts")
	if _, err := os.Stat(filepath.Join(dir, "catalog.tsv")); err != nil {
		t.Skipf("no facts beside TELLTALE_CORPUS: %v", err)
	}
	for _, row := range rows(t, filepath.Join(dir, "catalog.tsv"), 7) {
		facts = append(facts, fact{name: row[0], vendor: row[1], purpose: row[3], exact: row[4] == "exact", advice: row[5]})
	}
	for _, row := range rows(t, filepath.Join(dir, "overrides.tsv"), 3) {
		keep = append(keep, row[0])
	}
	return corpus, facts, keep
}

// rows reads a table of tab-separated values without its head.
func rows(t *testing.T, file string, columns int) (rows [][]string) {
	t.Helper()
	for _, line := range lines(t, file)[1:] {
		row := strings.Split(line, "\t")
		if len(row) != columns {
			t.Fatalf("%s: a row of %d columns: %q", file, len(row), line)
		}
		rows = append(rows, row)
	}
	return rows
}

func lines(t *testing.T, file string) (lines []string) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var r io.Reader = f
	if strings.HasSuffix(file, ".xz") {
		if r, err = xz.NewReader(bufio.NewReader(f)); err != nil {
			t.Fatal(err)
		}
	}
	for s := bufio.NewScanner(r); s.Scan(); {
		lines = append(lines, s.Text())
	}
	return lines
}

// names reads a list of plain domains.
func names(t *testing.T, file string) (names []string) {
	for _, line := range lines(t, file) {
		name, _, _ := strings.Cut(line, "#")
		if name = strings.TrimSpace(name); name != "" {
			names = append(names, name)
		}
	}
	return names
}

// breaking reports whether the entry nearest to a name is mixed because a source
// says what stops working without it, or the vendor names it for something that
// people use: such a name is observed on purpose, whatever a list advises.
func breaking(c *Catalog, name string) bool {
	for _, e := range c.Name(name) {
		if e.Tier == "owner" {
			continue
		}
		return e.Tier == "mixed" && slices.ContainsFunc(e.Claims, func(cl Claim) bool {
			return cl.Kind == StatesBreakage || cl.Kind == VendorDocuments
		})
	}
	return false
}

// listed returns the entry that blocks a name at tier mixed, nil for none.
func listed(c *Catalog, name string) *Entry {
	for _, e := range c.Name(name) {
		if e.listed {
			return &e
		}
	}
	return nil
}

// deviceVendors are the twelve makers of devices with the most rows to block.
var deviceVendors = []string{
	"Microsoft", "Amazon", "OPPO/realme/OnePlus", "Samsung", "Xiaomi", "Google", "LG", "vivo", "Huawei", "Apple", "Roku", "Hisense",
}

func TestCoverageOfTheFacts(t *testing.T) {
	_, facts, _ := outside(t)
	c := load(t)
	type count struct{ rows, blocked, breaking, known int }
	counts := map[string]*count{}
	for _, f := range facts {
		if f.advice != "block" {
			continue
		}
		n := counts[f.vendor]
		if n == nil {
			n = &count{}
			counts[f.vendor] = n
		}
		n.rows++
		if c.blocker(f.name) != nil {
			n.blocked++
		} else if breaking(c, f.name) {
			n.breaking++
		}
		if len(c.Name(f.name)) > 0 {
			n.known++
		}
	}
	vendors := make([]string, 0, len(counts))
	for v := range counts {
		vendors = append(vendors, v)
	}
	slices.SortFunc(vendors, func(a, b string) int {
		if d := counts[b].rows - counts[a].rows; d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
	table(t, "vendor\trows to block\tblocked by default\tobserved, as a source says what breaks\tknown", func(w io.Writer) {
		for _, v := range vendors {
			if n := counts[v]; n.rows >= 10 || slices.Contains(deviceVendors, v) {
				fmt.Fprintf(w, "%s\t%d\t%s\t%d\t%s\n", v, n.rows, share(n.blocked, n.rows), n.breaking, share(n.known, n.rows))
			}
		}
	})
	for _, v := range deviceVendors {
		if n := counts[v]; n == nil || 2*(n.blocked+n.breaking) < n.rows {
			t.Errorf("%s: %v: want at least half of the rows blocked, or observed because a source says what breaks", v, n)
		}
	}
}

// ofLists says whose names a list has. A name under the shared domain of a cloud
// is its customer's: the customers that the catalogue knows are right too.
var ofLists = []struct {
	list    string
	vendors []string
}{
	{"amazon", []string{"Amazon"}},
	{"apple", []string{"Apple"}},
	{"lgwebos", []string{"LG"}},
	{"oppo-realme", []string{"OPPO"}},
	{"roku", []string{"Roku"}},
	{"tiktok", []string{"ByteDance"}},
	{"tiktok.extended", []string{"ByteDance"}},
	{"vivo", []string{"vivo"}},
	{"winoffice", []string{"Microsoft", "Citrix", "Qlik", "SimPad", "LLEAP", "TenMax", "FlightView"}},
	{"xiaomi", []string{"Xiaomi"}},
}

func TestAttributionOfListsOfOthers(t *testing.T) {
	corpus, _, _ := outside(t)
	c := load(t)
	table(t, "hagezi-native\tnames\tright vendor\tby rule\tby owner\twrong\tunknown", func(w io.Writer) {
		for _, l := range ofLists {
			all := names(t, filepath.Join(corpus, "hagezi-native", "wildcard-onlydomains", "native."+l.list+".txt"))
			rule, owner, wrong := 0, 0, 0
			for _, name := range all {
				found := c.Name(name)
				switch {
				case len(found) == 0:
				case !slices.Contains(l.vendors, found[0].Vendor):
					wrong++
					t.Logf("%s: %s is %s's at %s:%d", l.list, name, found[0].Vendor, found[0].File, found[0].Line)
				case found[0].Tier == "owner":
					owner++
				default:
					rule++
				}
			}
			n := len(all)
			fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t%d\t%d\n", l.list, n, share(rule+owner, n), share(rule, n), share(owner, n), wrong, n-rule-owner-wrong)
			if n == 0 || (rule+owner)*100 < 90*n {
				t.Errorf("%s: %d of %d names have the right vendor, want 90 %%", l.list, rule+owner, n)
			}
		}
	})
}

func TestCoverageOfNextdnsNative(t *testing.T) {
	corpus, _, _ := outside(t)
	c := load(t)
	files, err := os.ReadDir(filepath.Join(corpus, "nextdns-native"))
	if err != nil {
		t.Fatal(err)
	}
	all, hit := 0, 0
	table(t, "nextdns-native\tnames\tblocked by default, or observed as a source says what breaks\tneither", func(w io.Writer) {
		for _, f := range files {
			var missed []string
			list := names(t, filepath.Join(corpus, "nextdns-native", f.Name()))
			for _, name := range list {
				if c.blocker(name) == nil && !breaking(c, name) {
					missed = append(missed, name)
				}
			}
			all += len(list)
			hit += len(list) - len(missed)
			fmt.Fprintf(w, "%s\t%d\t%s\t%s\n", f.Name(), len(list), share(len(list)-len(missed), len(list)), strings.Join(missed, " "))
		}
		fmt.Fprintf(w, "all\t%d\t%s\t\n", all, share(hit, all))
	})
	if hit*100 < 85*all {
		t.Errorf("%d of %d names are blocked by default, or observed because a source says what breaks, want 85 %%", hit, all)
	}
}

// A name that must stay reachable binds itself; of the names below it only those
// for which no row closer to them says block. Rows of ownership say nothing of it.
func TestNothingThatMustStayReachableIsBlocked(t *testing.T) {
	_, facts, keep := outside(t)
	c := load(t)
	never, block := map[string]bool{}, map[string]bool{} // of never: whether what is below is bound too
	for _, f := range facts {
		switch {
		case f.purpose == "vendor-domain":
		case f.advice == "never-block":
			never[f.name] = !f.exact
		case f.advice == "block":
			block[f.name] = true
		}
	}
	for _, name := range keep {
		never[name] = false
	}
	for name := range never {
		if e := listed(c, name); e != nil {
			t.Errorf("%s:%d: %s blocks %s, which must stay reachable", e.File, e.Line, e, name)
		}
	}
	for _, e := range c.Entries() {
		if !e.listed {
			continue
		}
		for at, said := e.Name, false; at != ""; _, at, _ = strings.Cut(at, ".") {
			if never[at] && at != e.Name && !said {
				t.Errorf("%s:%d: %s is below %s, which must stay reachable", e.File, e.Line, &e, at)
			}
			said = said || block[at]
		}
	}
}

// The owner of a domain is not asked for what others host under it.
func TestNoOwnerHoldsADomainThatOthersShare(t *testing.T) {
	for _, e := range load(t).Entries() {
		if e.Tier != "owner" {
			continue
		}
		if suffix, icann := publicsuffix.PublicSuffix("customer." + e.Name); suffix == e.Name {
			t.Errorf("%s:%d: %s is a suffix of many owners (icann: %v)", e.File, e.Line, &e, icann)
		}
	}
}

func table(t *testing.T, head string, fill func(w io.Writer)) {
	t.Helper()
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, head)
	fill(w)
	w.Flush()
	t.Logf("\n%s", b.String())
}

func share(n, of int) string {
	if of == 0 {
		return "-"
	}
	return fmt.Sprintf("%d (%.1f %%)", n, 100*float64(n)/float64(of))
}

// A link to a list says that the name stands there: itself, a name above it, or
// one below it.
func TestCitedListsHaveTheName(t *testing.T) {
	corpus, _, _ := outside(t)
	lists := citable(t, corpus)
	texts := map[string]map[string]bool{}
	checked := 0
	for _, e := range load(t).Entries() {
		for _, source := range e.Sources() {
			file, ok := lists[source]
			if !ok {
				continue
			}
			if texts[file] == nil {
				texts[file] = words(t, file)
			}
			checked++
			if !cited(texts[file], e.Name) {
				t.Errorf("%s:%d: %s does not stand in %s", e.File, e.Line, &e, source)
			}
		}
	}
	if checked == 0 {
		t.Error("no source could be looked at")
	}
	t.Logf("%d citations of %d lists looked up", checked, len(texts))
}

// citable returns the files of the corpus by the addresses of the files that they
// are copies of, as the table in its README says.
func citable(t *testing.T, corpus string) map[string]string {
	t.Helper()
	lists := map[string]string{}
	for _, line := range lines(t, filepath.Join(corpus, "README.md")) {
		cell := strings.Split(line, "|")
		if len(cell) < 6 || strings.Contains(line, "regex.list") {
			continue
		}
		repo, _, _ := strings.Cut(strings.TrimSpace(cell[2]), " ")
		commit, _, _ := strings.Cut(strings.TrimSpace(cell[4]), " ")
		if strings.Count(repo, "/") != 1 || len(commit) != 40 {
			continue
		}
		lists["https://github.com/"+repo+"/blob/"+commit+"/"+strings.TrimSpace(cell[3])] = filepath.Join(corpus, strings.TrimSpace(cell[1]))
	}
	return lists
}

// words returns what looks like names in a file, and the domains above them.
func words(t *testing.T, file string) map[string]bool {
	t.Helper()
	all := map[string]bool{}
	for _, line := range lines(t, file) {
		for _, word := range strings.FieldsFunc(strings.ToLower(line), func(r rune) bool {
			return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '.' && r != '-' && r != '_'
		}) {
			all[word] = true // the name itself
			for _, at, ok := strings.Cut(word, "."); ok && !all["."+at]; _, at, ok = strings.Cut(at, ".") {
				all["."+at] = true // something stands below it
			}
		}
	}
	return all
}

func cited(words map[string]bool, name string) bool {
	if words["."+name] {
		return true
	}
	for at := name; strings.Contains(at, "."); _, at, _ = strings.Cut(at, ".") {
		if words[at] {
			return true
		}
	}
	return false
}
