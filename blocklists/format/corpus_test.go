package format

import (
	"bufio"
	"bytes"
	"hash/maphash"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"telltale/dnswire"
)

// corpus opens a file of the corpus of real lists, or skips.
func corpus(t testing.TB, name string) []byte {
	t.Helper()
	dir := os.Getenv("TELLTALE_CORPUS")
	if dir == "" {
		t.Skip("skipped: TELLTALE_CORPUS names no corpus of real lists")
	}
	for _, end := range []string{"", ".xz"} {
		f, err := os.Open(filepath.Join(dir, name+end))
		if err != nil {
			continue
		}
		defer f.Close()
		r, err := Open(f)
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if _, err := b.ReadFrom(r); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	t.Fatalf("%s is not in the corpus", name)
	return nil
}

// names parses a list into the names it blocks, by how it matches them.
func names(t testing.TB, text []byte, o Options) (map[Match]map[string]bool, Report) {
	t.Helper()
	all := map[Match]map[string]bool{Subtree: {}, Exact: {}, Below: {}}
	report := Parse(bytes.NewReader(text), o, func(r *Rule) {
		if r.Action == Block && r.Name != nil {
			all[r.Match][string(dnswire.AppendText(nil, r.Name))] = true
		}
	})
	return all, report
}

// TestRenderings reads one list in each of its renderings and finds the same
// names.
func TestRenderings(t *testing.T) {
	corpus(t, "hagezi-native/adblock/native.roku.txt")
	for _, list := range []string{"amazon", "apple", "lgwebos", "oppo-realme", "roku", "tiktok", "tiktok.extended", "vivo", "winoffice", "xiaomi"} {
		file := "/native." + list + ".txt"
		base, _ := names(t, corpus(t, "hagezi-native/wildcard-onlydomains"+file), Options{})
		want := base[Subtree]
		for _, rendering := range []string{"adblock", "dnsmasq", "wildcard", "rpz", "wildcard-onlydomains", "domains", "hosts", "hosts-compressed"} {
			got, report := names(t, corpus(t, "hagezi-native/"+rendering+file), Options{})
			if report.BadTotal != 0 {
				t.Errorf("%s%s: bad lines %v", rendering, file, report.Bad)
			}
			switch rendering {
			case "domains", "hosts", "hosts-compressed":
				found := got[Subtree]
				if rendering != "domains" {
					found = got[Exact]
				}
				for name := range want {
					if !found[name] {
						t.Errorf("%s%s lacks %s", rendering, file, name)
					}
				}
				for name := range found {
					if !below(name, want) {
						t.Errorf("%s%s: %s lies outside the list", rendering, file, name)
					}
				}
			case "rpz":
				same(t, rendering+file+" exact", got[Exact], want)
				same(t, rendering+file+" below", got[Below], want)
			default:
				same(t, rendering+file, got[Subtree], want)
			}
		}
	}
}

func below(name string, names map[string]bool) bool {
	for {
		if names[name] {
			return true
		}
		_, parent, ok := strings.Cut(name, ".")
		if !ok {
			return false
		}
		name = parent
	}
}

func same(t *testing.T, what string, got, want map[string]bool) {
	t.Helper()
	for name := range want {
		if !got[name] {
			t.Errorf("%s lacks %s", what, name)
		}
	}
	for name := range got {
		if !want[name] {
			t.Errorf("%s has %s", what, name)
		}
	}
}

// TestCorpus reads every list of the corpus and holds the number of lines it
// cannot read against what the list really contains.
func TestCorpus(t *testing.T) {
	dir := os.Getenv("TELLTALE_CORPUS")
	if dir == "" {
		t.Skip("skipped: TELLTALE_CORPUS names no corpus of real lists")
	}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(path, "README.md") {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		if info, err := d.Info(); raced && err == nil && info.Size() > 256<<10 {
			t.Logf("%-50s skipped: with the race detector it would take too long", name)
			return nil
		}
		text := corpus(t, strings.TrimSuffix(name, ".xz"))
		o := Options{}
		if strings.Contains(name, "regex") {
			o.Format = "regex"
		}
		fast := digest(text, o)
		o.general = true
		if slow := digest(text, o); fast != slow {
			t.Errorf("%s: the fast path reads other rules than the general path", name)
		}
		report := Parse(bytes.NewReader(text), o, func(*Rule) {})
		t.Logf("%-50s rules %7d bad %6d declared %d %v %v", name, report.Rules, report.BadTotal, report.Declared, report.Forms, report.Reasons)
		if testing.Verbose() {
			for i, b := range report.Bad {
				if i < 4 {
					t.Logf("    %v | %s", b, b.Text)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// digest is one number for all rules of a list, however many.
func digest(text []byte, o Options) uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	b := bufio.NewWriter(&h)
	Parse(bytes.NewReader(text), o, func(r *Rule) {
		if r.Extra != nil || r.Annotation != nil || r.Regex != "" {
			writeRule(b, r)
			return
		}
		head := [...]byte{byte(r.Form), byte(r.Match), byte(r.Action), byte(len(r.Name)), byte(r.Line), byte(r.Line >> 8), byte(r.Line >> 16)}
		b.Write(head[:])
		b.Write(r.Name)
		if r.Important {
			b.WriteByte(1)
		}
	})
	b.Flush()
	return h.Sum64()
}

var seed = maphash.MakeSeed()

// list writes a list's rules out, for comparison.
func list(text []byte, o Options) string {
	var b strings.Builder
	Parse(bytes.NewReader(text), o, func(r *Rule) { writeRule(&b, r) })
	return b.String()
}
