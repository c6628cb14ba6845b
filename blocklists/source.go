package blocklists

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"net/url"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"time"

	"github.com/cespare/xxhash/v2"

	"telltale/atomicfile"
	"telltale/blocklists/format"
	"telltale/blocklists/rules"
	"telltale/sorting"
)

// A source is one list as the Store keeps it. It belongs to Store.mu.
type source struct {
	name     string
	path     string // "" for a shipped list, and for one whose text is at hand
	shipped  string // the file of a shipped list; "" for others
	text     string // where it has no file at all
	place    int    // among those of Options.Local, from 1; 0 for others
	group    string // whose devices it holds for; "" for everybody
	moves    bool   // see LocalList.Moves
	kind     Kind
	settings ListSettings
	used     bool // enabled, or on for a group

	set    *rules.Set  // in force; nil for none yet
	stamp  rules.Stamp // of what set was read from
	placed *rules.Set  // what was put in force last; it has a place in the index
	same   []rules.Run // by placed and set
	look   look        // of the file when it was last read, or failed to be
	read   bool        // look is of something
	readAt time.Time   // when it was, by the machine's clock

	failed    string
	odd       string    // what the file has become instead of a list
	oddSince  time.Time // zero where the file is a list
	held      bool      // and that for longer than patience
	steps     int       // that its patterns cost a name
	marked    bool      // there is a mark for it
	unkept    string    // why what is in force is in memory alone; "" where it is in the cache
	want      uint64    // hash of what was fetched; 0 for none, or unknown
	reloaded  time.Time
	modified  time.Time
	added     int
	removed   int
	warnings  []string
	announced string // the last failure told, so that it is told once
	accepted  bool   // by hand: the next reading is in force whatever it is
}

const patience = 2 * time.Second // an editor may take for its second write

const ownFile = "own.txt"

// GroupDir is the folder of Options.Dir in which groups have rules of their own.
const GroupDir = "groups"

// inDir reports whether it is a file of Options.Dir.
func (src *source) inDir() bool {
	return src.path != "" && !src.moves && (src.kind == UserList || src.kind == OwnList)
}

// isAtHand reports whether the list's text is part of the options, which others report
// changes of.
func (src *source) isAtHand() bool { return src.path == "" && src.shipped == "" }

func (src *source) inForce() bool { return src.set != nil && src.used }

// scanLocked brings the sources in step with the directory, the shipped lists and
// the settings. It reads no list. A name belongs to the user's own file first, then
// to a subscription, then to a shipped list, then to one of Options.Local.
func (s *Store) scanLocked() error {
	s.moveLocked()
	var found []*source
	byName := map[string]bool{}
	old := map[string]*source{}
	for _, src := range s.sources {
		old[src.key()] = src
	}
	take := func(name, path string, kind Kind) *source {
		base := name
		switch {
		case !byName[name]:
		case kind == Shipped || kind == Subscribed || kind == Local || path == "":
			name = kind.String() + ":" + name // the user's own file has the name alone
		default:
			name = filepath.Base(path) // foo.txt and foo.hosts are two lists
		}
		byName[name] = true
		src := &source{name: name, path: path, kind: kind}
		if kind == Shipped {
			src.shipped = base + ".txt"
		}
		if have := old[src.key()]; have != nil && have.name == name {
			src = have
		}
		settings := s.opts.settingsFor(name, base, kind)
		if src.read && settingsHash(&settings, kind) != settingsHash(&src.settings, kind) {
			src.read = false
		}
		src.settings, src.used = settings, s.opts.isUsed(&settings)
		found = append(found, src)
		return src
	}
	if err := s.scanDir(take); err != nil {
		return err
	}
	for _, sub := range s.opts.Subscribed {
		take(sub.Name, sub.Path, Subscribed).want = sub.Hash
	}
	if err := s.scanShipped(take); err != nil {
		return err
	}
	for i, l := range s.opts.Local {
		src := take(l.Name, l.Path, l.Kind)
		src.read = src.read && src.text == l.Text
		src.text, src.place, src.group, src.moves = l.Text, i+1, l.Group, l.Moves
	}
	sorting.StableBy(found, func(a, b *source) int {
		return cmp.Or(
			cmp.Compare(a.settings.Order, b.settings.Order),
			cmp.Compare(a.place, b.place),
			cmp.Compare(a.name, b.name))
	})
	s.forgetLocked(found)
	s.sources = found
	return nil
}

// moveLocked gives the lists whose files are in another folder now their paths there.
func (s *Store) moveLocked() {
	for i := range s.opts.Local {
		l := &s.opts.Local[i]
		for _, src := range s.sources {
			if l.Moves && src.moves && src.kind == l.Kind && src.group == l.Group && filepath.Base(src.path) == filepath.Base(l.Path) {
				src.path = l.Path
			}
		}
	}
}

