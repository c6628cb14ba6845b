package blocklists

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"telltale/atomicfile"
	"telltale/blocklists/format"
	"telltale/blocklists/matcher"
	"telltale/blocklists/rules"
	"telltale/watch"
)

// A Store keeps the current Policy in step with the list files. All its methods
// may be called by any goroutine.
type Store struct {
	current atomic.Pointer[Policy]
	status  atomic.Pointer[[]ListStatus]

	mu        sync.Mutex
	opts      Options
	write     bool // the cache is ours to write
	files     *access
	subtrees  *rules.Subtrees // names that must work with all below them; nil for not looked for yet
	ended     map[string]mark // by compiled file: what an earlier process ended at
	sources   []*source       // in the order in which they win ties
	unread    []string        // files of Dir that are no lists by their names
	index     *rules.Index
	names     *matcher.Set
	claims    format.Claims // of shipped lists, while they are read; nil for none yet
	lists     []activeList  // of the current policy
	unkept    string        // why a list could not be kept in the cache, so that it is told once
	announced string        // the last failure of a reload, so that it is told once
	asOf      instant       // of which time the policy is
	ends      ends
	due       time.Time // when it changes by itself; zero for never

	log        *slog.Logger
	watch      *watch.Watcher   // nil where nothing is watched
	imageCheck rules.ImageCheck // for the goroutine that checks, of which there is one at a time

	wake    chan struct{} // something is due at another time than before
	faults  chan error
	done    chan struct{}
	closing sync.Once
	running sync.WaitGroup
}

// Open loads the lists and watches them until Close. Only this first load may
// fail: because the directory cannot be read, or the cache not be used.
func Open(o Options) (*Store, error) {
	s, err := load(o, true)
	if err != nil {
		return nil, err
	}
	s.watch = watch.New(watch.Options{Poll: o.Poll, Failed: s.watchFailed})
	s.running.Go(func() { s.run(s.watch) })
	return s, nil
}

// OpenReadOnly loads the lists as Open does, but watches nothing and writes
// nothing: for commands that run beside or without the server.
func OpenReadOnly(o Options) (*Store, error) { return load(o, false) }

