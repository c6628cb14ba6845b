package web

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"telltale/web/access"
)

// A Session says who asks, and what they may do. It can be asked for by anybody.
type Session struct {
	LoggedIn   bool       `json:"logged_in"`
	NeedsSetUp bool       `json:"needs_setup" doc:"No administrator can log in yet: the first account is made by a link that the server prints."`
	Problem    string     `json:"problem,omitempty" doc:"Why nobody can log in."`
	Kind       string     `json:"kind,omitempty" doc:"account, token, or command: the control socket."`
	Name       string     `json:"name,omitempty"`
	Role       string     `json:"role,omitempty" doc:"admin, viewer or device."`
	Access     Access     `json:"access,omitempty" doc:"What is allowed: read, rules or admin, each with those before it."`
	Devices    []string   `json:"devices,omitempty" doc:"Identities of the only devices that may be seen; of the role device."`
	MayPause   bool       `json:"may_pause,omitempty" doc:"Blocking may be paused for these devices; of the role device."`
	OneTime    bool       `json:"one_time_codes,omitempty" doc:"Log-ins ask for a one-time code, too."`
	Until      *time.Time `json:"until,omitempty" doc:"When it ends at the latest. One that is not used for three days ends then."`
}

// A NewSession is an attempt to log in.
type NewSession struct {
	Name       string `json:"name" minLength:"1" maxLength:"64"`
	Passphrase string `json:"passphrase" minLength:"1" maxLength:"512"`
	Code       string `json:"code,omitempty" maxLength:"6" doc:"The one-time code, of an account that asks for one."`
}

// A LinkToken is what is behind the # of a link.
type LinkToken struct {
	Token string `json:"token" minLength:"1" maxLength:"100"`
}

// SetUp uses a link.
type SetUp struct {
	Token      string `json:"token" minLength:"1" maxLength:"100" doc:"What is behind the # of the link."`
	Name       string `json:"name,omitempty" maxLength:"64" doc:"Of the account that is made, where the link makes one: a to z, 0 to 9, and - _ . @."`
	Passphrase string `json:"passphrase" minLength:"10" maxLength:"512"`
}

// LinkOf says what a link is for.
type LinkOf struct {
	Account string    `json:"account,omitempty" doc:"Whose pass phrase it sets. Not there: it makes an account that may do everything."`
	Until   time.Time `json:"until"`
}

// NewPassphrase changes the pass phrase of whoever is logged in.
type NewPassphrase struct {
	Old string `json:"old" minLength:"1" maxLength:"512"`
	New string `json:"new" minLength:"10" maxLength:"512"`
}

// A Code is a one-time code.
type Code struct {
	Code string `json:"code" minLength:"6" maxLength:"6"`
}

// A Passphrase confirms who asks.
type Passphrase struct {
	Passphrase string `json:"passphrase" minLength:"1" maxLength:"512"`
}

// A CodeSecret is what a program for one-time codes is given.
type CodeSecret struct {
	URI string `json:"uri" doc:"As such programs read it from a QR code: otpauth://totp/..."`
}

// An Account is a person who can log in.
type Account struct {
	Name      string     `json:"name"`
	Role      string     `json:"role" enum:"admin,viewer,device"`
	Devices   []string   `json:"devices,omitempty" doc:"Identities of the devices that it sees; of the role device."`
	MayPause  bool       `json:"may_pause,omitempty"`
	Made      time.Time  `json:"made"`
	LastLogIn *time.Time `json:"last_log_in,omitempty"`
	OneTime   bool       `json:"one_time_codes,omitempty"`
	Pending   bool       `json:"pending,omitempty" doc:"It has no pass phrase yet: a link sets it."`
	Sessions  int        `json:"sessions"`
}

// AccountSettings are what an administrator says of an account.
type AccountSettings struct {
	Role     string   `json:"role" enum:"admin,viewer,device"`
	Devices  []string `json:"devices,omitempty" maxItems:"100" doc:"Of the role device: names, identities, MACs or addresses."`
	MayPause bool     `json:"may_pause,omitempty" doc:"Of the role device."`
}

// A NewAccount makes one.
type NewAccount struct {
	Name string `json:"name" minLength:"1" maxLength:"64" doc:"a to z, 0 to 9, and - _ . @."`
	AccountSettings
}

