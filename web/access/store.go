package access

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"telltale/atomicfile"
	"telltale/sorting"
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

// NeedsSetUp reports whether no administrator can log in yet.
func (s *Store) NeedsSetUp() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.readyLocked() == nil && s.state.admins() == 0
}

// NewLink returns the secret of a link by which the pass phrase of an account is set, or
// with "" an account made that may do everything. It takes the place of an earlier one.
func (s *Store) NewLink(name string) (secret string, until time.Time, err error) {
	secret = newSecret()
	err = s.change(func(st *state) error {
		if name != "" && st.account(name) == nil {
			return missing("there is no account %q", name)
		}
		st.Links = slices.DeleteFunc(st.Links, func(l link) bool { return l.Account == name })
		if len(st.Links) >= maxLinks {
			st.Links = slices.Delete(st.Links, 0, 1)
		}
		until = s.now().Add(LinkLife).UTC().Truncate(time.Second)
		st.Links = append(st.Links, link{Digest: digestOf(secret), Account: name, Expires: until})
		return nil
	})
	return secret, until, err
}

// SetUp sets the pass phrase of the account that a link is for, and ends the link. name
// is that of a new account, where the link makes one.
// made says that it is new.
func (s *Store) SetUp(ctx context.Context, secret, name, phrase string) (begun *Begun, made bool, err error) {
	wanted := digestOf(secret)
	s.mu.Lock()
	err = s.readyLocked()
	var found *link
	if err == nil {
		found = s.state.link(wanted, s.now())
		if found == nil {
			err = ErrLink
		}
	}
	if err == nil && found.Account != "" {
		name = found.Account
	}
	s.mu.Unlock()
	if err != nil {
		return nil, false, err
	}
	if err := checkName(name); err != nil {
		return nil, false, err
	}
	if err := checkPassphrase(name, phrase); err != nil {
		return nil, false, err
	}
	hash, err := s.hasher.make(ctx, phrase)
	if err != nil {
		return nil, false, err
	}
	err = s.change(func(st *state) error {
		l := st.link(wanted, s.now()) // it may have been used meanwhile
		if l == nil {
			return ErrLink
		}
		of := l.Account
		st.Links = slices.DeleteFunc(st.Links, func(x link) bool { return x.Digest == wanted })
		a := st.account(name)
		switch {
		case of == "" && a != nil:
			return conflict("there is an account %q: take another name, or 'telltale web link --account %s' for a new pass phrase", name, name)
		case of == "":
			if len(st.Accounts) >= maxAccounts {
				return conflict("there are %d accounts, and no room for more", maxAccounts)
			}
			st.Accounts = append(st.Accounts, newAccount(name, RoleAdmin, s.now()))
			a, made = st.account(name), true
		case a == nil || of != name:
			return ErrLink
		}
		a.CodeSecret, a.CodeStep = nil, 0
		a.LastLogIn = s.now().UTC().Truncate(time.Second)
		begun = st.setPassphrase(a, hash, s.now())
		return nil
	})
	if err != nil {
		return nil, false, err
	}
	return begun, made, nil
}

// setPassphrase gives an account another pass phrase. Its sessions end and its browsers are
// forgotten, but for one that begins here.
func (st *state) setPassphrase(a *account, hash string, now time.Time) *Begun {
	begun := &Begun{Browser: newSecret()}
	a.Passphrase = hash
	a.Browsers = []browser{{digestOf(begun.Browser), now.UTC().Truncate(time.Second)}}
	st.endSessions(a.Name)
	begun.Session, begun.By = st.newSession(a, now)
	return begun
}

// LinkOf returns whose pass phrase a link sets, "" where it makes an account, and until
// when it holds.
func (s *Store) LinkOf(secret string) (name string, until time.Time, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.readyLocked(); err != nil {
		return "", until, err
	}
	l := s.state.link(digestOf(secret), s.now())
	if l == nil {
		return "", until, ErrLink
	}
	return l.Account, l.Expires, nil
}