func (src *source) key() string {
	return src.kind.String() + "\x00" + cmp.Or(src.path, src.shipped, src.name)
}

func (s *Store) scanShipped(take func(name, path string, kind Kind) *source) error {
	if s.opts.Shipped == nil {
		return nil
	}
	entries, err := fs.ReadDir(s.opts.Shipped, ".")
	if err != nil {
		return fmt.Errorf("shipped lists: %w", err)
	}
	for _, e := range entries {
		if !e.IsDir() && filepath.Ext(e.Name()) == ".txt" {
			take(ListName(e.Name()), "", Shipped)
		}
	}
	return nil
}

func (s *Store) scanDir(take func(name, path string, kind Kind) *source) error {
	if s.opts.Dir == "" {
		return nil
	}
	entries, err := s.files.readDir(s.opts.Dir)
	if err != nil {
		return fmt.Errorf("list directory: %w", err)
	}
	s.unread = nil
	for _, e := range plainFirst(entries) {
		if !IsListFile(e.Name()) {
			if !isLeftOver(e.Name()) && e.Name() != GroupDir {
				s.unread = append(s.unread, e.Name())
			}
			continue
		}
		kind, path := UserList, filepath.Join(s.opts.Dir, e.Name())
		if e.Name() == ownFile {
			kind = OwnList
		}
		take(ListName(e.Name()), path, kind)
	}
	return nil
}

// plainFirst puts .txt files first: foo.txt is the list foo, whatever other file
// begins so.
func plainFirst(entries []fs.DirEntry) []fs.DirEntry {
	isOther := func(e fs.DirEntry) int {
		if filepath.Ext(e.Name()) == ".txt" {
			return 0
		}
		return 1
	}
	sorting.StableBy(entries, func(a, b fs.DirEntry) int { return isOther(a) - isOther(b) })
	return entries
}

// forgetLocked reports the lists that are gone, and removes their last good rules.
func (s *Store) forgetLocked(found []*source) {
	for _, src := range s.sources {
		if slices.Contains(found, src) {
			continue
		}
		if s.write && s.opts.CacheDir != "" && src.path != "" {
			os.Remove(s.setPath(src)) // no harm where it stays
		}
		if src.set != nil && !src.isAtHand() {
			s.log.Info("list removed", "list", src.name)
			s.opts.report("reload", src.name, fmt.Sprintf("removed with its %d rules", src.set.Rules))
		}
	}
}

// setPath returns where the compiled rules of a list are kept.
func (s *Store) setPath(src *source) string {
	return filepath.Join(s.setDir(), src.kind.String()+"-"+url.PathEscape(src.name)+".rules")
}

// settingsHash covers the settings that change what a list's lines mean.
func settingsHash(l *ListSettings, kind Kind) uint64 {
	return xxhash.Sum64String(fmt.Sprintf("%v %q %v %v %v", l.Exact, l.Format, l.Answers, l.Suffixes, kind))
}

// refreshLocked reads a list again where it has changed, and reports whether
// other rules are to be put in force.
func (s *Store) refreshLocked(src *source) bool {
	if !src.used {
		return false
	}
	if src.path == "" {
		if src.read {
			return false
		}
		return s.readTextLocked(src)
	}
	seen := s.files.lookAt(src.path)
	waiting := !src.oddSince.IsZero() && !src.held
	if src.read && seen == src.look && !waiting && !src.isFresh() {
		return false
	}
	first := !src.read && src.set == nil
	if s.leftOutLocked(src, seen) {
		return false
	}
	if first && s.takeCachedLocked(src, seen) {
		return true
	}
	return s.readFileLocked(src, seen)
}

// isFresh reports whether a file was written so shortly before it was read that
// it may have been written again since and look the same.
func (src *source) isFresh() bool {
	const tick = 50 * time.Millisecond // more than what file systems round to
	return src.look.err == "" && src.readAt.Sub(time.Unix(0, src.look.modified)).Abs() < tick
}

// readTextLocked reads a list that has no file of its own.
func (s *Store) readTextLocked(src *source) bool {
	src.read = true
	b := []byte(src.text)
	if src.kind == Shipped {
		var err error
		if b, err = fs.ReadFile(s.opts.Shipped, src.shipped); err != nil {
			s.failedLocked(src, err)
			return false
		}
	}
	r, err := rules.Read(bytes.NewReader(b), rules.ReadOptions{Format: s.formatOptions(src), AnySuffix: true, Plain: true})
	if err != nil {
		s.failedLocked(src, err)
		return false
	}
	if src.set != nil && src.set.Equal(r.Set) {
		return false
	}
	s.takeLocked(src, reading{Reading: r})
	return true
}

