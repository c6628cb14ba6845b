package access

import (
	"context"
	"slices"
	"strings"
	"time"

	"telltale/sorting"
)

// Who can log in, and links that set a pass phrase.

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
