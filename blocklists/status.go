package blocklists

import (
	"fmt"
	"time"

	"telltale/blocklists/format"
	"telltale/dnswire"
)

// A Kind is where a list comes from.
type Kind uint8

const (
	UserList   Kind = iota // a file of lists.dir
	OwnList                // own.txt
	Shipped                // built in
	Subscribed             // downloaded
)

// String returns the kind as `telltale lists` shows it.
func (k Kind) String() string {
	switch k {
	case OwnList:
		return "own"
	case Shipped:
		return "shipped"
	case Subscribed:
		return "subscription"
	}
	return "user"
}

// A ListStatus is how one list stands.
type ListStatus struct {
	Name     string
	Path     string // "" for a shipped list
	Kind     Kind
	Enabled  bool // for everyone; a group may have it on or off
	Observe  bool
	Schedule string         // when it is in force; "" for always
	Outside  bool           // its schedule says that it is not in force now
	Turns    time.Time      // when its schedule says otherwise next; zero for never
	Mode     string         // of its blocked answers, where it has one of its own
	Rules    int            // in force
	ByForm   map[string]int // rules by the form they are written in
	Bad      []BadLine      // the first of them
	BadSeen  int            // how many there are

	Modified  time.Time // of the file; zero for a shipped list
	Reloaded  time.Time // when its rules came in force
	Added     int       // at the last reload
	Removed   int
	Held      string // why what the file holds now is not in force; "" where it is
	HeldSince time.Time
	Failed    string   // why the file cannot be read; its last good rules are in force
	Warnings  []string // essential names that it blocks and what breaks; rules that are too many
}

// A BadLine is a line that is no rule.
type BadLine struct {
	Line int    `json:"line"` // 0 for the file as a whole
	Text string `json:"text"` // the beginning of the line, for showing
	Why  string `json:"why"`
}

// publishStatusLocked makes what Status returns.
func (s *Store) publishStatusLocked() {
	all := make([]ListStatus, 0, len(s.sources))
	for _, src := range s.sources {
		all = append(all, src.status(s.asOf))
	}
	s.status.Store(&all)
}

func (src *source) status(now time.Time) ListStatus {
	st := ListStatus{
		Name: src.name, Path: src.path, Kind: src.kind,
		Enabled: src.settings.enabled(), Observe: src.settings.observes(now),
		Schedule: src.settings.Schedule.Text, Outside: !src.settings.Schedule.holds(now), Turns: src.settings.Schedule.next(now),
		Modified: src.modified, Reloaded: src.reloaded, Added: src.added, Removed: src.removed,
		Failed: src.failed, Warnings: src.warnings,
	}
	if src.settings.Mode != nil {
		st.Mode = src.settings.Mode.String()
	}
	if src.held {
		st.Held, st.HeldSince = src.whyHeld(), src.oddSince
	}
	if src.set == nil {
		return st
	}
	if src.used {
		st.Rules = src.set.Rules
	}
	st.Bad, st.BadSeen = src.set.Bad, src.set.BadSeen
	st.ByForm = make(map[string]int, len(src.set.Forms))
	for form, n := range src.set.Forms {
		st.ByForm[form.String()] += n
	}
	return st
}

// warnLocked notes in which lists a name is blocked that the shipped lists call
// essential, and what breaks.
func (s *Store) warnLocked(p *Policy) {
	for _, src := range s.sources {
		src.warnings = nil
	}
	for i := range p.lists {
		if n := p.lists[i].tooMany; n > 0 {
			s.warnListLocked(p.lists[i].name, fmt.Sprintf("%d patterns are not in force: there are over %d in all lists", n, maxPatterns))
		}
	}
	for i := range p.lists {
		if n := p.lists[i].unlimited; n > 0 {
			s.warnListLocked(p.lists[i].name, fmt.Sprintf("%d rules for some clients are not in force: lists name over %d addresses and prefixes of clients", n, maxRanges))
		}
	}
	blocked := map[string]int{}
	p.eachEssential(func(name *dnswire.Name, note *format.Annotation) {
		v := p.Decide(name, dnswire.TypeA, 0)
		if v.Action != Block {
			return
		}
		list := p.ListName(v.Rule)
		if blocked[list]++; blocked[list] <= maxWarnings {
			s.warnListLocked(list, essentialWarning(name, note))
		}
	})
	for list, n := range blocked {
		if n > maxWarnings {
			s.warnListLocked(list, fmt.Sprintf("and %d more names that must work are blocked", n-maxWarnings))
		}
	}
}

// maxWarnings is how many essential names that a list blocks are named.
const maxWarnings = 20

func (s *Store) warnListLocked(list, warning string) {
	for _, src := range s.sources {
		if src.name == list {
			src.warnings = append(src.warnings, warning)
		}
	}
}

func essentialWarning(name *dnswire.Name, note *format.Annotation) string {
	breaks := note.Breaks
	if breaks == "" {
		breaks = "something that must work"
	}
	return name.String() + " is blocked, which breaks: " + breaks
}

// eachEssential calls yield with every name that a shipped list calls essential.
func (p *Policy) eachEssential(yield func(*dnswire.Name, *format.Annotation)) {
	var name dnswire.Name
	for i := range p.lists {
		l := &p.lists[i]
		if l.kind != Shipped {
			continue
		}
		for _, d := range l.set.details {
			note := l.set.noteOf(d)
			if note == nil || note.Tier != "essential" || d.action == format.Allow {
				continue
			}
			rec, err := l.set.record(d.rule)
			if err != nil || len(rec.name) == 0 {
				continue
			}
			if _, err := name.Read(rec.name, 0); err == nil {
				yield(&name, note)
			}
		}
	}
}