func load(o Options, write bool) (*Store, error) {
	s := &Store{
		opts: o, write: write, log: o.Logger,
		wake: make(chan struct{}, 1), faults: make(chan error, 1), done: make(chan struct{}),
		ends: ends{known: map[int64]firstKnown{}},
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.files = newAccess(o.FileTimeout, s.done)
	if write && o.CacheDir != "" {
		if err := s.prepareCache(); err != nil {
			s.log.Error("compiled lists are not kept, each start reads their text", "err", err)
			o.report("cache-failed", "lists", err.Error())
			o.CacheDir, s.opts.CacheDir = "", ""
		}
	}
	s.index = rules.NewIndex(o.CacheDir, !write, s.fault, s.log)
	if err := s.index.Load(); err != nil {
		s.log.Info("compiled names cannot be used and are built again", "err", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if write && o.CacheDir != "" {
		s.loadMarks()
	}
	defer s.endReadingLocked()
	if err := s.scanLocked(); err != nil {
		return nil, err
	}
	for _, src := range s.sources {
		s.refreshLocked(src)
	}
	err := s.publishLocked()
	s.reportLoadedLocked()
	return s, err
}

// reportLoadedLocked tells which lists are in force at the start: one may have
// come or gone since the last one.
func (s *Store) reportLoadedLocked() {
	const most = 200 // lists that are named
	var all []string
	rules := 0
	for _, src := range s.sources {
		if src.set == nil {
			continue
		}
		rules += src.set.Rules
		if len(all) < most {
			all = append(all, fmt.Sprintf("%s %d", src.name, src.set.Rules))
		}
	}
	s.opts.report("lists-loaded", "lists", fmt.Sprintf("%d rules: %s", rules, strings.Join(all, ", ")))
}

// fault is told by a lookup that a mapped file cannot be read any more.
func (s *Store) fault(err error) {
	select {
	case s.faults <- err:
	default:
	}
}

// Current returns the policy in force.
func (s *Store) Current() *Policy { return s.current.Load() }

// Status returns how each list stands, in the order in which they win ties. It
// never waits for a reload.
func (s *Store) Status() []ListStatus {
	if st := s.status.Load(); st != nil {
		return slices.Clone(*st)
	}
	return nil
}

// WatchErr returns why edits of list files are only found by polling, or nil
// where they are found at once.
func (s *Store) WatchErr() error {
	if s.watch == nil {
		return nil
	}
	return s.watch.Err()
}

// Close stops watching. The current policy stays valid.
func (s *Store) Close() error {
	s.closing.Do(func() { close(s.done) })
	s.running.Wait()
	return nil
}

var errReadOnly = errors.New("lists are opened for reading only")

// Configure puts other options in force. Dir, CacheDir and the
// functions stay as they were at Open. A list whose settings change what its
// lines mean is read again, the others are not. On an error what was in force
// stays in force.
func (s *Store) Configure(o Options) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.opts
	o.Dir, o.CacheDir, o.Ended = old.Dir, old.CacheDir, old.Ended
	o.Report, o.Logger, o.Now, o.Poll = old.Report, old.Logger, old.Now, old.Poll
	s.opts = o
	defer s.endReadingLocked()
	if err := s.scanLocked(); err != nil {
		s.opts = old
		return errors.Join(err, s.scanLocked())
	}
	if o.Edition != old.Edition {
		s.rereadShippedLocked()
	}
	for _, src := range s.sources {
		s.refreshLocked(src)
	}
	return s.publishLocked()
}

// rereadShippedLocked takes the shipped lists of another edition.
func (s *Store) rereadShippedLocked() {
	s.subtrees = nil
	for _, src := range s.sources {
		if src.kind == Shipped {
			src.read = false
		}
	}
}

// compact builds a new base of all lists where the index has become fragmented. It
// does so beside everything else.
func (s *Store) compact() {
	s.mu.Lock()
	lists, dir, fragmented := rulesOf(s.lists), s.index.ImageDir(), s.index.IsFragmented()
	s.mu.Unlock()
	if !fragmented {
		return
	}
	base, err := rules.BuildBase(dir, lists)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		s.index.Install(base)
		err = s.publishLocked()
	}
	if err != nil {
		s.log.Warn("compiled names stay fragmented: lookups take longer until they can be built again", "err", err)
	}
}

// rulesOf returns the rules of lists alone.
func rulesOf(lists []activeList) []rules.List {
	only := make([]rules.List, len(lists))
	for i := range lists {
		only[i] = lists[i].List
	}
	return only
}

// assignIDs gives the rules of the lists their ids and returns the set of all names.
func assignIDs(x *rules.Index, lists []activeList) (*matcher.Set, error) {
	only := rulesOf(lists)
	names, err := x.AssignIDs(only)
	for i := range lists {
		lists[i].List = only[i]
	}
	return names, err
}

// reload looks at all files, reads those that have changed, puts the outcome in
// force, and reports whether there was any.
func (s *Store) reload() (changed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.endReadingLocked()

	scanned := s.scanLocked()
	if scanned != nil {
		s.failLocked("lists", scanned)
	} else {
		s.announced = ""
	}
	for _, src := range s.sources {
		if scanned != nil && src.inDir() {
			s.failedLocked(src, scanned)
			src.read = false // it may have changed by the time it can be read again
			continue
		}
		changed = s.refreshLocked(src) || changed
	}
	if changed || s.isDueLocked() || s.listsChangedLocked() {
		if err := s.publishLocked(); err != nil {
			s.failLocked("lists", err)
			s.due = s.opts.now().Add(time.Minute) // to try again
		}
		return true
	}
	s.publishStatusLocked()
	return false
}

// failLocked says that a reload failed; what was in force stays in force.
func (s *Store) failLocked(subject string, err error) {
	if s.announced == err.Error() {
		return // it is tried again at every poll
	}
	s.announced = err.Error()
	s.log.Error("reload failed, the lists stay as they were", "list", subject, "err", err)
	s.opts.report("reload-failed", subject, err.Error())
}

// listsChangedLocked reports whether other lists are there than in the policy.
func (s *Store) listsChangedLocked() bool {
	p := s.current.Load()
	if p == nil {
		return true
	}
	n := 0
	for _, src := range s.sources {
		if !src.inForce() {
			continue
		}
		if n >= len(p.lists) || p.lists[n].set != src.set || p.lists[n].name != src.name {
			return true
		}
		n++
	}
	return n != len(p.lists)
}

// publishLocked makes a policy of what is loaded and puts it in force.
func (s *Store) publishLocked() error {
	names, lists, err := s.assignIDsLocked()
	s.unmarkLocked()
	if err != nil {
		return err
	}
	s.names, s.lists, s.announced = names, lists, ""
	for _, src := range s.sources {
		src.placed, src.same = src.set, nil
	}
	s.recompileLocked()
	return nil
}

// assignIDsLocked brings the index in step. A list whose compiled file has become
// unreadable is read from its text again, once.
func (s *Store) assignIDsLocked() (*matcher.Set, []activeList, error) {
	for try := 0; ; try++ {
		lists := s.activeLocked()
		names, err := assignIDs(s.index, lists)
		var broken *rules.ListError
		if err == nil || !errors.As(err, &broken) || try > len(lists) {
			return names, lists, err
		}
		s.opts.report("cache-damaged", broken.List, broken.Err.Error())
		s.log.Warn("compiled list is damaged and is read again from its text", "list", broken.List, "err", broken.Err)
		i := slices.IndexFunc(s.sources, func(src *source) bool { return src.name == broken.List })
		s.rereadLocked(s.sources[i])
	}
}

// recompileLocked swaps the policy; the names are the same.
func (s *Store) recompileLocked() {
	now := s.instant()
	s.tellTurnsLocked(&now)
	s.endTemporaryLocked(&now)
	s.asOf, s.due = now, s.nextTurnLocked(&now)
	p := compile(&s.opts, s.lists, s.names, &now)
	s.current.Store(p)
	s.warnLocked(p)
	s.publishStatusLocked()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *Store) activeLocked() []activeList {
	var lists []activeList
	for _, src := range s.sources {
		if src.inForce() {
			lists = append(lists, activeList{
				List: rules.List{Name: src.name, Set: src.set, Before: src.placed, Same: src.same},
				path: src.path, kind: src.kind, settings: src.settings, group: src.group,
			})
		}
	}
	return lists
}

// Accept puts in force what the file of a held list holds now.
func (s *Store) Accept(name string) error {
	if !s.write {
		return errReadOnly
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.sources, func(src *source) bool { return src.name == name })
	if i < 0 {
		return fmt.Errorf("there is no list %q", name)
	}
	src := s.sources[i]
	if _, left := s.ended[s.setPath(src)]; !left && src.oddSince.IsZero() {
		return fmt.Errorf("list %s is not held back", name)
	}
	delete(s.ended, s.setPath(src))
	src.accepted = true
	s.readFileLocked(src, s.files.lookAt(src.path))
	src.accepted = false
	if src.failed != "" {
		return fmt.Errorf("list %s: %s", name, src.failed)
	}
	s.opts.report("list-accepted", name, fmt.Sprintf("%d rules", src.set.Rules))
	return s.publishLocked()
}

// prepareCache makes the cache directory, and removes what a crash left there.
func (s *Store) prepareCache() error {
	dir := s.setDir()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	atomicfile.RemoveUnfinished(s.opts.CacheDir, 0)
	atomicfile.RemoveUnfinished(dir, 0)
	if s.opts.Dir != "" {
		atomicfile.RemoveUnfinished(s.opts.Dir, time.Minute) // commands write there, too
	}
	return nil
}

func (s *Store) setDir() string { return filepath.Join(s.opts.CacheDir, "lists") }

// isUsed reports whether a list is loaded: where it is enabled, or on for a group.
func (o *Options) isUsed(l *ListSettings) bool {
	if l.enabled() {
		return true
	}
	for i := range o.Groups {
		if is, said := o.Groups[i].list(l.Name); said && is != ListOffFor {
			return true
		}
	}
	return false
}

// list returns how a list is for the group; said is false where it is as for everyone.
func (g *GroupSettings) list(name string) (is ListFor, said bool) {
	for _, l := range g.Lists {
		if l.Name == name {
			return l.Is, true
		}
	}
	return 0, false
}

// settingsFor returns the user's settings for a list, which is called name, and
// base where another list has got that name. Those of a subscription are its own; a
// shipped list can be meant by "shipped:" and its name, too.
func (o *Options) settingsFor(name, base string, kind Kind) ListSettings {
	for _, l := range o.Lists {
		meant := l.Name == name
		switch kind {
		case Subscribed:
			meant = l.Name == base
		case Shipped:
			meant = meant || l.Name == Shipped.String()+":"+base
		}
		if meant && l.Subscribed == (kind == Subscribed) {
			l.Name = name
			return l
		}
	}
	return ListSettings{Name: name}
}

func (l *ListSettings) enabled() bool { return l.Enabled == nil || *l.Enabled }

// subtreesLocked returns the names that must work with all below them.
func (s *Store) subtreesLocked() *rules.Subtrees {
	if s.subtrees == nil {
		s.subtrees = EssentialSubtrees(s.opts.Shipped)
	}
	return s.subtrees
}

// claimsLocked returns what reads the claims of shipped lists.
func (s *Store) claimsLocked() format.Claims {
	if s.claims == nil && s.opts.Claims != nil {
		s.claims = s.opts.Claims()
	}
	return s.claims
}

// endReadingLocked gives back what was needed to read shipped lists. It is much, and
// needed again only for another edition, or other settings.
func (s *Store) endReadingLocked() { s.claims = nil }

// formatOptions returns how a list's lines are to be read.
func (s *Store) formatOptions(src *source) format.Options {
	o := src.settings.FormatOptions(src.name, src.kind)
	if src.kind == Shipped {
		o.Claims = s.claimsLocked()
	}
	return o
}

// FormatOptions returns how the lines of a list are to be read.
func (l *ListSettings) FormatOptions(name string, kind Kind) format.Options {
	return format.Options{
		Name: name, Format: l.Format, Exact: l.Exact, Own: kind.isOwn(), Answers: l.Answers, Suffixes: l.Suffixes, System: kind == Local,
	}
}

// LinesOf returns how the lines of a list's file are read, and whose it is. There is
// none where no list has that file.
func (s *Store) LinesOf(path string) (name string, kind Kind, o format.Options, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, src := range s.sources {
		if src.path == path && (src.kind == UserList || src.kind == OwnList) {
			return src.name, src.kind, src.settings.FormatOptions(src.name, src.kind), true
		}
	}
	return "", 0, o, false
}