// readFileLocked reads a list from its file.
func (s *Store) readFileLocked(src *source, seen look) bool {
	src.look, src.read, src.readAt = seen, true, time.Now()
	r, err := s.readFile(src)
	if err != nil {
		s.failedLocked(src, err)
		return false
	}
	src.modified = time.Unix(0, r.Stamp.Modified)
	if s.isOddLocked(src, r) {
		return false
	}
	s.recoveredLocked(src)
	if src.set != nil && src.set.Equal(r.Set) {
		r.discard()
		src.stamp = r.Stamp
		return false
	}
	s.takeLocked(src, r)
	return true
}

// A reading is what came of reading a list.
type reading struct {
	rules.Reading
	file *os.File // where the set is kept, under a name for the time being; nil for in memory
}

// readFile reads and compiles a list file.
func (s *Store) readFile(src *source) (reading, error) {
	f, seen, err := s.files.open(src.path)
	if err != nil {
		return reading{}, err
	}
	defer f.Close()
	o := rules.ReadOptions{
		Format: src.settings.FormatOptions(src.name, src.kind), AnySuffix: src.settings.Suffixes,
		Stamp: rules.Stamp{Size: seen.size, Modified: seen.modified, Inode: seen.inode, Settings: settingsHash(&src.settings, src.kind)},
	}
	o.Subtrees = s.subtreesLocked()
	if src.kind != OwnList {
		o.Memory = s.memoryFor(src)
	}
	if !s.write || s.opts.CacheDir == "" {
		r, err := rules.Read(f, o)
		return reading{Reading: r}, err
	}
	o.Large = func() { s.markLocked(src, seen, readingMark) }
	r, err := s.readIntoFile(f, o)
	if err == nil && src.marked {
		s.markLocked(src, seen, placingMark)
	}
	if err == nil || !errors.Is(err, rules.ErrWrite) {
		return r, err
	}
	// The disk may be full: a list needs none to be in force.
	s.cacheFailedLocked(src, err)
	again, seen, openErr := s.files.open(src.path)
	if openErr != nil {
		return reading{}, openErr
	}
	defer again.Close()
	o.Stamp.Size, o.Stamp.Modified, o.Stamp.Inode = seen.size, seen.modified, seen.inode
	inMemory, err := rules.Read(again, o)
	return reading{Reading: inMemory}, err
}

// memoryFor returns how much memory a list may take, in octets: a half of what
// the others leave, since the rules that it replaces stay until then.
func (s *Store) memoryFor(src *source) int64 {
	all := s.opts.Memory
	if limit := debug.SetMemoryLimit(-1); all == 0 && limit < math.MaxInt64 {
		all = limit / 2
	}
	if all == 0 {
		return 0
	}
	for _, other := range s.sources {
		if other != src && other.set != nil {
			all -= other.set.Memory()
		}
	}
	return max(all/2, 1<<20)
}

// readIntoFile reads a list into a new file of the cache directory.
func (s *Store) readIntoFile(text io.Reader, o rules.ReadOptions) (reading, error) {
	into, err := atomicfile.Create(s.setDir())
	if err != nil {
		return reading{}, fmt.Errorf("%w: %w", rules.ErrWrite, err)
	}
	o.Into = into
	r, err := rules.Read(text, o)
	if err != nil {
		atomicfile.Discard(into)
		return reading{}, err
	}
	return reading{r, into}, nil
}

// cacheFailedLocked says that a compiled list is in memory alone, once for each
// reason.
func (s *Store) cacheFailedLocked(src *source, err error) {
	src.unkept = reason(err)
	if s.unkept == src.unkept {
		return
	}
	s.unkept = src.unkept
	s.log.Warn("compiled lists cannot be kept in the cache directory and are in memory alone", "list", src.name, "err", err)
	s.opts.report("cache-failed", src.name, err.Error())
}

// takeLocked puts what was read in force with the next policy.
func (s *Store) takeLocked(src *source, r reading) {
	first := src.set == nil
	src.added, src.removed, src.same = rules.Changes(src.set, r.Set)
	if src.placed != src.set {
		src.same = nil
	}
	src.set, src.stamp, src.reloaded = r.Set, r.Stamp, s.opts.now()
	s.keepLocked(src, r)
	if src.isAtHand() {
		return
	}
	if first {
		if s.current.Load() != nil { // else it is one of those that load reports
			s.log.Info("list added", "list", src.name, "rules", r.Set.Rules, "bad", r.Set.BadSeen)
			s.opts.report("list-added", src.name, fmt.Sprintf("%s: %d rules, %d bad lines", src.kind, r.Set.Rules, r.Set.BadSeen))
		}
		return
	}
	s.log.Info("list reloaded", "list", src.name, "rules", r.Set.Rules, "added", src.added, "removed", src.removed, "bad", r.Set.BadSeen)
	s.opts.report("reload", src.name, fmt.Sprintf("%d rules, %d added, %d removed, %d bad lines", r.Set.Rules, src.added, src.removed, r.Set.BadSeen))
}

