package blocklists

import (
	"path/filepath"
	"time"

	"telltale/blocklists/rules"
)

// A Kind is where a list comes from.
type Kind uint8

const (
	UserList   Kind = iota // a file of lists.dir
	OwnList                // own.txt, and the records of the settings
	Shipped                // built in
	Subscribed             // downloaded
	Local                  // a hosts file, or the names of devices
)

// isOwn reports whether the rules of such a list are the user's own, which win over all
// others.
func (k Kind) isOwn() bool { return k == OwnList || k == Local }

// String returns the kind as `telltale lists` shows it.
func (k Kind) String() string {
	switch k {
	case OwnList:
		return "own"
	case Shipped:
		return "shipped"
	case Subscribed:
		return "subscription"
	case Local:
		return "local"
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
	Unread    bool     // the file's name is no list's
	Missing   string   // why there are no rules of it yet; "" where there are
	Failed    string   // why the file cannot be read; its last good rules are in force
	Unkept    string   // why its rules are in memory alone, and read from the text at each start
	TextHash  uint64   // XXH64 of the text that its rules are of; 0 where that is not known
	Steps     int      // that its patterns cost each name, see docs/lists.md; 0 for none
	Warnings  []string // essential names that it blocks and what breaks; rules that are too many
}

// A BadLine is a line that is no rule.
type BadLine = rules.BadLine

// publishStatusLocked makes what Status returns.
func (s *Store) publishStatusLocked() {
	all := make([]ListStatus, 0, len(s.sources))
	for _, src := range s.sources {
		all = append(all, src.status(&s.asOf))
	}
	for _, file := range s.unread {
		all = append(all, ListStatus{Name: file, Path: filepath.Join(s.opts.Dir, file), Kind: UserList, Unread: true})
	}
	s.status.Store(&all)
}

func (src *source) status(now *instant) ListStatus {
	st := ListStatus{
		Name: src.name, Path: src.path, Kind: src.kind,
		Enabled: src.settings.enabled(), Observe: src.settings.observes(now),
		Schedule: src.settings.Schedule.Text, Outside: !src.settings.Schedule.holds(now.wall), Turns: src.settings.Schedule.next(now.wall),
		Modified: src.modified, Reloaded: src.reloaded, Added: src.added, Removed: src.removed,
		Failed: src.failed, Unkept: src.unkept, Steps: src.steps, Warnings: src.warnings,
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
	st.TextHash = src.stamp.Hash
	st.Bad, st.BadSeen = src.set.Bad, src.set.BadSeen
	st.ByForm = make(map[string]int, len(src.set.Forms))
	for form, n := range src.set.Forms {
		st.ByForm[form.String()] += n
	}
	return st
}
