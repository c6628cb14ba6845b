package access

import (
	"slices"
	"strings"
	"time"

	"telltale/sorting"
)

// Tokens of programs.

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
