package access

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"telltale/atomicfile"
)

// How long things last.
const (
	LinkLife     = time.Hour           // of a link by which a pass phrase is set
	idleLife     = 3 * 24 * time.Hour  // of a session that is not used
	sessionLife  = 30 * 24 * time.Hour // of any session
	browserLife  = 365 * 24 * time.Hour
	keepUse      = time.Hour // how exactly the file knows when something was last used
	maxAccounts  = 100
	maxTokens    = 100
	maxLinks     = 20
	maxSessions  = 20 // of an account
	maxBrowsers  = 10 // of an account
	maxOfDevices = 100
	maxTokenLife = 10 * 365 * 24 * time.Hour
)

// fileVersion is that of the file. A later one is not read.
const fileVersion = 1

// state is what the file has. Its keys never change within a version.
type state struct {
	Version  int       `json:"version"`
	Accounts []account `json:"accounts"`
	Sessions []session `json:"sessions"`
	Tokens   []token   `json:"tokens"`
	Links    []link    `json:"links"`
}

type account struct {
	Name       string    `json:"name"`
	Role       Role      `json:"role"`
	Devices    []string  `json:"devices,omitempty"`
	MayPause   bool      `json:"may_pause,omitempty"`
	Made       time.Time `json:"made"`
	Passphrase string    `json:"passphrase,omitempty"` // its hash; none until a link was used
	CodeSecret []byte    `json:"code_secret,omitempty"`
	CodeStep   uint64    `json:"code_step,omitempty"` // the last that was used
	Browsers   []browser `json:"browsers,omitempty"`
	LastLogIn  time.Time `json:"last_log_in,omitzero"`
}

// A browser was logged in before: what strangers do does not keep it out.
type browser struct {
	Digest digest    `json:"digest"`
	Used   time.Time `json:"used"`
}

type session struct {
	Digest  digest    `json:"digest"`
	Account string    `json:"account"`
	Made    time.Time `json:"made"`
	Used    time.Time `json:"used"`
}

func (s *session) until() time.Time { return s.Made.Add(sessionLife) }

func (s *session) isOver(now time.Time) bool {
	return !now.Before(s.until()) || now.Sub(s.Used) > idleLife || s.Made.Sub(now) > sessionLife
}

type token struct {
	Digest  digest    `json:"digest"`
	Name    string    `json:"name"`
	Scope   Scope     `json:"scope"`
	Made    time.Time `json:"made"`
	MadeBy  string    `json:"made_by"`
	Expires time.Time `json:"expires,omitzero"` // zero: never
	Used    time.Time `json:"used,omitzero"`
}

// A link lets whoever has it set the pass phrase of an account, once.
type link struct {
	Digest  digest    `json:"digest"`
	Account string    `json:"account,omitempty"` // "": makes one with RoleAdmin
	Expires time.Time `json:"expires"`
}

// Options are what a Store takes.
type Options struct {
	Logger *slog.Logger
	Now    func() time.Time
	Memory uint32 // KiB for a hash of a pass phrase; 0: hashMemory. For tests
}

// A Store is who may use the API from the network. Any goroutine may use it.
type Store struct {
	path   string
	logger *slog.Logger
	now    func() time.Time
	hasher *hasher

	mu     sync.Mutex
	state  *state
	broken error // why the file cannot be used; nil where it can
	limits limits
	codes  map[string][]byte // secrets for codes that are not confirmed, by account
	unkept time.Time         // since when uses are not in the file; zero where all are
}

// Open reads the file at path. Where it cannot be read, nobody gets in until it is put
// right, and Err says why.
func Open(path string, o Options) *Store {
	s := &Store{path: path, logger: o.Logger, now: o.Now, limits: limits{}, codes: map[string][]byte{}}
	if s.logger == nil {
		s.logger = slog.New(slog.DiscardHandler)
	}
	if s.now == nil {
		s.now = time.Now
	}
	if o.Memory == 0 {
		o.Memory = hashMemory
	}
	s.hasher = newHasher(o.Memory)
	s.state, s.broken = readState(path)
	return s
}

// Close keeps when sessions and tokens were last used.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken != nil || s.unkept.IsZero() {
		return nil
	}
	return s.writeLocked(s.state)
}

// Err says why nobody gets in; nil where they do.
func (s *Store) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.readyLocked()
}

// readyLocked reads a file again that could not be read before.
func (s *Store) readyLocked() error {
	if s.broken == nil {
		return nil
	}
	st, err := readState(s.path)
	if err != nil {
		s.broken = err
		return marked{fmt.Errorf("%w: %v", ErrBroken, err), ErrBroken}
	}
	s.state, s.broken = st, nil
	s.logger.Info("the accounts can be read again", "file", s.path)
	return nil
}

// maxFile bounds what is read.
const maxFile = 4 << 20

