package inspect

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"github.com/cespare/xxhash/v2"

	"telltale/blocklists"
	"telltale/blocklists/format"
	"telltale/blocklists/matcher"
	"telltale/blocklists/rules"
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
	Path     string               `json:"path"`
	List     string               `json:"list,omitempty"`   // by whose settings it was read; "" for those of no list
	Failed   string               `json:"failed,omitempty"` // why it cannot be read; nothing else is said then
	Rules    int                  `json:"rules"`
	ByForm   map[string]int       `json:"forms"`
	Missing  int                  `json:"missing,omitempty"` // entries that it says it has, and has not
	Bad      []blocklists.BadLine `json:"bad"`               // the first of them
	BadSeen  int                  `json:"bad_lines"`
	Findings []Finding            `json:"findings"` // the first maxFindings
	Seen     map[FindingKind]int  `json:"seen"`     // all of them
}

const maxFindings = 1000

// Lint reads list files as one set of lists, and says what is wrong with their
// lines and odd about their rules. Shipped has the shipped lists, which know what
// must not be blocked; nil for none. It ends early with the error of ctx.
func Lint(ctx context.Context, files []blocklists.ListFile, shipped fs.FS) ([]LintReport, error) {
	l := &linter{ctx: ctx, known: blocklists.EssentialSubtrees(shipped), reports: make([]LintReport, len(files)), often: map[string][]matcher.Hit{}}
	for i := range files {
		l.reports[i] = LintReport{
			Path: files[i].Path, List: files[i].Settings.Name, ByForm: map[string]int{}, Bad: []blocklists.BadLine{}, Findings: []Finding{},
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
	known   *rules.Subtrees // names that must work with all below them
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
	kind   blocklists.Kind
	set    *rules.Set
	first  rules.ID
}

func (l *linter) read(file *blocklists.ListFile, r *LintReport) error {
	text, err := open(file)
	if err != nil {
		return err
	}
	defer text.Close()
	s := &file.Settings
	got, err := rules.Read(text, rules.ReadOptions{Format: s.FormatOptions(blocklists.ListName(file.Path), file.Kind), AnySuffix: s.Suffixes, Subtrees: l.known})
	if err != nil {
		return err
	}
	r.Rules, r.Missing, r.BadSeen = got.Set.Rules, got.Missing, got.Set.BadSeen
	r.Bad = append(r.Bad, got.Set.Bad...)
	for form, n := range got.Set.Forms {
		r.ByForm[form.String()] += n
	}
	l.files = append(l.files, lintFile{report: r, kind: file.Kind, set: got.Set})
	return nil
}

// open opens the text of a file.
func open(file *blocklists.ListFile) (io.ReadCloser, error) {
	if file.Text != nil {
		return io.NopCloser(bytes.NewReader(file.Text)), nil
	}
	return blocklists.OpenList(file.Path)
}

// index places the names of all files. What a file says of a name again and again
// is in it once, the first time: of a million equal lines each would else be
// compared with each.
func (l *linter) index() error {
	b := matcher.NewBuilder(matcher.Options{})
	defer b.Close()
	next := rules.FirstID
	for i := range l.files {
		f := &l.files[i]
		f.first, next = next, next+rules.ID(f.set.Len())
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
		kind rules.Kind
	}
	seen := map[plain]bool{}
	return f.set.Each(func(r rules.Record) error {
		if len(r.Name) == 0 {
			return nil
		}
		if k := (plain{xxhash.Sum64(r.Name), r.Kind}); r.Kind != rules.Detailed {
			if seen[k] {
				return nil
			}
			seen[k] = true
		}
		return b.Add(r.Name, rules.Payload(f.first+rules.ID(r.Rule), r.Kind))
	})
}

// fileOf returns the file that has a rule; nil for none.
func (l *linter) fileOf(id rules.ID) *lintFile {
	for i := range l.files {
		if f := &l.files[i]; id >= f.first && id < f.first+rules.ID(f.set.Len()) {
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
		err := f.set.Each(func(r rules.Record) error {
			d := f.set.DetailOf(&r)
			if len(r.Name) == 0 || d.Action != format.Block && d.Action != format.Answer {
				return nil
			}
			l.blocks++
			if _, err := name.Read(r.Name, 0); err != nil {
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
	return f.set.Each(func(r rules.Record) error {
		if l.checked%1024 == 0 && l.ctx.Err() != nil {
			return l.ctx.Err()
		}
		l.checked++
		d := f.set.DetailOf(&r)
		if d.Synthetic {
			return nil
		}
		if len(r.Name) == 0 {
			l.checkPattern(f, &r, d)
			return nil
		}
		if _, err := name.Read(r.Name, 0); err != nil {
			return nil
		}
		switch d.Action {
		case format.Block:
			l.checkBlock(f, &r, d, &name)
		case format.Allow:
			l.checkAllow(f, &r, d, &name)
		}
		return nil
	})
}

func (l *linter) find(f *lintFile, r *rules.Record, d rules.Detail, kind FindingKind, why string) {
	f.report.add(Finding{Line: r.Line, Text: f.set.Text(r, d), Kind: kind, Why: why})
}

func (r *LintReport) add(f Finding) {
	r.Seen[f.Kind]++
	if len(r.Findings) < maxFindings {
		r.Findings = append(r.Findings, f)
	}
}

func (l *linter) checkBlock(f *lintFile, r *rules.Record, d rules.Detail, name *dnswire.Name) {
	if d.Match != format.Exact && suffixes.Is(r.Name) {
		l.find(f, r, d, Risky, "blocks a public suffix: all names under it belong to others")
	} else if name.Labels() == 1 && d.Match != format.Exact {
		l.find(f, r, d, Risky, "blocks a whole top-level domain")
	}
	if other, where := l.covering(f, r, d, name, format.Block); other != nil {
		l.find(f, r, d, Redundant, "matches nothing that "+where+" does not")
		return
	}
	if d.Important {
		return
	}
	if other, where := l.covering(f, r, d, name, format.Allow); other != nil {
		l.find(f, r, d, Shadowed, "never blocks, because of the exception of "+where)
	}
}

func (l *linter) checkAllow(f *lintFile, r *rules.Record, d rules.Detail, name *dnswire.Name) {
	if other, where := l.covering(f, r, d, name, format.Allow); other != nil {
		l.find(f, r, d, Redundant, "matches nothing that "+where+" does not")
		return
	}
	if l.blocks == 0 || len(l.patterns()) > 0 {
		return // an allow list by itself, or what it allows cannot be told
	}
	if d.Match != format.Exact && l.parents[xxhash.Sum64(r.Name)] {
		return
	}
	for _, h := range l.lookup(name) {
		if _, od := l.rule(h); od.Action == format.Block || od.Action == format.Answer {
			return
		}
	}
	l.find(f, r, d, DeadException, "nothing in these files blocks what it allows")
}

// patterns returns the first patterns there are.
func (l *linter) patterns() []rules.PatternRule {
	for _, f := range l.files {
		if len(f.set.Patterns) > 0 {
			return f.set.Patterns
		}
	}
	return nil
}

// rule returns the rule that a lookup has found.
func (l *linter) rule(h matcher.Hit) (*lintFile, rules.Detail) {
	id, k := rules.Split(h.Payload)
	f := l.fileOf(id)
	if f == nil {
		return nil, rules.Detail{Action: format.Known}
	}
	rule := uint32(id - f.first)
	if d, ok := f.set.Detail(rule); ok {
		return f, d
	}
	d := k.Detail(rule, format.Domain)
	if k == rules.AllowScoped {
		d.Form = format.Dnsmasq // or another one whose exceptions are scoped
	}
	return f, d
}

// covering returns another rule with the given action, and where it stands, that
// matches all that this one does: a name above it with its subtree, or the same
// name on an earlier line.
func (l *linter) covering(f *lintFile, r *rules.Record, d rules.Detail, name *dnswire.Name, action format.Action) (*rules.Detail, string) {
	if d.Extra != 0 && action == d.Action {
		return nil, "" // it has conditions, or an answer, of its own
	}
	for _, h := range l.lookup(name) {
		id, _ := rules.Split(h.Payload)
		if id == f.first+rules.ID(r.Rule) {
			continue
		}
		of, od := l.rule(h)
		if of == nil || od.Action != action || od.Extra != 0 || od.Important != d.Important && !od.Important {
			continue
		}
		if (f.kind == blocklists.OwnList || rules.IsScoped(d.Form)) && (of != f || int(h.Labels) != name.Labels()) {
			continue // there the more specific rule decides, so it is never idle
		}
		if action == format.Allow && d.Action == format.Block && (od.Important || rules.IsScoped(od.Form)) {
			continue
		}
		if !covers(od, d, int(h.Labels) == name.Labels(), id < f.first+rules.ID(r.Rule) || action != d.Action) {
			continue
		}
		return &od, l.place(f, of, od.Rule)
	}
	return nil, ""
}

// covers reports whether a rule of the same name, or of one above, matches all
// that another one does. Of two that are equal, only the earlier one does.
func covers(od, d rules.Detail, same, earlier bool) bool {
	if !same {
		return od.Match == format.Subtree || od.Match == format.Below
	}
	switch {
	case od.Match == d.Match:
		return earlier
	case od.Match == format.Subtree:
		return true
	}
	return false
}

func (l *linter) place(f, of *lintFile, rule uint32) string {
	rec, err := of.set.Record(rule)
	if err != nil {
		return "another rule"
	}
	if of == f {
		return fmt.Sprintf("line %d", rec.Line)
	}
	return fmt.Sprintf("%s:%d", of.report.Path, rec.Line)
}

// innocent are names that a pattern should not match all of.
var innocent = [][]byte{[]byte("example.com"), []byte("www.wikipedia.org"), []byte("mail.heise.de"), []byte("cdn.bbc.co.uk"), []byte("nic.fr")}

func (l *linter) checkPattern(f *lintFile, r *rules.Record, d rules.Detail) {
	if d.Match != format.Pattern || d.Action != format.Block {
		return
	}
	re, literal := f.set.Compiled(r.Rule)
	if re == nil {
		return
	}
	x := f.set.ExtraOf(d)
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
	sets := make([]blocklists.NamedSet, 0, len(l.files))
	for _, f := range l.files {
		sets = append(sets, blocklists.NamedSet{Name: f.report.Path, Kind: f.kind, Set: f.set})
	}
	p, err := blocklists.PolicyOf(sets)
	if err != nil {
		return err
	}
	known, err := blocklists.OpenReadOnly(blocklists.Options{Shipped: shipped})
	if err != nil {
		return err
	}
	note := func(name *dnswire.Name, a *format.Annotation) {
		v := p.Decide(name, dnswire.TypeA, 0)
		if v.Action != blocklists.Block {
			return
		}
		r := p.Rule(v.Rule)
		for _, f := range l.files {
			if f.report.Path == r.List {
				f.report.add(Finding{Line: r.Line, Text: r.Text, Kind: Risky, Why: blocklists.EssentialWarning(name, nil, a)})
				return
			}
		}
	}
	known.Current().EachEssential(note)
	for _, f := range l.files {
		known.Current().EachBelowEssential(f.set.Near, note)
	}
	return errors.Join(known.Close())
}
