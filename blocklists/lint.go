package blocklists

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/cespare/xxhash/v2"

	"telltale/blocklists/format"
	"telltale/blocklists/matcher"
	"telltale/blocklists/suffixes"
	"telltale/dnswire"
)

// A FindingKind is what is odd about a rule.
type FindingKind string

const (
	Redundant     FindingKind = "redundant"      // another rule matches all that it matches, to the same end
	Shadowed      FindingKind = "shadowed"       // an exception takes all that it matches
	DeadException FindingKind = "dead exception" // nothing is blocked that it would allow
	Risky         FindingKind = "risky"          // it blocks more than its author may think
)

// A Finding is a rule that its author may want to look at.
type Finding struct {
	Line int         `json:"line"`
	Text string      `json:"text"`
	Kind FindingKind `json:"kind"`
	Why  string      `json:"why"`
}

// A LintReport is what Lint has to say of one file.
type LintReport struct {
	Path     string              `json:"path"`
	List     string              `json:"list,omitempty"`   // by whose settings it was read; "" for those of no list
	Failed   string              `json:"failed,omitempty"` // why it cannot be read; nothing else is said then
	Rules    int                 `json:"rules"`
	ByForm   map[string]int      `json:"forms"`
	Missing  int                 `json:"missing,omitempty"` // entries that it says it has, and has not
	Bad      []BadLine           `json:"bad"`               // the first of them
	BadSeen  int                 `json:"bad_lines"`
	Findings []Finding           `json:"findings"` // the first maxFindings
	Seen     map[FindingKind]int `json:"seen"`     // all of them
}

const maxFindings = 1000

// A LintFile is a file that Lint is to look over, and how it is read.
type LintFile struct {
	Path     string
	Kind     Kind
	Settings ListSettings // named, where they are those of a list
}

// FileOf returns how a file is read: by the settings of the list that it belongs
// to, or else as a list that has those given.
func (o *Options) FileOf(path string, settings ListSettings) LintFile {
	f := LintFile{Path: path, Kind: UserList, Settings: settings}
	if filepath.Base(path) == ownFile {
		f.Kind = OwnList
	}
	info, err := os.Stat(path)
	if err != nil {
		return f
	}
	s := &Store{opts: *o}
	s.opts.Shipped = nil
	if s.scanLocked() != nil {
		return f
	}
	for _, src := range s.sources {
		if is, err := os.Stat(src.path); err == nil && os.SameFile(info, is) {
			f.Kind, f.Settings = src.kind, src.settings
			f.Settings.Name = src.name
		}
	}
	return f
}

// Lint reads list files as one set of lists, and says what is wrong with their
// lines and odd about their rules. Shipped has the shipped lists, which know what
// must not be blocked; nil for none. It ends early with the error of ctx.
func Lint(ctx context.Context, files []LintFile, shipped fs.FS) ([]LintReport, error) {
	l := &linter{ctx: ctx, reports: make([]LintReport, len(files)), often: map[string][]matcher.Hit{}}
	for i := range files {
		l.reports[i] = LintReport{
			Path: files[i].Path, List: files[i].Settings.Name, ByForm: map[string]int{}, Bad: []BadLine{}, Findings: []Finding{},
			Seen: map[FindingKind]int{},
		}
		if err := l.read(&files[i], &l.reports[i]); err != nil {
			l.reports[i].Failed = err.Error()
		}
	}
	if err := l.index(); err != nil {
		return nil, err
	}
	if err := l.collect(); err != nil {
		return nil, err
	}
	for i := range l.files {
		if err := l.check(i); err != nil {
			return nil, err
		}
	}
	return l.reports, l.checkEssential(shipped)
}

type linter struct {
	ctx     context.Context
	reports []LintReport
	files   []lintFile
	names   *matcher.Set
	hits    []matcher.Hit            // of the name looked at last
	often   map[string][]matcher.Hit // of names with more than mostHits
	parents map[uint64]bool          // hashes of all names above a blocked one
	blocks  int
	checked int
}

type lintFile struct {
	report *LintReport
	kind   Kind
	set    *ruleSet
	first  RuleID
}

func (l *linter) read(file *LintFile, r *LintReport) error {
	f, _, err := openList(file.Path)
	if err != nil {
		return err
	}
	defer f.Close()
	s := &file.Settings
	got, err := readList(f, s.formatOptions(listName(filepath.Base(file.Path)), file.Kind), s.Suffixes, nil, stamp{})
	if err != nil {
		return err
	}
	r.Rules, r.Missing, r.BadSeen = got.set.Rules, got.missing, got.set.BadSeen
	r.Bad = append(r.Bad, got.set.Bad...)
	for form, n := range got.set.Forms {
		r.ByForm[form.String()] += n
	}
	l.files = append(l.files, lintFile{report: r, kind: file.Kind, set: got.set})
	return nil
}