// keepLocked gives the compiled file its name.
func (s *Store) keepLocked(src *source, r reading) {
	if r.file == nil {
		return
	}
	// Not synced: what a power cut leaves is damaged, and read again from the text.
	if err := atomicfile.Rename(r.file, s.setPath(src)); err != nil {
		s.cacheFailedLocked(src, err)
	} else {
		src.unkept, s.unkept = "", ""
	}
	if !r.Set.IsInFile() {
		r.file.Close()
	}
}

// discard removes the compiled file of a reading that is not taken.
func (r *reading) discard() {
	if r.file != nil {
		atomicfile.Discard(r.file)
	}
}

// failedLocked notes that a list cannot be read; its last good rules stay.
func (s *Store) failedLocked(src *source, err error) {
	src.failed = err.Error()
	if !src.held {
		src.oddSince = time.Time{}
	}
	if src.announced == src.failed {
		return
	}
	src.announced = src.failed
	s.log.Error("list cannot be read", "list", src.name, "path", src.path, "err", err)
	s.opts.report("list-failed", src.name, src.failed)
}

// recoveredLocked notes that a list can be read, and is one.
func (s *Store) recoveredLocked(src *source) {
	was := src.held || src.announced != ""
	src.failed, src.announced, src.held, src.oddSince = "", "", false, time.Time{}
	if was {
		s.log.Info("list recovered", "list", src.name)
		s.opts.report("list-recovered", src.name, "it is read again")
	}
}

// isOddLocked reports whether a reading must not be put in force, because the
// file of a list has turned into something else.
func (s *Store) isOddLocked(src *source, r reading) bool {
	odd := src.oddness(r)
	if odd == "" || src.accepted || src.kind == OwnList || src.set == nil || src.set.Rules == 0 {
		return false
	}
	r.discard()
	now := s.opts.now()
	if src.oddSince.IsZero() {
		src.oddSince = now
	}
	src.odd = odd
	if !src.held && now.Sub(src.oddSince) >= patience {
		src.held = true
		s.log.Error("list held back", "list", src.name, "path", src.path, "why", src.whyHeld())
		s.opts.report("list-held", src.name, src.whyHeld())
	}
	return true
}

// oddness says what a file is instead of the list that it was; "" for a list.
func (src *source) oddness(r reading) string {
	switch {
	case r.Content != format.Text:
		return r.Content.String()
	case src.want != 0 && src.want != r.Stamp.Hash:
		return "not what was fetched"
	}
	return ""
}

func (src *source) whyHeld() string {
	return fmt.Sprintf("the file is %s now; its last %d rules stay in force until it is repaired or accepted", src.odd, src.set.Rules)
}

// takeCachedLocked takes the compiled rules of an earlier run, where they are
// those of the file as it is, or where the file cannot be read as a list.
func (s *Store) takeCachedLocked(src *source, seen look) bool {
	if s.opts.CacheDir == "" {
		return false
	}
	path := s.setPath(src)
	compiled := lookAt(path)
	set, st, err := rules.Open(path)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			s.log.Info("compiled list cannot be used and is read from its text", "list", src.name, "err", err)
		}
		return false
	}
	src.set, src.stamp = set, st
	src.reloaded = time.Unix(0, compiled.modified)
	if st.Settings == settingsHash(&src.settings, src.kind) && s.isSame(src, seen, st, compiled) {
		src.look, src.read = seen, true
		src.modified = time.Unix(0, seen.modified)
		return true
	}
	s.readFileLocked(src, seen) // its text decides; the old rules are for when it is none
	return true
}

// isSame reports whether a file is what was compiled, by its looks where it was
// compiled well after it was written, and else by its content.
func (s *Store) isSame(src *source, seen look, st rules.Stamp, compiled look) bool {
	if seen.err != "" || seen.size != st.Size {
		return false
	}
	f, _, err := s.files.open(src.path)
	if err != nil {
		return false
	}
	defer f.Close()
	old := compiled.modified-seen.modified > int64(patience)
	if old && seen.modified == st.Modified && seen.inode == st.Inode {
		return true
	}
	sum := xxhash.New()
	_, err = io.Copy(sum, f)
	return err == nil && sum.Sum64() == st.Hash
}

// rereadLocked reads a list from its text whatever it looks like.
func (s *Store) rereadLocked(src *source) {
	src.set = nil
	if src.path == "" {
		s.readTextLocked(src)
		return
	}
	s.readFileLocked(src, s.files.lookAt(src.path))
}