// NewLink asks for a link.
type NewLink struct {
	Account string `json:"account,omitempty" maxLength:"64" doc:"Whose pass phrase it sets. Not there: it makes an account that may do everything."`
}

// A Link lets whoever opens it set a pass phrase, once.
type Link struct {
	Token   string    `json:"token"`
	Account string    `json:"account,omitempty"`
	Until   time.Time `json:"until"`
	URLs    []string  `json:"urls" doc:"By the addresses of this machine. Empty where web.listen is not set."`
}

// A Token lets a program in.
type Token struct {
	Name    string     `json:"name"`
	Scope   Access     `json:"scope" enum:"read,rules,admin"`
	Made    time.Time  `json:"made"`
	MadeBy  string     `json:"made_by"`
	Expires *time.Time `json:"expires,omitempty" doc:"Not there: it does not expire."`
	Expired bool       `json:"expired,omitempty"`
	Used    *time.Time `json:"used,omitempty" doc:"When it was last used."`
}

// A NewToken asks for one.
type NewToken struct {
	Name    string `json:"name" minLength:"1" maxLength:"64" doc:"a to z, 0 to 9, and - _ . @."`
	Scope   Access `json:"scope" enum:"read,rules,admin"`
	Seconds int64  `json:"seconds" minimum:"0" maximum:"315360000" doc:"After which it expires; 0: not by itself."`
}

// A MadeToken is one with its secret, which is told this once.
type MadeToken struct {
	Token
	Secret string `json:"secret" doc:"To be sent as Authorization: Bearer SECRET. It is kept nowhere."`
}

type nameInPath struct {
	Name string `path:"name" maxLength:"64"`
}

type accountRequest struct {
	Name string `path:"name" maxLength:"64"`
	Body AccountSettings
}

func registerAccess(api huma.API, o *Options) {
	refused := func(op huma.Operation, codes ...int) huma.Operation {
		op.Errors = append(codes, op.Errors...)
		return forDevices(op)
	}
	add(api, forDevices(operation(http.MethodGet, "/session", "get-session", "Who asks, and what they may do", http.StatusOK)), o.session)
	add(api, refused(operation(http.MethodPost, "/session", "log-in", "Log in: a cookie is set", http.StatusOK), 401, 429, 503), o.logIn)
	add(api, refused(operation(http.MethodDelete, "/session", "log-out", "Log out", http.StatusNoContent)), o.logOut)
	add(api, refused(operation(http.MethodPost, "/setup", "set-up", "Use a link: make the first account, or set a pass phrase; and log in", http.StatusCreated), 403, 503), o.setUp)
	add(api, refused(operation(http.MethodPost, "/setup/link", "look-at-link", "What a link is for", http.StatusOK), 403), o.linkOf)
	add(api, refused(operation(http.MethodPut, "/account/passphrase", "change-passphrase", "Change one's own pass phrase; all other sessions end", http.StatusOK), 401, 429), o.changePassphrase)
	add(api, refused(operation(http.MethodPost, "/account/codes", "begin-codes", "Get a secret for one-time codes; it counts once a code was shown", http.StatusOK)), o.beginCodes)
	add(api, refused(operation(http.MethodPut, "/account/codes", "confirm-codes", "Show a code: log-ins ask for one from now on", http.StatusNoContent), 401, 429), o.confirmCodes)
	add(api, refused(operation(http.MethodPost, "/account/codes/remove", "remove-codes", "Have log-ins ask for no codes any more", http.StatusNoContent), 401, 429), o.removeCodes)

	add(api, operation(http.MethodGet, "/accounts", "get-accounts", "Who can log in", http.StatusOK),
		func(context.Context, *nothing) ([]Account, error) { return o.accounts() })
	add(api, operation(http.MethodPost, "/accounts", "add-account", "Make an account, and a link that sets its pass phrase", http.StatusCreated), o.addAccount)
	add(api, operation(http.MethodPut, "/accounts/{name}", "change-account", "Give an account another role, or other devices", http.StatusOK), o.changeAccount)
	add(api, operation(http.MethodDelete, "/accounts/{name}", "remove-account", "Remove an account; its sessions end", http.StatusNoContent), o.removeAccount)
	add(api, operation(http.MethodPost, "/links", "make-link", "Make a link that sets the pass phrase of an account, or makes one; it holds for an hour and once", http.StatusCreated), o.makeLink)
	add(api, operation(http.MethodGet, "/tokens", "get-tokens", "Which tokens there are; none is told", http.StatusOK),
		func(context.Context, *nothing) ([]Token, error) { return o.tokens() })
	add(api, operation(http.MethodPost, "/tokens", "add-token", "Make a token for a program; it is told this once", http.StatusCreated), o.addToken)
	add(api, operation(http.MethodDelete, "/tokens/{name}", "revoke-token", "End a token at once", http.StatusNoContent), o.revokeToken)
}

