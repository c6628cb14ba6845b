// Package subscribe keeps lists that are published by URL: it fetches them when
// they are due, refuses what is no better than the copy it has, and keeps the
// last good copy on disk. It does not know what lists are for: the Store of
// package blocklists reads the files.
package subscribe

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"telltale/atomicfile"
)

// Options say where copies are kept and what a download may cost. Zero fields
// mean defaults.
type Options struct {
	Dir   string // copies, and what is known about them; made if missing, 0700
	Lists []List

	// Dial opens connections, so that names are resolved by our own upstreams
	// though this may be its host's only DNS. With Lookup set it is given
	// addresses; otherwise names, and the address it chose is judged once it is
	// connected and before anything is sent. nil for a net.Dialer.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// Lookup resolves a list's host. nil for the system's resolver, or for Dial
	// where that is given.
	Lookup func(ctx context.Context, host string) ([]netip.Addr, error)

	// Known returns names that updates are compared with; nil for none. It is asked
	// when an update has come. An update that newly blocks more than 20 of the
	// essential ones, names that must work, or something below so many, waits for
	// Accept; so does one that newly excepts a listed one, a name that shipped lists
	// block, or something below it, where the list's exceptions hold for other lists.
	// A name that begins with "=" is meant without what is below it.
	Known func() (essential, listed []string, err error)

	// Read says what a download is that is no block list; nil for block lists. What
	// is wrong with the download itself is an error: it is asked for again soon, and
	// the copy stays.
	Read func(path string, l List) (Content, error)

	// ReadOnly only reads what another process keeps in Dir.
	ReadOnly bool

	AllowPrivate bool          // hosts may resolve to private and loopback addresses
	AtOnce       int           // downloads at a time; 0 for 2
	MaxSize      int64         // bytes of a download, and ten times that unpacked; 0 for 128 MiB
	Timeout      time.Duration // of a whole download; 0 for 10 min
	Stall        time.Duration // in which so much of MinRate must come as it says; 0 for 30 s
	MinRate      int64         // bytes a second at least; 0 for 2048

	Changed func(name string) // a copy was replaced; called without any lock held
	// Report receives what belongs into the quality ledger: list-failed,
	// list-held, list-recovered or list-accepted, the list, and a sentence. It must
	// not call back into the Subscriber.
	Report func(kind, subject, detail string)
	Logger *slog.Logger     // nil for none
	Now    func() time.Time // nil for time.Now
	Jitter func() float64   // in [0,1); nil for a random one
}

// A List is one subscription.
type List struct {
	Name    string // unique; the list's name in the log
	URL     string // http or https
	Enabled bool
	Refresh time.Duration // between looks at the server; 0 for 24 h, at least 1 min
	Format  string        // how lines are read, as format.Options has it
	Exact   bool          // the same
	Answers bool          // the same

	Exceptions bool // its exceptions hold for other lists, too

	// Key is the public key of who signs it; "" for a list that nobody signs. Its
	// signature is fetched from the URL with .minisig at the end of its path, and is
	// at the end of the copy: Options.Read compares them, by SplitSigned.
	Key string
}

// A Content is what a download is that is no block list.
type Content struct {
	Rules   int    // entries; at least 1 where it can be put in force
	Problem string // why it can never be put in force; "" where it can
	Refusal string // why it waits to be accepted by hand; "" where it does not
}

// A File is a list's copy on disk.
type File struct {
	Name string
	Path string
	Hash uint64 // XXH64 of what was fetched; 0 where that is not known
	List List   // as it is configured
}

// Status is what there is to say about one list.
type Status struct {
	List               // its URL without the password
	Path     string    // of the copy; "" for none yet
	Rules    int       // in the copy
	Bad      int       // lines of it that cannot be read
	Size     int64     // bytes of the copy, as they were sent
	Fetched  time.Time // when the copy was sent
	Checked  time.Time // when the server last said that it is current
	Next     time.Time // when it is due; zero for a list that is off
	Failures int       // attempts since the last success
	Err      string    // of the last attempt; "" after a success
	Held     *Held     // an update that is not in force; nil for none
	OldURL   string    // where the copy is from, without a password, if not from URL; "" for unknown
	Foreign  bool      // the copy is not known to be from URL
}