// index places the names of all files. What a file says of a name again and again
// is in it once, the first time: of a million equal lines each would else be
// compared with each.
func (l *linter) index() error {
	b := matcher.NewBuilder(matcher.Options{})
	defer b.Close()
	next := firstRuleID
	for i := range l.files {
		f := &l.files[i]
		f.first, next = next, next+RuleID(f.set.records)
		if err := f.addTo(b); err != nil {
			return err
		}
	}
	image, err := b.Build()
	if err != nil {
		return err
	}
	l.names, err = matcher.NewSet(matcher.Layers{Base: image})
	return err
}

func (f *lintFile) addTo(b *matcher.Builder) error {
	type plain struct {
		hash uint64
		kind kind
	}
	seen := map[plain]bool{}
	return f.set.each(func(r record) error {
		if len(r.name) == 0 {
			return nil
		}
		if k := (plain{xxhash.Sum64(r.name), r.kind}); r.kind != notPlain {
			if seen[k] {
				return nil
			}
			seen[k] = true
		}
		return b.Add(r.name, matcher.Payload(f.first+RuleID(r.rule))<<kindBits|matcher.Payload(r.kind))
	})
}

// fileOf returns the file that has a rule; nil for none.
func (l *linter) fileOf(id RuleID) *lintFile {
	for i := range l.files {
		if f := &l.files[i]; id >= f.first && id < f.first+RuleID(f.set.records) {
			return f
		}
	}
	return nil
}

// mostHits is with how many rules for a name a rule is compared. Only a file that
// repeats itself under conditions has more.
const mostHits = 200

// lookup returns the rules with a name or one above it, until the next call.
func (l *linter) lookup(name *dnswire.Name) []matcher.Hit {
	if hits, ok := l.often[string(name.Wire())]; ok {
		return hits
	}
	l.hits = l.names.Lookup(name, l.hits[:0])
	if len(l.hits) <= mostHits {
		return l.hits
	}
	hits := slices.Clone(l.hits[:mostHits])
	if len(l.often) < mostHits {
		l.often[string(name.Wire())] = hits
	}
	return hits
}