// A visit is what an operation of accounts needs of a request from the network.
type visit struct {
	by               *access.By // nil: nobody
	client           netip.Addr
	cookies          cookies
	session, browser string      // secrets of the cookies that came
	header           http.Header // of the response
}

type visitKey struct{}

// visitOf returns the visit that a request is; nil for one of the control socket.
func visitOf(ctx context.Context) *visit {
	v, _ := ctx.Value(visitKey{}).(*visit)
	return v
}

var errSocket = errors.New("the control socket has no log-in: who can open it may do everything")

// refusedAs returns what the client gets for an error of package access.
func refusedAs(v *visit, err error) error {
	var wait *access.WaitError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &wait):
		if v != nil {
			v.header.Set("Retry-After", strconv.Itoa(int(wait.Wait.Seconds())+1))
		}
		return huma.Error429TooManyRequests(err.Error())
	case errors.Is(err, access.ErrCode):
		return huma.Error401Unauthorized(err.Error(), &huma.ErrorDetail{Location: "body.code", Message: "a one-time code is asked for"})
	case errors.Is(err, access.ErrRefused):
		return huma.Error401Unauthorized(err.Error())
	case errors.Is(err, access.ErrLink):
		return Forbidden(err)
	case errors.Is(err, access.ErrBroken) && v != nil:
		return huma.Error503ServiceUnavailable(brokenForStrangers)
	case errors.Is(err, access.ErrBusy), errors.Is(err, access.ErrBroken), errors.Is(err, context.Canceled):
		if v != nil {
			v.header.Set("Retry-After", "5")
		}
		return huma.Error503ServiceUnavailable(err.Error())
	case errors.Is(err, access.ErrUnkept):
		return huma.Error500InternalServerError(err.Error())
	case errors.Is(err, access.ErrNotFound):
		return NotFound(err)
	case errors.Is(err, access.ErrInvalid):
		return Invalid(err)
	}
	return err // 409
}

