package subscribe

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"telltale/atomicfile"
)

// An entry is one list as it is kept. Its fields belong to Subscriber.mu, but
// for fetching, which is held while a download runs, and files.
type entry struct {
	fetching chan struct{} // one at a time; a channel, so that waiting can end
	files    sync.Mutex    // held while copies are read and replaced; locked before Subscriber.mu
	list     List
	known    known
	due      time.Time
	taken    bool      // Run has begun on it
	seen     time.Time // when the copy that was last found to be whole was modified
}

// known is what is remembered about a list between runs, as JSON beside its
// copy.
type known struct {
	URL          string // of which all this is known
	Key          string // by which it was signed
	ETag         string
	LastModified string
	Fetched      time.Time
	Checked      time.Time
	Tried        time.Time
	Rules        int // in the copy; 0 for no copy
	Bad          int
	Size         int64
	Hash         uint64 // XXH64 of the copy; 0 where an older program kept it
	Failures     int
	Err          string
	RetryAfter   time.Time // the server asked for patience
	Foreign      bool      // the copy is another URL's, or of unknown origin
	OldURL       string    // where a foreign copy is from; "" for unknown
	Held         *Held
	HeldETag     string // the validators of the held copy
	HeldModified string
	HeldAs       string // how it was read
}

// load makes an entry from what an earlier run left.
func (s *Subscriber) load(l List) *entry {
	e := &entry{list: l, fetching: make(chan struct{}, 1)}
	text, err := os.ReadFile(s.statePath(l.Name))
	if err == nil {
		err = json.Unmarshal(text, &e.known)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.Logger.Warn("subscription: what was known is lost", "list", l.Name, "error", err)
	}
	if err != nil || e.known.URL != l.URL || e.known.Key != l.Key {
		e.known = known{URL: l.URL, Key: l.Key, OldURL: cmp.Or(e.known.OldURL, e.known.URL)}
		s.adopt(e)
		return e
	}
	if _, err := os.Stat(s.path(l.Name)); err != nil {
		e.known = known{URL: l.URL, Key: l.Key, Held: e.known.Held} // without a copy nothing is current
	}
	s.verifyLocked(e)
	return e
}

// adopt takes a copy whose state is lost, or that came from another URL, as the
// last good one, if it still is a list.
func (s *Subscriber) adopt(e *entry) {
	r, err := s.inspect(s.path(e.list.Name), e.list)
	if err != nil || r.problem() != "" {
		return
	}
	e.known.Foreign = true
	e.known.Rules, e.known.Bad, e.known.Size, e.known.Hash = r.report.Rules, r.report.BadTotal, r.size, r.hash
}

// verifyLocked looks whether the copy on disk is still what was fetched. One that
// is not, for example because it was cut, is fetched again as if there were none.
func (s *Subscriber) verifyLocked(e *entry) {
	k := &e.known
	if k.Rules == 0 || k.Foreign || s.ReadOnly {
		return
	}
	problem := s.damage(e)
	if problem == "" {
		return
	}
	k.ETag, k.LastModified, k.Foreign, k.OldURL, k.Tried = "", "", true, k.URL, time.Time{}
	s.Logger.Error("a subscription's copy is damaged and is fetched again", "list", e.list.Name, "why", problem)
	s.Report("list-failed", e.list.Name, "its copy on disk "+problem+": it is fetched again")
	k.Err = "its copy on disk " + problem
	s.schedule(e)
	s.saveLocked(e)
}

// damage says how the copy on disk differs from what was fetched; "" where it
// does not, or where nobody can know. A copy that has been looked at is read
// again only when it looks otherwise.
func (s *Subscriber) damage(e *entry) string {
	path := s.path(e.list.Name)
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() {
		return ""
	}
	if info.Size() != e.known.Size {
		return fmt.Sprintf("has %d of %d bytes", info.Size(), e.known.Size)
	}
	if e.known.Hash == 0 || info.ModTime().Equal(e.seen) {
		return ""
	}
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	if _, hash, err := contentOf(f); err != nil || hash == e.known.Hash {
		e.seen = info.ModTime()
		return ""
	}
	return "is not what was fetched"
}

// save writes what is known about a list. It is called with mu held.
func (s *Subscriber) saveLocked(e *entry) {
	text, err := json.MarshalIndent(&e.known, "", "\t")
	if err == nil {
		err = atomicfile.Replace(s.statePath(e.list.Name), text, 0o600)
	}
	if err != nil {
		s.Logger.Warn("subscription: state not written", "list", e.list.Name, "error", err)
	}
}

// schedule decides when a list is due. Lists are spread over a tenth of their
// interval, so that not every Telltale asks at the same second; failures are
// repeated after 15 s, 30 s and so on, up to the interval or six hours.
func (s *Subscriber) schedule(e *entry) {
	k := &e.known
	spread := func(d time.Duration) time.Duration {
		return d - d/10 + time.Duration(s.Jitter()*float64(d/5))
	}
	switch {
	case k.Failures > 0:
		wait := min(15*time.Second<<min(k.Failures-1, 20), e.list.Refresh, 6*time.Hour)
		e.due = k.Tried.Add(spread(wait))
		if k.RetryAfter.After(e.due) {
			e.due = k.RetryAfter
		}
	case k.Tried.IsZero():
		e.due = s.Now()
	default:
		e.due = k.Tried.Add(spread(e.list.Refresh))
	}
	if now := s.Now(); k.Tried.After(now) || e.due.After(now.Add(2*e.list.Refresh)) {
		e.due = now // the clock went back
	}
}

// Files of a list: NAME.list is the copy as it was sent, NAME.previous the one
// before it, NAME.held one that waits to be accepted, NAME.json what is known.
func (s *Subscriber) path(name string) string { return filepath.Join(s.Dir, fileName(name)+".list") }

func (s *Subscriber) previousPath(name string) string {
	return filepath.Join(s.Dir, fileName(name)+".previous")
}

func (s *Subscriber) heldPath(name string) string {
	return filepath.Join(s.Dir, fileName(name)+".held")
}

func (s *Subscriber) statePath(name string) string {
	return filepath.Join(s.Dir, fileName(name)+".json")
}

// fileName makes a file's name out of a list's: whatever might lead out of the
// directory, or be the same elsewhere in another case, is written as %XX.
func fileName(name string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(name) {
		c := name[i]
		plain := c-'a' < 26 || c-'0' < 10 || c == '-' || c == '_' || c == '.' && i > 0
		if plain {
			b.WriteByte(c)
		} else {
			b.Write([]byte{'%', hex[c>>4], hex[c&15]})
		}
	}
	return b.String()
}

// Prune removes the files of lists that are not configured any more.
func (s *Subscriber) Prune() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	known := map[string]bool{}
	for _, e := range s.entries {
		known[fileName(e.list.Name)] = true
	}
	entries, err := os.ReadDir(s.Dir)
	if err != nil {
		return err
	}
	for _, f := range entries {
		ext := filepath.Ext(f.Name())
		switch ext {
		case ".list", ".previous", ".held", ".json":
			if !known[strings.TrimSuffix(f.Name(), ext)] {
				err = errors.Join(err, os.Remove(filepath.Join(s.Dir, f.Name())))
			}
		}
	}
	return err
}