// Held is an update that was refused.
type Held struct {
	Reason string
	NoList bool // nothing in it can be read as a rule: Accept refuses it
	At     time.Time
	Rules  int
	Size   int64
	Hash   uint64 // XXH64 of it; 0 where an older program kept it
}

// Outcome is how one refresh ended.
type Outcome uint8

const (
	Failed    Outcome = iota // nothing came: Progress.Err says why
	Unchanged                // the server's copy is ours
	Updated                  // a new copy is in place
	HeldBack                 // a new copy waits for Accept: Progress.Err says why
)

// String names the outcome for a person.
func (o Outcome) String() string {
	return [...]string{"failed", "unchanged", "updated", "held back"}[o]
}

// Progress tells how far a refresh is. Calls for one list come in order.
type Progress struct {
	Name    string
	Bytes   int64 // received so far
	Total   int64 // expected; 0 where the server does not say
	Done    bool
	Outcome Outcome // when Done
	Rules   int     // when Updated
	Err     error
}

// A Subscriber keeps the copies. Its methods may be called by any goroutine.
type Subscriber struct {
	Options
	client *http.Client
	slots  *semaphore.Weighted
	wake   chan struct{} // Run looks again at what is due

	mu      sync.Mutex
	entries []*entry // in configured order
}

// New reads what earlier runs left in Dir, so that Files can be served at once.
// It does not use the network. Where Dir cannot be made, each fetch tries again.
func New(o Options) (*Subscriber, error) {
	if o.Dir == "" {
		return nil, errors.New("subscriptions: no directory for downloads")
	}
	o = o.withDefaults()
	s := &Subscriber{Options: o, slots: semaphore.NewWeighted(int64(o.AtOnce)), wake: make(chan struct{}, 1)}
	s.client = s.newClient()
	if !o.ReadOnly {
		if err := os.MkdirAll(o.Dir, 0o700); err != nil && len(o.Lists) > 0 {
			o.Logger.Error("subscribed lists cannot be kept, nor fetched", "err", err)
		}
		atomicfile.RemoveUnfinished(o.Dir, 0)
	}
	s.Set(o.Lists)
	return s, nil
}

func (o Options) withDefaults() Options {
	o.AtOnce = cmp.Or(o.AtOnce, 2)
	o.MaxSize = cmp.Or(o.MaxSize, 128<<20)
	o.Timeout = cmp.Or(o.Timeout, 10*time.Minute)
	o.Stall = cmp.Or(o.Stall, 30*time.Second)
	o.MinRate = cmp.Or(o.MinRate, 2048)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Jitter == nil {
		o.Jitter = rand.Float64
	}
	if o.Changed == nil {
		o.Changed = func(string) {}
	}
	if o.Report == nil {
		o.Report = func(string, string, string) {}
	}
	return o
}

// Set replaces the lists. What is known about a list stays with its name and
// URL; copies of lists that are gone stay on disk, in case they come back, until
// Prune.
func (s *Subscriber) Set(lists []List) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.entries
	s.entries = nil
	for _, l := range lists {
		l.Refresh = max(cmp.Or(l.Refresh, 24*time.Hour), time.Minute)
		i := slices.IndexFunc(old, func(e *entry) bool { return e.list.Name == l.Name && e.list.URL == l.URL && e.list.Key == l.Key })
		var e *entry
		if i >= 0 {
			e = old[i]
			e.list = l
		} else {
			e = s.load(l)
		}
		s.schedule(e)
		s.entries = append(s.entries, e)
	}
	s.poke()
}

