package web

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"telltale/web/access"
)

// Who can log in, and which programs have tokens: for administrators.

func (o *Options) accounts() ([]Account, error) {
	all := []Account{}
	list, err := o.Access.Accounts()
	for i := range list {
		all = append(all, accountOf(&list[i]))
	}
	return all, refusedAs(nil, err)
}

func accountOf(a *access.Account) Account {
	return Account{
		Name: a.Name, Role: string(a.Role), Devices: a.Devices, MayPause: a.MayPause, Made: a.Made, LastLogIn: timeOrNil(a.LastLogIn),
		OneTime: a.OneTime, Pending: a.Pending, Sessions: a.Sessions,
	}
}

func timeOrNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// account returns the account that settings describe, with its devices by identity.
func (o *Options) account(ctx context.Context, name string, s *AccountSettings) (access.Account, error) {
	a := access.Account{Name: name, Role: access.Role(s.Role), MayPause: s.MayPause}
	for _, word := range s.Devices {
		identity, err := o.Identity(ctx, word)
		if err != nil {
			return a, err
		}
		a.Devices = append(a.Devices, identity)
	}
	return a, nil
}

// describe says in a line of the ledger what an account may do.
func describe(a *access.Account) string {
	text := "with the role " + string(a.Role)
	if a.Role == access.RoleDevice {
		text += ", for " + strings.Join(a.Devices, ", ")
		if a.MayPause {
			text += ", whose blocking it may pause"
		}
	}
	return text
}

func (o *Options) addAccount(ctx context.Context, r *with[NewAccount]) (Link, error) {
	a, err := o.account(ctx, r.Body.Name, &r.Body.AccountSettings)
	if err == nil {
		err = refusedAs(nil, o.Access.AddAccount(a))
	}
	if err != nil {
		return Link{}, err
	}
	o.report("account", a.Name, fmt.Sprintf("made, %s, by %s", describe(&a), Who(ctx)))
	return o.link(a.Name)
}

func (o *Options) changeAccount(ctx context.Context, r *accountRequest) (Account, error) {
	a, err := o.account(ctx, r.Name, &r.Body)
	if err != nil {
		return Account{}, err
	}
	err = o.Access.ChangeAccount(a)
	if err == nil || errors.Is(err, access.ErrUnkept) {
		o.report("account", a.Name, fmt.Sprintf("changed, %s, by %s", describe(&a), Who(ctx)))
	}
	if err != nil {
		return Account{}, refusedAs(nil, err)
	}
	list, err := o.Access.Accounts()
	for i := range list {
		if list[i].Name == r.Name {
			return accountOf(&list[i]), nil
		}
	}
	return Account{}, refusedAs(nil, err)
}

func (o *Options) removeAccount(ctx context.Context, r *nameInPath) (nothing, error) {
	err := o.Access.RemoveAccount(r.Name)
	if err == nil || errors.Is(err, access.ErrUnkept) {
		o.report("account", r.Name, "removed by "+Who(ctx))
	}
	return nothing{}, refusedAs(nil, err)
}

func (o *Options) makeLink(ctx context.Context, r *with[NewLink]) (Link, error) {
	l, err := o.link(r.Body.Account)
	if err == nil {
		o.report("account", r.Body.Account, "a link that sets a pass phrase was made by "+Who(ctx))
	}
	return l, err
}

func (o *Options) link(name string) (Link, error) {
	secret, until, err := o.Access.NewLink(name)
	if err != nil {
		return Link{}, refusedAs(nil, err)
	}
	l := Link{Token: secret, Account: name, Until: until, URLs: []string{}}
	if o.LinkURLs != nil {
		l.URLs = append(l.URLs, o.LinkURLs(secret)...)
	}
	return l, nil
}

func (o *Options) tokens() ([]Token, error) {
	all := []Token{}
	list, err := o.Access.Tokens()
	for i := range list {
		all = append(all, tokenOf(&list[i]))
	}
	return all, refusedAs(nil, err)
}

func tokenOf(t *access.Token) Token {
	return Token{Name: t.Name, Scope: Access(t.Scope), Made: t.Made, MadeBy: t.MadeBy, Expires: timeOrNil(t.Expires), Expired: t.Over, Used: timeOrNil(t.Used)}
}

func (o *Options) addToken(ctx context.Context, r *with[NewToken]) (MadeToken, error) {
	secret, t, err := o.Access.AddToken(r.Body.Name, access.Scope(r.Body.Scope), time.Duration(r.Body.Seconds)*time.Second, Who(ctx))
	if err != nil {
		return MadeToken{}, refusedAs(nil, err)
	}
	until := "until it is revoked"
	if !t.Expires.IsZero() {
		until = "until " + t.Expires.Format(time.RFC3339)
	}
	o.report("token", t.Name, fmt.Sprintf("made by %s, with the scope %s, %s", Who(ctx), t.Scope, until))
	return MadeToken{Token: tokenOf(&t), Secret: secret}, nil
}

func (o *Options) revokeToken(ctx context.Context, r *nameInPath) (nothing, error) {
	err := o.Access.RevokeToken(r.Name)
	if err == nil || errors.Is(err, access.ErrUnkept) {
		o.report("token", r.Name, "revoked by "+Who(ctx))
	}
	return nothing{}, refusedAs(nil, err)
}

// mayPause refuses a pause, or its end, to callers that are limited to some devices, but
// of one of those. It then names it by its identity.
func (o *Options) mayPause(ctx context.Context, kind, of string, name *string) error {
	c := CallerOf(ctx)
	if !c.Limited {
		return nil
	}
	identity, err := "", error(nil)
	if of == "device" {
		identity, err = o.Identity(ctx, *name)
	}
	if err != nil || kind == "observe" || identity == "" || !c.MayPause || !c.MaySee(identity) {
		return Forbidden(errors.New("you may pause blocking for the devices assigned to you, if at all, and for nothing else"))
	}
	*name = identity
	return nil
}
