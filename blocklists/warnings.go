package blocklists

import (
	"bytes"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"telltale/blocklists/format"
	"telltale/blocklists/rules"
	"telltale/dnswire"
)

// maxWarnings is how many essential names that a list blocks are named.
const maxWarnings = 20

// warnLocked notes what is odd about lists in the policy: rules that are too
// many, and names that the shipped lists call essential and that they block.
func (s *Store) warnLocked(p *Policy) {
	for _, src := range s.sources {
		src.warnings, src.steps = nil, 0
		for i := range p.lists {
			if l := &p.lists[i]; l.name == src.name && l.kind == src.kind {
				src.steps = l.steps
			}
		}
	}
	for i := range p.lists {
		l := &p.lists[i]
		if l.tooMany > 0 {
			s.warnListLocked(l.name, fmt.Sprintf("%d patterns are not in force: there are over %d in all lists", l.tooMany, maxPatterns))
		}
		if l.tooDear > 0 {
			s.warnListLocked(l.name, fmt.Sprintf("%d patterns are not in force: those in force take %d steps (%d of them this list's), and %d are the most: write names instead", l.tooDear, p.steps, l.steps, maxSteps))
		}
		if l.unlimited > 0 {
			s.warnListLocked(l.name, fmt.Sprintf("%d rules for some clients are not in force: lists name over %d addresses and prefixes of clients", l.unlimited, maxRanges))
		}
	}
	blocked := map[string]int{}
	warn := func(name *dnswire.Name, note *format.Annotation) {
		for list, whom := range p.blockers(name, s.opts.Groups) {
			if blocked[list]++; blocked[list] <= maxWarnings {
				s.warnListLocked(list, EssentialWarning(name, whom, note))
			}
		}
	}
	p.EachEssential(warn)
	var near []string
	for i := range p.lists {
		near = append(near, p.lists[i].set.Near...)
	}
	p.EachBelowEssential(near, warn)
	for list, n := range blocked {
		if n > maxWarnings {
			s.warnListLocked(list, fmt.Sprintf("and %d more names that must work are blocked", n-maxWarnings))
		}
	}
}

func (s *Store) warnListLocked(list, warning string) {
	for _, src := range s.sources {
		if src.name == list {
			src.warnings = append(src.warnings, warning)
		}
	}
}

// EssentialWarning says that a name which must work is blocked, for whom, and what
// that breaks; whom is nobody in particular where it is for everyone.
func EssentialWarning(name *dnswire.Name, whom []string, note *format.Annotation) string {
	const named = 3
	breaks := note.Breaks
	if breaks == "" {
		breaks = "something that must work"
	}
	text := name.String() + " is blocked"
	if len(whom) > 0 {
		text += " for " + strings.Join(whom[:min(named, len(whom))], ", ")
	}
	if more := len(whom) - named; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text + ", which breaks: " + breaks
}

// blockers returns the lists that block a name, and for whom; nobody in
// particular where it is for everyone.
func (p *Policy) blockers(name *dnswire.Name, settings []GroupSettings) map[string][]string {
	if list := p.blockerFor(name, 0); list != "" {
		return map[string][]string{list: nil}
	}
	var lists map[string][]string
	add := func(g Group, whom string) {
		list := p.blockerFor(name, g)
		if list == "" || slices.Contains(lists[list], whom) {
			return
		}
		if lists == nil {
			lists = map[string][]string{}
		}
		lists[list] = append(lists[list], whom)
	}
	for i := range settings {
		add(Group(i+1), settings[i].Name)
	}
	for _, prefix := range p.rangesFor(name) {
		whom := prefix.String()
		if prefix.IsSingleIP() {
			whom = prefix.Addr().String()
		}
		add(Group(p.ranges.numbers[prefix])<<16, whom)
	}
	return lists
}

// blockerFor returns the list that blocks addresses of a name for a group.
func (p *Policy) blockerFor(name *dnswire.Name, g Group) string {
	for _, qtype := range []uint16{dnswire.TypeA, dnswire.TypeAAAA} {
		if v := p.Decide(name, qtype, g); v.Action == Block {
			return p.ListName(v.Rule)
		}
	}
	return ""
}

// EachEssential calls yield with every name that a shipped list calls essential.
func (p *Policy) EachEssential(yield func(*dnswire.Name, *format.Annotation)) {
	p.eachEssential(func(name *dnswire.Name, note *format.Annotation, _ format.Match) { yield(name, note) })
}

func (p *Policy) eachEssential(yield func(*dnswire.Name, *format.Annotation, format.Match)) {
	var name dnswire.Name
	for i := range p.lists {
		l := &p.lists[i]
		if l.kind != Shipped {
			continue
		}
		for _, d := range l.set.Details {
			note := l.set.AnnotationOf(d)
			if note == nil || note.Tier != "essential" || d.Action == format.Allow {
				continue
			}
			rec, err := l.set.Record(d.Rule)
			if err != nil || len(rec.Name) == 0 {
				continue
			}
			if _, err := name.Read(rec.Name, 0); err == nil {
				yield(&name, note, d.Match)
			}
		}
	}
}

// EachBelowEssential calls yield with each of some names, in presentation form, that
// is below one that a shipped list calls essential with all below it, and is no such
// name itself.
func (p *Policy) EachBelowEssential(names []string, yield func(*dnswire.Name, *format.Annotation)) {
	if len(names) == 0 {
		return
	}
	same, above := map[string]bool{}, map[string]*format.Annotation{}
	p.eachEssential(func(name *dnswire.Name, note *format.Annotation, m format.Match) {
		same[string(name.Wire())] = true
		if m == format.Subtree {
			above[string(name.Wire())] = note
		}
	})
	var name dnswire.Name
	for _, text := range names {
		wire, err := dnswire.AppendName(nil, text)
		if err != nil || same[string(wire)] {
			continue
		}
		same[string(wire)] = true // once
		for at := 1 + int(wire[0]); wire[at] != 0; at += 1 + int(wire[at]) {
			note, ok := above[string(wire[at:])]
			if !ok {
				continue
			}
			if _, err := name.Read(wire, 0); err == nil {
				yield(&name, note)
			}
			break
		}
	}
}

// EssentialSubtrees are the names that shipped lists call essential with all below
// them: what blocks something below them is worth a warning.
func EssentialSubtrees(shipped fs.FS) *rules.Subtrees {
	if shipped == nil {
		return nil
	}
	files, err := fs.Glob(shipped, "*.txt")
	if err != nil {
		return nil
	}
	var names [][]byte
	for _, file := range files {
		text, err := fs.ReadFile(shipped, file)
		if err != nil {
			continue // reading the list says so
		}
		format.Parse(bytes.NewReader(essentialLines(text)), format.Options{}, func(r *format.Rule) {
			if r.Annotation != nil && r.Annotation.Tier == "essential" && r.Match == format.Subtree && r.Action != format.Allow {
				names = append(names, slices.Clone(r.Name))
			}
		})
	}
	return rules.NewSubtrees(names)
}

// essentialLines returns the lines of a list that may call names essential, and those
// before them that matter for it. They are a tenth of a shipped list.
func essentialLines(text []byte) []byte {
	var kept []byte
	word, head, name := []byte("essential"), []byte("#@"), []byte("name=")
	inForce := false // the annotation above says so
	for line := range bytes.Lines(text) {
		says := bytes.Contains(line, word)
		isAnnotation := bytes.HasPrefix(line, head)
		if isAnnotation && !bytes.Contains(line, name) {
			inForce = says
		} else if !says && !inForce {
			continue
		}
		kept = append(kept, line...)
	}
	return kept
}