// collect notes below which names something is blocked.
func (l *linter) collect() error {
	l.parents = map[uint64]bool{}
	var name dnswire.Name
	for _, f := range l.files {
		err := f.set.each(func(r record) error {
			d := f.set.detailOf(&r)
			if len(r.name) == 0 || d.action != format.Block && d.action != format.Answer {
				return nil
			}
			l.blocks++
			if _, err := name.Read(r.name, 0); err != nil {
				return nil
			}
			for k := range name.Labels() {
				l.parents[xxhash.Sum64(name.Suffix(k))] = true
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// check looks at each rule of a file beside all rules.
func (l *linter) check(at int) error {
	f := &l.files[at]
	var name dnswire.Name
	return f.set.each(func(r record) error {
		if l.checked%1024 == 0 && l.ctx.Err() != nil {
			return l.ctx.Err()
		}
		l.checked++
		d := f.set.detailOf(&r)
		if d.synthetic {
			return nil
		}
		if len(r.name) == 0 {
			l.checkPattern(f, &r, d)
			return nil
		}
		if _, err := name.Read(r.name, 0); err != nil {
			return nil
		}
		switch d.action {
		case format.Block:
			l.checkBlock(f, &r, d, &name)
		case format.Allow:
			l.checkAllow(f, &r, d, &name)
		}
		return nil
	})
}

func (l *linter) find(f *lintFile, r *record, d detail, kind FindingKind, why string) {
	f.report.Seen[kind]++
	if len(f.report.Findings) < maxFindings {
		f.report.Findings = append(f.report.Findings, Finding{Line: r.line, Text: f.set.text(r, d), Kind: kind, Why: why})
	}
}

func (l *linter) checkBlock(f *lintFile, r *record, d detail, name *dnswire.Name) {
	if d.match != format.Exact && suffixes.Is(r.name) {
		l.find(f, r, d, Risky, "blocks a public suffix: all names under it belong to others")
	} else if name.Labels() == 1 && d.match != format.Exact {
		l.find(f, r, d, Risky, "blocks a whole top-level domain")
	}
	if other, where := l.covering(f, r, d, name, format.Block); other != nil {
		l.find(f, r, d, Redundant, "matches nothing that "+where+" does not")
		return
	}
	if d.important {
		return
	}
	if other, where := l.covering(f, r, d, name, format.Allow); other != nil {
		l.find(f, r, d, Shadowed, "never blocks, because of the exception of "+where)
	}
}

func (l *linter) checkAllow(f *lintFile, r *record, d detail, name *dnswire.Name) {
	if other, where := l.covering(f, r, d, name, format.Allow); other != nil {
		l.find(f, r, d, Redundant, "matches nothing that "+where+" does not")
		return
	}
	if l.blocks == 0 || len(l.patterns()) > 0 {
		return // an allow list by itself, or what it allows cannot be told
	}
	if d.match != format.Exact && l.parents[xxhash.Sum64(r.name)] {
		return
	}
	for _, h := range l.lookup(name) {
		if _, od := l.rule(h); od.action == format.Block || od.action == format.Answer {
			return
		}
	}
	l.find(f, r, d, DeadException, "nothing in these files blocks what it allows")
}

// patterns returns the first patterns there are.
func (l *linter) patterns() []patternRule {
	for _, f := range l.files {
		if len(f.set.Patterns) > 0 {
			return f.set.Patterns
		}
	}
	return nil
}

// rule returns the rule that a lookup has found.
func (l *linter) rule(h matcher.Hit) (*lintFile, detail) {
	id := RuleID(h.Payload >> kindBits)
	f := l.fileOf(id)
	if f == nil {
		return nil, detail{action: format.Known}
	}
	rule := uint32(id - f.first)
	if d, ok := f.set.detail(rule); ok {
		return f, d
	}
	k := kind(h.Payload & kindMask)
	d := k.detail(rule, format.Domain)
	if k == allowScoped {
		d.form = format.Dnsmasq // or another one whose exceptions are scoped
	}
	return f, d
}

// covering returns another rule with the given action, and where it stands, that
// matches all that this one does: a name above it with its subtree, or the same
// name on an earlier line.
func (l *linter) covering(f *lintFile, r *record, d detail, name *dnswire.Name, action format.Action) (*detail, string) {
	if d.extra != 0 && action == d.action {
		return nil, "" // it has conditions, or an answer, of its own
	}
	for _, h := range l.lookup(name) {
		id := RuleID(h.Payload >> kindBits)
		if id == f.first+RuleID(r.rule) {
			continue
		}
		of, od := l.rule(h)
		if of == nil || od.action != action || od.extra != 0 || od.important != d.important && !od.important {
			continue
		}
		if (f.kind == OwnList || isScoped(d.form)) && (of != f || int(h.Labels) != name.Labels()) {
			continue // there the more specific rule decides, so it is never idle
		}
		if action == format.Allow && d.action == format.Block && (od.important || isScoped(od.form)) {
			continue
		}
		if !covers(od, d, int(h.Labels) == name.Labels(), id < f.first+RuleID(r.rule) || action != d.action) {
			continue
		}
		return &od, l.place(f, of, od.rule)
	}
	return nil, ""
}

// covers reports whether a rule of the same name, or of one above, matches all
// that another one does. Of two that are equal, only the earlier one does.
func covers(od, d detail, same, earlier bool) bool {
	if !same {
		return od.match == format.Subtree || od.match == format.Below
	}
	switch {
	case od.match == d.match:
		return earlier
	case od.match == format.Subtree:
		return true
	}
	return false
}

func (l *linter) place(f, of *lintFile, rule uint32) string {
	rec, err := of.set.record(rule)
	if err != nil {
		return "another rule"
	}
	if of == f {
		return fmt.Sprintf("line %d", rec.line)
	}
	return fmt.Sprintf("%s:%d", of.report.Path, rec.line)
}

// innocent are names that a pattern should not match all of.
var innocent = [][]byte{[]byte("example.com"), []byte("www.wikipedia.org"), []byte("mail.heise.de"), []byte("cdn.bbc.co.uk"), []byte("nic.fr")}

func (l *linter) checkPattern(f *lintFile, r *record, d detail) {
	if d.match != format.Pattern || d.action != format.Block {
		return
	}
	re, literal := f.set.compiled(r.rule)
	if re == nil {
		return
	}
	x := f.set.extraOf(d)
	hits := 0
	for _, n := range innocent {
		if (bytes.Contains(n, literal) && re.Match(n)) != (x != nil && x.Invert) {
			hits++
		}
	}
	if hits > 1 {
		l.find(f, r, d, Risky, "matches names at random")
	}
}

// checkEssential notes the rules that block what the shipped lists call essential.
func (l *linter) checkEssential(shipped fs.FS) error {
	if shipped == nil {
		return nil
	}
	lists := make([]activeList, 0, len(l.files))
	for _, f := range l.files {
		lists = append(lists, activeList{name: f.report.Path, path: f.report.Path, kind: f.kind, set: f.set})
	}
	known, err := OpenReadOnly(Options{Shipped: shipped})
	if err != nil {
		return err
	}
	var x index
	if err := x.load(); err != nil {
		return err
	}
	names, err := x.place(lists)
	if err != nil {
		return err
	}
	p := compile(&Options{}, lists, names, (&Options{}).now(), false)
	known.Current().eachEssential(func(name *dnswire.Name, note *format.Annotation) {
		v := p.Decide(name, dnswire.TypeA, 0)
		if v.Action != Block {
			return
		}
		at, rule := p.find(v.Rule)
		f := &l.files[at]
		rec, err := f.set.record(rule)
		if err != nil {
			return
		}
		l.find(f, &rec, f.set.detailOf(&rec), Risky, essentialWarning(name, nil, note))
	})
	return errors.Join(known.Close())
}