func readState(path string) (*state, error) {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return &state{Version: fileVersion}, nil
	}
	if err != nil {
		return nil, err
	}
	switch mode := info.Mode(); {
	case !mode.IsRegular():
		return nil, fmt.Errorf("%s is no regular file: move it away", path)
	case mode.Perm()&0o077 != 0:
		return nil, fmt.Errorf("%s may be read or changed by others (mode %04o): chmod 600 %s, and make tokens and pass phrases anew if somebody did", path, mode.Perm(), path)
	case info.Size() > maxFile:
		return nil, fmt.Errorf("%s has %d octets, more than it can have: move it away, or restore it", path, info.Size())
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	st := &state{}
	if err := json.Unmarshal(text, st); err != nil {
		return nil, fmt.Errorf("%s: %w: restore it from a backup, or move it away and make accounts anew by 'telltale web link'", path, err)
	}
	if err := st.check(); err != nil {
		return nil, fmt.Errorf("%s: %w: restore it from a backup, or move it away and make accounts anew by 'telltale web link'", path, err)
	}
	return st, nil
}

// check refuses what no Store wrote.
func (st *state) check() error {
	if st.Version != fileVersion {
		return fmt.Errorf("it is of version %d, and this program reads version %d", st.Version, fileVersion)
	}
	if len(st.Accounts) > maxAccounts || len(st.Tokens) > maxTokens {
		return errors.New("it has too many accounts or tokens")
	}
	seen := map[string]bool{}
	for i := range st.Accounts {
		a := &st.Accounts[i]
		if err := checkName(a.Name); err != nil || seen[a.Name] || !slices.Contains(Roles, a.Role) {
			return fmt.Errorf("account %q has no name, a second one, or no role", a.Name)
		}
		seen[a.Name] = true
		if _, err := parseHash(a.Passphrase); a.Passphrase != "" && err != nil {
			return fmt.Errorf("account %s: %w", a.Name, err)
		}
	}
	clear(seen)
	for i := range st.Tokens {
		t := &st.Tokens[i]
		if err := checkName(t.Name); err != nil || seen[t.Name] || !slices.Contains(Scopes, t.Scope) {
			return fmt.Errorf("token %q has no name, a second one, or no scope", t.Name)
		}
		seen[t.Name] = true
	}
	return nil
}

// writeLocked puts a state in the file, and in force where that is possible.
func (s *Store) writeLocked(st *state) error {
	now := s.now()
	st.Sessions = slices.DeleteFunc(st.Sessions, func(x session) bool { return x.isOver(now) || st.account(x.Account) == nil })
	st.Links = slices.DeleteFunc(st.Links, func(l link) bool { return !l.holds(now) })
	text, err := json.MarshalIndent(st, "", "  ")
	if err != nil {
		return err
	}
	if err := atomicfile.Write(s.path, append(text, '\n'), 0o600); err != nil {
		return fmt.Errorf("the accounts cannot be written: %w", err)
	}
	s.state, s.unkept = st, time.Time{}
	return nil
}

func (l *link) holds(now time.Time) bool {
	return now.Before(l.Expires) && l.Expires.Sub(now) <= LinkLife
}

// change puts what f makes of a copy of the state in the file and in force, or nothing.
func (s *Store) change(f func(*state) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changeLocked(f)
}

func (s *Store) changeLocked(f func(*state) error) error {
	if err := s.readyLocked(); err != nil {
		return err
	}
	next := s.state.clone()
	if err := f(next); err != nil {
		return err
	}
	return s.writeLocked(next)
}

// takeAway is change for what takes access away: where the file cannot be written it is in
// force all the same, and the error is ErrUnkept. The next state that is written has it.
func (s *Store) takeAway(f func(*state) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var next *state
	err := s.changeLocked(func(st *state) error {
		err := f(st)
		if err == nil {
			next = st
		}
		return err
	})
	if err == nil || next == nil {
		return err
	}
	s.state = next
	if s.unkept.IsZero() {
		s.unkept = s.now()
	}
	return marked{fmt.Errorf("it is in force, but a restart may undo it: %w (make room, and do it again or change something else of accounts)", err), ErrUnkept}
}

func (st *state) clone() *state {
	c := *st
	c.Accounts, c.Sessions, c.Tokens, c.Links = slices.Clone(st.Accounts), slices.Clone(st.Sessions), slices.Clone(st.Tokens), slices.Clone(st.Links)
	for i := range c.Accounts {
		a := &c.Accounts[i]
		a.Devices, a.Browsers = slices.Clone(a.Devices), slices.Clone(a.Browsers)
	}
	return &c
}

// account returns an account that may be changed with the state; nil for none.
func (st *state) account(name string) *account {
	for i := range st.Accounts {
		if st.Accounts[i].Name == name {
			return &st.Accounts[i]
		}
	}
	return nil
}

func (st *state) endSessions(name string) {
	st.Sessions = slices.DeleteFunc(st.Sessions, func(x session) bool { return x.Account == name })
}

// admins counts accounts that can get in and do everything.
func (st *state) admins() (n int) {
	for i := range st.Accounts {
		if a := &st.Accounts[i]; a.Role == RoleAdmin && a.Passphrase != "" {
			n++
		}
	}
	return n
}
