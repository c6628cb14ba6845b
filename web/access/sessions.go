package access

import (
	"context"
	"crypto/rand"
	"net/netip"
	"slices"
	"time"

	"telltale/sorting"
)

// Log-ins, sessions, and what people change of their own account.

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