func (o *Options) session(ctx context.Context, _ *nothing) (Session, error) {
	v := visitOf(ctx)
	if v == nil {
		return Session{LoggedIn: true, Kind: "command", Access: Admin, NeedsSetUp: o.Access.NeedsSetUp(), Problem: errorText(o.Access.Err())}, nil
	}
	return o.sessionOf(v.by), nil
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// brokenForStrangers says nothing of files.
var brokenForStrangers = access.ErrBroken.Error() + ": the server's messages say why"

// sessionOf describes who somebody is; nil is nobody.
func (o *Options) sessionOf(by *access.By) Session {
	if by == nil {
		s := Session{NeedsSetUp: o.Access.NeedsSetUp()}
		if o.Access.Err() != nil {
			s.Problem = brokenForStrangers
		}
		return s
	}
	c := callerOf(by)
	s := Session{LoggedIn: true, Kind: string(by.Kind), Name: by.Name, Role: string(by.Role), Access: c.Access, Devices: by.Devices, MayPause: by.MayPause, OneTime: by.OneTime}
	if !by.Until.IsZero() {
		s.Until = &by.Until
	}
	return s
}

// callerOf returns what somebody may call.
func callerOf(by *access.By) Caller {
	if by == nil {
		return Caller{}
	}
	c := Caller{Name: by.String(), Access: Access(by.Scope), Limited: by.Restricted(), Devices: by.Devices, MayPause: by.MayPause}
	if c.Limited && c.MayPause {
		c.Access = Rules // permit leaves it what keeps to its devices: pausing
	}
	return c
}

// give sets the cookies of a session that has begun.
func (o *Options) give(v *visit, b *access.Begun) Session {
	o.Access.EndSession(v.session) // none goes on under an id that was there before; an error is that it is not kept
	v.cookies.set(v.header, sessionCookie, b.Session, b.By.Until)
	v.cookies.set(v.header, browserCookie, b.Browser, time.Now().AddDate(1, 0, 0))
	return o.sessionOf(&b.By)
}

func (o *Options) logIn(ctx context.Context, r *with[NewSession]) (Session, error) {
	v := visitOf(ctx)
	if v == nil {
		return Session{}, errSocket
	}
	b, err := o.Access.LogIn(ctx, access.LogIn{Name: r.Body.Name, Passphrase: r.Body.Passphrase, Code: r.Body.Code, Client: v.client, Browser: v.browser})
	if err != nil {
		return Session{}, refusedAs(v, err)
	}
	return o.give(v, b), nil
}

func (o *Options) logOut(ctx context.Context, _ *nothing) (nothing, error) {
	v := visitOf(ctx)
	if v == nil {
		return nothing{}, errSocket
	}
	err := o.Access.EndSession(v.session)
	v.cookies.set(v.header, sessionCookie, "", time.Time{})
	return nothing{}, refusedAs(v, err)
}

func (o *Options) linkOf(_ context.Context, r *with[LinkToken]) (LinkOf, error) {
	name, until, err := o.Access.LinkOf(r.Body.Token)
	return LinkOf{Account: name, Until: until}, refusedAs(nil, err)
}

func (o *Options) setUp(ctx context.Context, r *with[SetUp]) (Session, error) {
	v := visitOf(ctx)
	b, made, err := o.Access.SetUp(ctx, r.Body.Token, r.Body.Name, r.Body.Passphrase)
	if err != nil {
		return Session{}, refusedAs(v, err)
	}
	if name := b.By.Name; made {
		o.report("account", name, "made, with the role admin, by a link")
	} else {
		o.report("account", name, "its pass phrase was set by a link")
	}
	if v == nil { // no browser is there to go on with the session
		o.Access.EndSession(b.Session)
		return o.session(ctx, nil)
	}
	return o.give(v, b), nil
}

// report writes a line of the ledger on who may do what.
func (o *Options) report(kind, subject, detail string) {
	if o.Report != nil {
		o.Report(kind, subject, detail)
	}
}

// loggedIn returns the visit of somebody with an account.
func loggedIn(ctx context.Context) (*visit, error) {
	switch v := visitOf(ctx); {
	case v == nil:
		return nil, errSocket
	case v.by == nil || v.by.Kind != access.KindAccount:
		return nil, Forbidden(errors.New("this is for the person of an account: log in with it"))
	default:
		return v, nil
	}
}

func (o *Options) changePassphrase(ctx context.Context, r *with[NewPassphrase]) (Session, error) {
	v, err := loggedIn(ctx)
	if err != nil {
		return Session{}, err
	}
	b, err := o.Access.ChangePassphrase(ctx, v.by, r.Body.Old, r.Body.New)
	if err != nil && !errors.Is(err, access.ErrUnkept) {
		return Session{}, refusedAs(v, err)
	}
	o.report("account", v.by.Name, "changed its pass phrase; its sessions ended")
	return o.give(v, b), refusedAs(v, err)
}

func (o *Options) beginCodes(ctx context.Context, _ *nothing) (CodeSecret, error) {
	v, err := loggedIn(ctx)
	if err != nil {
		return CodeSecret{}, err
	}
	uri, err := o.Access.BeginCodes(v.by)
	return CodeSecret{uri}, refusedAs(v, err)
}

func (o *Options) confirmCodes(ctx context.Context, r *with[Code]) (nothing, error) {
	v, err := loggedIn(ctx)
	if err == nil {
		err = refusedAs(v, o.Access.ConfirmCodes(v.by, r.Body.Code))
	}
	if err == nil {
		o.report("account", v.by.Name, "asks for one-time codes from now on")
	}
	return nothing{}, err
}

func (o *Options) removeCodes(ctx context.Context, r *with[Passphrase]) (nothing, error) {
	v, err := loggedIn(ctx)
	if err == nil {
		err = refusedAs(v, o.Access.RemoveCodes(ctx, v.by, r.Body.Passphrase))
	}
	if err == nil {
		o.report("account", v.by.Name, "asks for no one-time codes any more")
	}
	return nothing{}, err
}
