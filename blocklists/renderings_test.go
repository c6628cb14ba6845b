package blocklists

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"telltale/blocklists/format"
	"telltale/dnswire"
)

// corpusDir is where real lists are, or the test is skipped.
func corpusDir(t testing.TB) string {
	t.Helper()
	dir := os.Getenv("TELLTALE_CORPUS")
	if dir == "" {
		t.Skip("skipped: TELLTALE_CORPUS names no corpus of real lists")
	}
	return dir
}

// unpacked returns the text of a file of the corpus, packed or not.
func unpacked(t testing.TB, path string) []byte {
	t.Helper()
	f, err := os.Open(path)
	if os.IsNotExist(err) {
		f, err = os.Open(path + ".xz")
	}
	check(t, err)
	defer f.Close()
	r, err := format.Open(f)
	check(t, err)
	var b bytes.Buffer
	_, err = b.ReadFrom(r)
	check(t, err)
	return b.Bytes()
}

// A nameSet is the slow obvious matcher that policies are held against: names as
// text, compared one by one from the question up to the root.
type nameSet map[string]bool

// namesOf reads a list of one name a line, with or without "*." before it.
func namesOf(t testing.TB, path string) nameSet {
	set := nameSet{}
	for _, line := range strings.Split(string(unpacked(t, path)), "\n") {
		if line, _, _ = strings.Cut(line, "#"); strings.TrimSpace(line) != "" {
			set[strings.TrimPrefix(strings.ToLower(strings.TrimSpace(line)), "*.")] = true
		}
	}
	return set
}

// alone reports whether a name is listed.
func (s nameSet) alone(name string) bool { return s[name] }

// below reports whether a name, or one above it, is listed.
func (s nameSet) below(name string) bool {
	for ok := true; ok; _, name, ok = strings.Cut(name, ".") {
		if s[name] {
			return true
		}
	}
	return false
}

// questions returns names of which a list should say something: some that are
// listed, names below and beside them, and their parents.
func (s nameSet) questions(most int) []string {
	asked := nameSet{}
	for name := range s {
		if len(asked) >= 8*most {
			break
		}
		_, parent, _ := strings.Cut(name, ".")
		for _, q := range []string{
			name, "made-up." + name, "a.b.c." + name, "not" + name, "x-" + name, name[1:],
			parent, "beside." + parent, name + ".example", strings.Replace(name, ".", "-", 1),
		} {
			if _, err := dnswire.ParseName(q); err == nil {
				asked[strings.TrimPrefix(q, ".")] = true
			}
		}
	}
	var all []string
	for q := range asked {
		all = append(all, q)
	}
	return all
}

// A rendering is a file of the corpus and what its author means by its names.
type rendering struct {
	file  string
	means func(name string) bool
}

// decides holds the verdicts of a policy with this one list against what its
// author means, and the line of each deciding rule against the name.
func (r *rendering) decides(t *testing.T, questions []string) {
	t.Helper()
	text := unpacked(t, filepath.Join(corpusDir(t), r.file))
	dir := t.TempDir()
	write(t, filepath.Join(dir, "list.txt"), string(text))
	// Public suffixes are held back unless asked for: then all is in force.
	s := openStoreT(t, Options{Dir: dir, CacheDir: t.TempDir(), Poll: -1, Lists: []ListSettings{{Name: "list", Suffixes: true}}})
	defer s.Close()
	if bad := s.of(t, "list").BadSeen; bad != 0 {
		t.Errorf("%s: %d bad lines: %v", r.file, bad, s.of(t, "list").Bad[:1])
	}
	p, lines := s.Current(), strings.Split(string(text), "\n")
	blocked := 0
	for _, q := range questions {
		v := p.Decide(name(t, q), dnswire.TypeA, 0)
		got, want := v.Action == Block, r.means(q)
		if got != want {
			t.Fatalf("%s: blocks %s: got %v, want %v", r.file, q, got, want)
		}
		if !got {
			continue
		}
		blocked++
		if line := lines[p.Rule(v.Rule).Line-1]; !isOf(line, q) {
			t.Fatalf("%s: %s is blocked by line %d, which says %q", r.file, q, p.Rule(v.Rule).Line, line)
		}
	}
	t.Logf("%s: %d of %d blocked", r.file, blocked, len(questions))
}

// isOf reports whether a line has a name, or one above it.
func isOf(line, name string) bool {
	words := nameSet{}
	for _, word := range strings.FieldsFunc(strings.ToLower(line), func(c rune) bool { return strings.ContainsRune(" \t\r/\"|^=", c) }) {
		words[strings.Trim(word, "*.")] = true
	}
	return words.below(name)
}

// TestSameListDecidesTheSame asks policies of one list in each of its renderings:
// listed names, made-up ones below, beside and above them.
func TestSameListDecidesTheSame(t *testing.T) {
	dir := corpusDir(t)
	most := 300 // names of each list that questions are made of
	if raced {
		most = 50
	}
	of := func(file string) nameSet { return namesOf(t, filepath.Join(dir, file)) }
	all := []string{"wildcard-onlydomains", "adblock", "dnsmasq", "wildcard", "rpz", "domains", "hosts", "hosts-compressed"}
	native := func(set, file string) {
		base, expanded := of(set+"/wildcard-onlydomains/"+file), of(set+"/domains/"+file)
		questions := append(base.questions(most), expanded.questions(most)...)
		for _, r := range all {
			means := base.below
			if strings.HasPrefix(r, "hosts") {
				means = expanded.alone // as hosts files mean it
			}
			(&rendering{set + "/" + r + "/" + file, means}).decides(t, questions)
		}
	}
	for _, vendor := range []string{"amazon", "apple", "lgwebos", "oppo-realme", "roku", "tiktok", "tiktok.extended", "vivo", "winoffice", "xiaomi"} {
		native("hagezi-native", "native."+vendor+".txt")
	}
	native("hagezi-doh", "doh.txt")
	if raced {
		t.Log("lists of 70,000 names and more are left to a run without the race detector")
		return
	}
	large := func(set string, files ...string) {
		base := of(set + "/" + files[0])
		questions := base.questions(most)
		for _, file := range files {
			means := base.below
			if strings.HasSuffix(file, "hosts.txt") {
				means = base.alone
			}
			(&rendering{set + "/" + file, means}).decides(t, questions)
		}
	}
	large("large/ultimate.mini", "wildcard-onlydomains.txt", "adblock.txt", "dnsmasq.txt", "rpz.txt", "wildcard.txt")
	large("large/pro", "wildcard.txt", "adblock.txt")
	large("large/pro.plus", "wildcard-onlydomains.txt", "wildcard.txt", "derived/adblock.txt", "derived/dnsmasq.conf",
		"derived/hosts.txt", "derived/rpz.zone", "derived/unbound.conf")
}