func newAccount(name string, role Role, now time.Time) account {
	return account{Name: name, Role: role, Made: now.UTC().Truncate(time.Second)}
}

func (st *state) link(d digest, now time.Time) *link {
	for i := range st.Links {
		if l := &st.Links[i]; l.Digest == d && l.holds(now) {
			return l
		}
	}
	return nil
}

// A LogIn is an attempt to log in.
type LogIn struct {
	Name, Passphrase, Code string
	Client                 netip.Addr
	Browser                string // the secret of Begun.Browser, where it was here before
}

// Begun is what the browser of a new session is given.
type Begun struct {
	By      By
	Session string // the secret of the session
	Browser string // the secret by which it is known at the next log-in
}

// LogIn begins a session. Failures slow down the address and the account, or where
// the browser is known, it alone.
func (s *Store) LogIn(ctx context.Context, l LogIn) (*Begun, error) {
	s.mu.Lock()
	if err := s.readyLocked(); err != nil {
		s.mu.Unlock()
		return nil, err
	}
	now := s.now()
	hash := ""
	if a := s.state.account(l.Name); a != nil {
		hash = a.Passphrase
	}
	known := s.state.knows(l.Name, l.Browser, now)
	keys := []string{addressKey(l.Client), "account " + l.Name[:min(len(l.Name), maxName)]}
	if known {
		d := digestOf(l.Browser)
		keys = []string{"browser " + string(d[:])}
	}
	var wait time.Duration
	for _, key := range keys {
		wait = max(wait, s.limits.wait(key, now))
	}
	if wait > 0 {
		s.mu.Unlock()
		return nil, &WaitError{wait}
	}
	for _, key := range keys {
		s.limits.begin(key, now)
	}
	s.mu.Unlock()

	matches, err := false, error(nil)
	if len(l.Passphrase) <= maxPassphrase {
		matches, err = s.hasher.is(ctx, hash, l.Passphrase, known)
	}
	if err != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, key := range keys {
			s.limits.undo(key)
		}
		return nil, err
	}
	if !matches {
		s.logger.Warn("a log-in to the console failed", "client", l.Client)
		return nil, ErrRefused
	}
	begun, err := s.begin(l.Name, hash, l.Code, known, l.Browser)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, key := range keys {
		delete(s.limits, key)
	}
	return begun, nil
}

// knows reports whether a browser was logged in to an account before.
func (st *state) knows(name, secret string, now time.Time) bool {
	a := st.account(name)
	if a == nil || secret == "" {
		return false
	}
	d := digestOf(secret)
	return slices.ContainsFunc(a.Browsers, func(b browser) bool { return b.Digest == d && now.Sub(b.Used) < browserLife })
}

// begin makes a session for whoever knows the pass phrase of which hash was made, if
// the code is right, too.
func (s *Store) begin(name, hash, given string, known bool, was string) (*Begun, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.readyLocked(); err != nil {
		return nil, err
	}
	now := s.now()
	next := s.state.clone()
	a := next.account(name)
	if a == nil || a.Passphrase != hash {
		return nil, ErrRefused // it was changed meanwhile
	}
	if len(a.CodeSecret) > 0 {
		step, ok := codeStepOf(a.CodeSecret, given, a.CodeStep, now)
		if !ok {
			return nil, ErrCode
		}
		a.CodeStep = step
	}
	begun := &Begun{Browser: was}
	if known {
		for i := range a.Browsers {
			if a.Browsers[i].Digest == digestOf(was) {
				a.Browsers[i].Used = now.UTC().Truncate(time.Second)
			}
		}
	} else {
		begun.Browser = newSecret()
		if len(a.Browsers) >= maxBrowsers {
			sorting.By(a.Browsers, func(x, y browser) int { return x.Used.Compare(y.Used) })
			a.Browsers = slices.Delete(a.Browsers, 0, 1)
		}
		a.Browsers = append(a.Browsers, browser{digestOf(begun.Browser), now.UTC().Truncate(time.Second)})
	}
	a.LastLogIn = now.UTC().Truncate(time.Second)
	begun.Session, begun.By = next.newSession(a, now)
	if err := s.writeLocked(next); err != nil {
		if len(a.CodeSecret) > 0 {
			return nil, err // the code could be used again after a restart
		}
		// A full disk must not keep out who could make room.
		s.logger.Warn("a session ends with the next restart", "error", err)
		s.state = next
	}
	return begun, nil
}