// Files returns the enabled lists that have a copy, in configured order.
func (s *Subscriber) Files() []File {
	s.mu.Lock()
	defer s.mu.Unlock()
	var files []File
	for _, e := range s.entries {
		if e.list.Enabled && e.known.Rules > 0 {
			files = append(files, File{Name: e.list.Name, Path: s.path(e.list.Name), Hash: e.known.Hash, List: e.list})
		}
	}
	return files
}

// Status returns what there is to say about each list, in configured order.
func (s *Subscriber) Status() []Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]Status, 0, len(s.entries))
	for _, e := range s.entries {
		k := &e.known
		st := Status{List: e.list, Rules: k.Rules, Bad: k.Bad, Size: k.Size,
			Fetched: k.Fetched, Checked: k.Checked, Failures: k.Failures, Err: k.Err, Held: k.Held.copy()}
		st.URL = redacted(st.URL)
		st.Foreign, st.OldURL = k.Foreign, redacted(k.OldURL)
		if k.Rules > 0 {
			st.Path = s.path(e.list.Name)
		}
		if e.list.Enabled {
			st.Next = e.due
		}
		all = append(all, st)
	}
	return all
}

// Run fetches lists as they become due, until ctx ends. It returns once every
// download has ended.
func (s *Subscriber) Run(ctx context.Context) error {
	var downloads sync.WaitGroup
	defer downloads.Wait()
	check := time.NewTicker(time.Minute)
	defer check.Stop()
	for {
		due, next := s.due()
		for _, e := range due {
			downloads.Go(func() {
				s.refresh(ctx, e, nil)
				s.poke()
			})
		}
		var timer <-chan time.Time
		stop := func() bool { return false }
		if !next.IsZero() {
			t := time.NewTimer(max(next.Sub(s.Now()), time.Second))
			timer, stop = t.C, t.Stop
		}
		select {
		case <-ctx.Done():
			stop()
			return ctx.Err()
		case <-s.wake:
		case <-check.C:
			s.verify()
		case <-timer:
		}
		stop()
	}
}

// verify looks whether all copies on disk are still what was fetched.
func (s *Subscriber) verify() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.entries {
		if !e.taken { // a download puts another copy in place
			s.verifyLocked(e)
		}
	}
}

// due marks the lists that are due as taken and returns them, and when the next
// will be.
func (s *Subscriber) due() (now []*entry, next time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.Now()
	for _, e := range s.entries {
		switch {
		case !e.list.Enabled || e.taken:
		case !e.due.After(at):
			e.taken = true
			now = append(now, e)
		case next.IsZero() || e.due.Before(next):
			next = e.due
		}
	}
	return now, next
}

// Refresh fetches the named lists now, or every enabled one where names is
// empty, and returns when all have ended. A list that is refused or fails is no
// error of Refresh: progress and Status tell. The error says that a name is
// unknown, or that ctx ended. progress may be nil; it is called by several
// goroutines, but one at a time.
func (s *Subscriber) Refresh(ctx context.Context, names []string, progress func(Progress)) error {
	entries, err := s.named(names)
	if err != nil {
		return err
	}
	var telling sync.Mutex
	tell := func(p Progress) {
		if progress == nil {
			return
		}
		telling.Lock()
		defer telling.Unlock()
		progress(p)
	}
	var downloads sync.WaitGroup
	for _, e := range entries {
		downloads.Go(func() { s.refresh(ctx, e, tell) })
	}
	downloads.Wait()
	s.poke()
	return ctx.Err()
}

// named finds entries by name; all enabled ones for no names.
func (s *Subscriber) named(names []string) ([]*entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []*entry
	if len(names) == 0 {
		for _, e := range s.entries {
			if e.list.Enabled {
				found = append(found, e)
			}
		}
		return found, nil
	}
	for _, name := range names {
		i := slices.IndexFunc(s.entries, func(e *entry) bool { return e.list.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("no subscription is named %q", name)
		}
		found = append(found, s.entries[i])
	}
	return found, nil
}

// poke makes Run look again.
func (s *Subscriber) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (h *Held) copy() *Held {
	if h == nil {
		return nil
	}
	c := *h
	return &c
}