// newSession makes a session with a secret of its own, whatever the browser had before.
func (st *state) newSession(a *account, now time.Time) (secret string, by By) {
	secret = newSecret()
	of := 0
	oldest := -1
	for i := range st.Sessions {
		if st.Sessions[i].Account != a.Name {
			continue
		}
		if of++; oldest < 0 || st.Sessions[i].Used.Before(st.Sessions[oldest].Used) {
			oldest = i
		}
	}
	if of >= maxSessions {
		st.Sessions = slices.Delete(st.Sessions, oldest, oldest+1)
	}
	x := session{Digest: digestOf(secret), Account: a.Name, Made: now.UTC().Truncate(time.Second), Used: now.UTC().Truncate(time.Second)}
	st.Sessions = append(st.Sessions, x)
	return secret, a.by(&x)
}

func (a *account) by(x *session) By {
	by := By{Kind: KindAccount, Name: a.Name, Role: a.Role, Scope: a.Role.scope(), Until: x.until(), OneTime: len(a.CodeSecret) > 0, session: x.Digest}
	if a.Role == RoleDevice {
		by.Devices, by.MayPause = append([]string{}, a.Devices...), a.MayPause
	}
	return by
}

// BySession returns who has a session's secret; nil for nobody.
func (s *Store) BySession(secret string) (*By, error) {
	if secret == "" {
		return nil, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.readyLocked(); err != nil {
		return nil, err
	}
	d, now := digestOf(secret), s.now()
	for i := range s.state.Sessions {
		x := &s.state.Sessions[i]
		if x.Digest != d {
			continue
		}
		a := s.state.account(x.Account)
		if a == nil || x.isOver(now) {
			return nil, nil
		}
		s.usedLocked(&x.Used, now)
		by := a.by(x)
		return &by, nil
	}
	return nil, nil
}

// ByToken returns which token has a secret; nil for none.
func (s *Store) ByToken(secret string) (*By, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.readyLocked(); err != nil {
		return nil, err
	}
	secret, ok := strings.CutPrefix(secret, tokenPrefix)
	if !ok {
		return nil, nil
	}
	d, now := digestOf(secret), s.now()
	for i := range s.state.Tokens {
		t := &s.state.Tokens[i]
		if t.Digest != d {
			continue
		}
		if !t.Expires.IsZero() && !now.Before(t.Expires) {
			return nil, nil
		}
		s.usedLocked(&t.Used, now)
		return &By{Kind: KindToken, Name: t.Name, Scope: t.Scope, Until: t.Expires}, nil
	}
	return nil, nil
}

// usedLocked says that something is used now. The file is told now and then.
func (s *Store) usedLocked(at *time.Time, now time.Time) {
	*at = now.UTC().Truncate(time.Second)
	if s.unkept.IsZero() {
		s.unkept = now
	}
	if age := now.Sub(s.unkept); age < keepUse && age >= 0 {
		return
	}
	if err := s.writeLocked(s.state.clone()); err != nil {
		s.unkept = now // not with each request
		s.logger.Warn("when sessions and tokens were last used is not kept", "error", err)
	}
}

// EndSession ends the session that a secret is of, if any.
func (s *Store) EndSession(secret string) error {
	if secret == "" {
		return nil
	}
	d := digestOf(secret)
	is := func(x session) bool { return x.Digest == d }
	s.mu.Lock()
	found := s.broken != nil || slices.ContainsFunc(s.state.Sessions, is)
	s.mu.Unlock()
	if !found {
		return nil
	}
	return s.takeAway(func(st *state) error {
		st.Sessions = slices.DeleteFunc(st.Sessions, is)
		return nil
	})
}

// ChangePassphrase gives the account of a session another pass phrase, ends all its
// sessions, and begins a new one.
func (s *Store) ChangePassphrase(ctx context.Context, by *By, old, phrase string) (*Begun, error) {
	if err := checkPassphrase(by.Name, phrase); err != nil {
		return nil, err
	}
	before, err := s.confirm(ctx, by, old)
	if err != nil {
		return nil, err
	}
	hash, err := s.hasher.make(ctx, phrase)
	if err != nil {
		return nil, err
	}
	var begun *Begun
	err = s.takeAway(func(st *state) error {
		a := st.account(by.Name)
		if a == nil || a.Passphrase != before {
			return ErrRefused
		}
		begun = st.setPassphrase(a, hash, s.now())
		return nil
	})
	return begun, err
}

// confirm checks the pass phrase of who is logged in already. It returns its hash.
func (s *Store) confirm(ctx context.Context, by *By, phrase string) (hash string, err error) {
	key := "session " + string(by.session[:])
	s.mu.Lock()
	err = s.readyLocked()
	if err == nil && by.Kind != KindAccount {
		err = conflict("only the person of an account changes its pass phrase and codes: log in with it")
	}
	var a *account
	if err == nil {
		if a = s.state.account(by.Name); a == nil {
			err = ErrRefused
		} else if wait := s.limits.wait(key, s.now()); wait > 0 {
			err = &WaitError{wait}
		}
	}
	if err == nil {
		hash = a.Passphrase
		s.limits.begin(key, s.now())
	}
	s.mu.Unlock()
	if err != nil {
		return "", err
	}
	ok, err := false, error(nil)
	if len(phrase) <= maxPassphrase {
		ok, err = s.hasher.is(ctx, hash, phrase, true)
	}
	if err == nil && !ok {
		err = ErrRefused
	}
	if err == nil {
		s.mu.Lock()
		delete(s.limits, key)
		s.mu.Unlock()
	}
	return hash, err
}

// BeginCodes returns a secret for one-time codes, as programs read it from a QR code.
// It counts once ConfirmCodes has seen a code.
func (s *Store) BeginCodes(by *By) (uri string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.readyLocked(); err != nil {
		return "", err
	}
	if by.Kind != KindAccount || s.state.account(by.Name) == nil {
		return "", conflict("one-time codes are of an account: log in with it")
	}
	secret := make([]byte, codeBytes)
	rand.Read(secret) // never fails
	s.codes[by.Name] = secret
	return codeURI("Telltale", by.Name, secret), nil
}

// ConfirmCodes has log-ins ask for one-time codes from now on.
func (s *Store) ConfirmCodes(by *By, given string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	secret := s.codes[by.Name]
	if by.Kind != KindAccount || secret == nil {
		return conflict("there is no secret to confirm: ask for one first")
	}
	key, now := "codes "+by.Name, s.now()
	if wait := s.limits.wait(key, now); wait > 0 {
		return &WaitError{wait}
	}
	s.limits.begin(key, now)
	step, ok := codeStepOf(secret, given, 0, now)
	if !ok {
		return ErrCode
	}
	delete(s.limits, key)
	err := s.changeLocked(func(st *state) error {
		a := st.account(by.Name)
		if a == nil {
			return ErrRefused
		}
		a.CodeSecret, a.CodeStep = secret, step
		return nil
	})
	if err == nil {
		delete(s.codes, by.Name)
	}
	return err
}

// RemoveCodes has log-ins ask for no codes any more.
func (s *Store) RemoveCodes(ctx context.Context, by *By, phrase string) error {
	if _, err := s.confirm(ctx, by, phrase); err != nil {
		return err
	}
	return s.change(func(st *state) error {
		a := st.account(by.Name)
		if a == nil {
			return ErrRefused
		}
		a.CodeSecret, a.CodeStep = nil, 0
		return nil
	})
}

// An Account is one as others see it.
type Account struct {
	Name      string
	Role      Role
	Devices   []string
	MayPause  bool
	Made      time.Time
	LastLogIn time.Time // zero: never
	OneTime   bool      // it asks for one-time codes
	Pending   bool      // it has no pass phrase yet
	Sessions  int       // that are not over
}

// Accounts returns all accounts by name.
func (s *Store) Accounts() ([]Account, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.readyLocked(); err != nil {
		return nil, err
	}
	all := []Account{}
	for i := range s.state.Accounts {
		a := &s.state.Accounts[i]
		is := Account{Name: a.Name, Role: a.Role, Devices: slices.Clone(a.Devices), MayPause: a.MayPause, Made: a.Made, LastLogIn: a.LastLogIn, OneTime: len(a.CodeSecret) > 0, Pending: a.Passphrase == ""}
		for k := range s.state.Sessions {
			if x := &s.state.Sessions[k]; x.Account == a.Name && !x.isOver(s.now()) {
				is.Sessions++
			}
		}
		all = append(all, is)
	}
	sorting.By(all, func(a, b Account) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// checkAccount refuses what an account cannot be.
func checkAccount(a *Account) error {
	switch {
	case !slices.Contains(Roles, a.Role):
		return invalid("%q is no role: admin, viewer or device", a.Role)
	case a.Role != RoleDevice && (len(a.Devices) > 0 || a.MayPause):
		return invalid("devices, and whether blocking may be paused for them, are of the role device alone")
	case a.Role == RoleDevice && len(a.Devices) == 0:
		return invalid("an account with the role device takes at least one device")
	case len(a.Devices) > maxOfDevices:
		return invalid("more than %d devices", maxOfDevices)
	}
	return checkName(a.Name)
}

// AddAccount makes an account, whose pass phrase is set by a link.
func (s *Store) AddAccount(a Account) error {
	if err := checkAccount(&a); err != nil {
		return err
	}
	return s.change(func(st *state) error {
		if st.account(a.Name) != nil {
			return conflict("there is an account %q already", a.Name)
		}
		if len(st.Accounts) >= maxAccounts {
			return conflict("there are %d accounts, and no room for more", maxAccounts)
		}
		made := newAccount(a.Name, a.Role, s.now())
		made.Devices, made.MayPause = slices.Clone(a.Devices), a.MayPause
		st.Accounts = append(st.Accounts, made)
		return nil
	})
}

// ChangeAccount gives an account another role and other devices. Its sessions go on,
// with what it may do then. Where it may do less, that is in force also where the file cannot be written, and the error is
// ErrUnkept.
func (s *Store) ChangeAccount(a Account) error {
	if err := checkAccount(&a); err != nil {
		return err
	}
	change := s.change
	if s.lessens(&a) {
		change = s.takeAway
	}
	return change(func(st *state) error {
		is := st.account(a.Name)
		if is == nil {
			return missing("there is no account %q", a.Name)
		}
		is.Role, is.Devices, is.MayPause = a.Role, slices.Clone(a.Devices), a.MayPause
		return st.keepsAdmin(s.state)
	})
}

// lessens reports whether an account may do less by a change, and nothing more.
func (s *Store) lessens(to *Account) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.readyLocked() != nil {
		return false
	}
	is := s.state.account(to.Name)
	switch {
	case is == nil:
		return false
	case is.Role == RoleAdmin:
		return to.Role != RoleAdmin
	case is.Role == RoleViewer:
		return to.Role == RoleDevice && !to.MayPause
	}
	return to.Role == RoleDevice && (is.MayPause || !to.MayPause) && !slices.ContainsFunc(to.Devices, func(d string) bool { return !slices.Contains(is.Devices, d) })
}

// Forget takes devices away from all accounts. One without any sees nothing.
func (s *Store) Forget(devices map[string]bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.readyLocked(); err != nil {
		return err
	}
	for i := range s.state.Accounts {
		if slices.ContainsFunc(s.state.Accounts[i].Devices, func(d string) bool { return devices[d] }) {
			return s.changeLocked(func(st *state) error {
				for i := range st.Accounts {
					st.Accounts[i].Devices = slices.DeleteFunc(st.Accounts[i].Devices, func(d string) bool { return devices[d] })
				}
				return nil
			})
		}
	}
	return nil
}

// RemoveAccount removes an account, its sessions and its links.
func (s *Store) RemoveAccount(name string) error {
	return s.takeAway(func(st *state) error {
		if st.account(name) == nil {
			return missing("there is no account %q", name)
		}
		st.Accounts = slices.DeleteFunc(st.Accounts, func(a account) bool { return a.Name == name })
		st.Links = slices.DeleteFunc(st.Links, func(l link) bool { return l.Account == name })
		st.endSessions(name)
		delete(s.codes, name)
		return st.keepsAdmin(s.state)
	})
}

// keepsAdmin refuses a change after which nobody could log in who may do everything.
func (st *state) keepsAdmin(before *state) error {
	if before.admins() > 0 && st.admins() == 0 {
		return conflict("it is the last account that may do everything: make another first ('telltale web link')")
	}
	return nil
}

// tokenPrefix begins each token, so that people and programs that look for secrets in
// files know what it is.
const tokenPrefix = "telltale_"

// A Token is one as others see it.
type Token struct {
	Name    string
	Scope   Scope
	Made    time.Time
	MadeBy  string
	Expires time.Time // zero: never
	Used    time.Time // zero: never
	Over    bool      // it has expired
}

// Tokens returns all tokens by name.
func (s *Store) Tokens() ([]Token, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.readyLocked(); err != nil {
		return nil, err
	}
	all := []Token{}
	for _, t := range s.state.Tokens {
		all = append(all, Token{t.Name, t.Scope, t.Made, t.MadeBy, t.Expires, t.Used, !t.Expires.IsZero() && !s.now().Before(t.Expires)})
	}
	sorting.By(all, func(a, b Token) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// AddToken makes a token and returns it; it is kept nowhere. It ends after life, or with
// zero not by itself.
func (s *Store) AddToken(name string, scope Scope, life time.Duration, by string) (secret string, t Token, err error) {
	if err := checkName(name); err != nil {
		return "", t, err
	}
	if !slices.Contains(Scopes, scope) {
		return "", t, invalid("%q is no scope: read, rules or admin", scope)
	}
	if life < 0 || life > maxTokenLife {
		return "", t, invalid("a token lasts for at most 3650 days, or with 0 until it is revoked")
	}
	secret = newSecret()
	made := token{Digest: digestOf(secret), Name: name, Scope: scope, Made: s.now().UTC().Truncate(time.Second), MadeBy: by}
	if life > 0 {
		made.Expires = made.Made.Add(life)
	}
	err = s.change(func(st *state) error {
		now := s.now()
		st.Tokens = slices.DeleteFunc(st.Tokens, func(t token) bool { // one that is over makes room
			return t.Name == name && !t.Expires.IsZero() && !now.Before(t.Expires)
		})
		if slices.ContainsFunc(st.Tokens, func(t token) bool { return t.Name == name }) {
			return conflict("there is a token %q already: revoke it first, or take another name", name)
		}
		if len(st.Tokens) >= maxTokens {
			return conflict("there are %d tokens, and no room for more: revoke some", maxTokens)
		}
		st.Tokens = append(st.Tokens, made)
		return nil
	})
	if err != nil {
		return "", t, err
	}
	return tokenPrefix + secret, Token{made.Name, made.Scope, made.Made, made.MadeBy, made.Expires, made.Used, false}, nil
}

// RevokeToken ends a token at once.
func (s *Store) RevokeToken(name string) error {
	return s.takeAway(func(st *state) error {
		n := len(st.Tokens)
		st.Tokens = slices.DeleteFunc(st.Tokens, func(t token) bool { return t.Name == name })
		if len(st.Tokens) == n {
			return missing("there is no token %q", name)
		}
		return nil
	})
}
