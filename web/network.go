package web

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	pathpkg "path"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"telltale/web/access"
)

// NetworkSettings are how a Network may be called. They never change.
type NetworkSettings struct {
	// Path is in front of every path, such as "/telltale"; "" for none.
	Path string
	// Hosts are names by which browsers may call it. By any address, and by localhost,
	// they always may.
	Hosts []string
	// Proxies are believed what they say of the client, the host and the scheme.
	Proxies []netip.Prefix
}

// A Network answers requests from the network: those of the API for who is logged in or
// has a token, and the console's files for everybody.
type Network struct {
	api      http.Handler
	files    http.Handler
	access   *access.Store
	logger   *slog.Logger
	settings atomic.Pointer[NetworkSettings]
	recheck  time.Duration
}

// recheckEvery is how long a request at most outlives the session, token or role that
// it was let in by: a stream ends then.
const recheckEvery = 15 * time.Second

// NewNetwork returns what answers by api, a Handler, and by files, those of the console.
func NewNetwork(api, files http.Handler, who *access.Store, logger *slog.Logger) *Network {
	n := &Network{api: api, files: files, access: who, logger: logger, recheck: recheckEvery}
	n.Use(&NetworkSettings{})
	return n
}

// Use puts settings in force.
func (n *Network) Use(s *NetworkSettings) { n.settings.Store(s) }

// policy is what a page of ours may load, and who may show it: our own scripts and
// styles, in files, and nobody. Text becomes HTML by Svelte alone, whose templates are ours.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; manifest-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; " +
	"require-trusted-types-for 'script'; trusted-types svelte-trusted-html"

// bodyTime is how long the body of a request may take.
const bodyTime = 30 * time.Second

func (n *Network) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s := n.settings.Load()
	h := w.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY") // for browsers that know no frame-ancestors
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
	h.Set("Cache-Control", "no-store")

	from := s.originOf(r)
	if !s.isCalled(from.host) {
		refuse(w, http.StatusMisdirectedRequest, fmt.Sprintf("this server is not called %q: if it is, add that name to web.hosts", from.host))
		return
	}
	path, ok := strings.CutPrefix(r.URL.Path, s.Path)
	if !ok || path != "" && path[0] != '/' {
		refuse(w, http.StatusNotFound, "nothing is here: web.path is "+s.Path)
		return
	}
	if path == "" {
		http.Redirect(w, r, s.Path+"/", http.StatusPermanentRedirect)
		return
	}
	if path != Prefix && !strings.HasPrefix(path, Prefix+"/") {
		n.files.ServeHTTP(w, withPath(r, path, ""))
		return
	}
	raw, _ := strings.CutPrefix(r.URL.EscapedPath(), (&url.URL{Path: s.Path}).EscapedPath())
	n.serveAPI(w, withPath(r, path, raw), s, &from)
}

// withPath returns a request for another path. raw is that path as it came, by which a slash in a
// parameter is told from one between them; where it is not path escaped, it does not count.
func withPath(r *http.Request, path, raw string) *http.Request {
	c := r.WithContext(r.Context())
	u := *r.URL
	u.Path, u.RawPath = path, raw
	c.URL = &u
	return c
}

// serveAPI answers a request of the API on behalf of who sent it.
func (n *Network) serveAPI(w http.ResponseWriter, r *http.Request, s *NetworkSettings, from *origin) {
	v := &visit{client: from.client, cookies: cookies{secure: from.secure, path: s.Path}, header: w.Header()}
	by, status, why := n.authenticate(r, v, from)
	if status != 0 {
		if status == http.StatusUnauthorized {
			w.Header().Set("WWW-Authenticate", `Bearer realm="telltale"`)
		}
		refuse(w, status, why)
		return
	}
	v.by = by
	switch {
	case pathpkg.Clean(r.URL.Path) != r.URL.Path:
		refuse(w, http.StatusNotFound, "there is no such operation")
		return
	case by == nil && strings.HasPrefix(r.URL.Path, Prefix+"/openapi"): // no operation says what it needs
		refuse(w, http.StatusUnauthorized, "nobody is logged in")
		return
	}
	if r.ContentLength != 0 {
		deadline := http.NewResponseController(w)
		deadline.SetReadDeadline(time.Now().Add(bodyTime)) // tests have none
		r.Body = &timedBody{r.Body, deadline}
	}
	caller := callerOf(by)
	ctx, end := context.WithCancel(context.WithValue(WithCaller(r.Context(), caller), visitKey{}, v))
	defer end()
	if by != nil {
		n.endWhenOver(ctx, end, func() bool {
			again := *v // the handler has the other
			was := *from
			now, status, _ := n.authenticate(r, &again, &was)
			return status == 0 && now != nil && reflect.DeepEqual(callerOf(now), caller)
		})
	}
	n.api.ServeHTTP(w, r.WithContext(ctx))
}

// endWhenOver ends a request once who sent it would not be let in any more as they were.
func (n *Network) endWhenOver(ctx context.Context, end func(), holds func() bool) {
	var timer *time.Timer
	ready := make(chan struct{})
	timer = time.AfterFunc(n.recheck, func() {
		<-ready // timer is set
		if !holds() {
			end()
		} else if ctx.Err() == nil {
			timer.Reset(n.recheck)
		}
	})
	close(ready)
	context.AfterFunc(ctx, func() { timer.Stop() })
}

// A timedBody ends its deadline with the body, so that an answer may take longer.
type timedBody struct {
	from interface {
		Read([]byte) (int, error)
		Close() error
	}
	deadline *http.ResponseController
}

func (b *timedBody) Read(p []byte) (int, error) {
	k, err := b.from.Read(p)
	if err != nil {
		b.deadline.SetReadDeadline(time.Time{})
	}
	return k, err
}

func (b *timedBody) Close() error { return b.from.Close() }

// authenticate returns who sent a request; nil for nobody. Where status is not 0 the
// request is refused.
func (n *Network) authenticate(r *http.Request, v *visit, from *origin) (by *access.By, status int, why string) {
	writes := r.Method != http.MethodGet && r.Method != http.MethodHead
	if given := r.Header.Get("Authorization"); given != "" {
		// A page of another site cannot send it without our leave, which it never gets.
		scheme, secret, _ := strings.Cut(given, " ")
		if !strings.EqualFold(scheme, "Bearer") {
			return nil, http.StatusUnauthorized, "authorization is by a token (Authorization: Bearer ...) or by a log-in"
		}
		by, err := n.access.ByToken(strings.TrimSpace(secret))
		switch {
		case err != nil:
			return nil, http.StatusServiceUnavailable, access.ErrBroken.Error()
		case by == nil:
			return nil, http.StatusUnauthorized, "the token is not known, was revoked or has expired: 'telltale token add' makes another"
		}
		return by, 0, ""
	}
	if why := from.isForeign(r, writes); why != "" {
		return nil, http.StatusForbidden, why
	}
	v.session, v.browser = v.cookies.get(r, sessionCookie), v.cookies.get(r, browserCookie)
	if writes && v.session != "" && !from.shown {
		return nil, http.StatusForbidden, "a change by a log-in takes the header Origin, which browsers send; programs use a token"
	}
	by, err := n.access.BySession(v.session)
	if err != nil {
		return nil, 0, "" // GET /session says so
	}
	return by, 0, ""
}

// An origin is where a request comes from, and what it was sent to.
type origin struct {
	client  netip.Addr
	host    string // as the client calls us, with its port
	secure  bool   // the client uses TLS
	proxied bool   // a proxy of ours says so
	shown   bool   // a browser says by which page it was sent, and that is ours
}

// originOf reads where a request comes from. Proxies that are not ours are not believed.
func (s *NetworkSettings) originOf(r *http.Request) origin {
	o := origin{host: r.Host, secure: r.TLS != nil}
	if at, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		o.client = at.Addr().Unmap().WithZone("")
	}
	if !s.isProxy(o.client) {
		return o
	}
	o.proxied = true
	if host := lastOf(r.Header, "X-Forwarded-Host"); host != "" {
		o.host = host
	}
	if scheme := lastOf(r.Header, "X-Forwarded-Proto"); scheme != "" {
		o.secure = strings.EqualFold(scheme, "https")
	}
	all := listOf(r.Header, "X-Forwarded-For")
	for _, text := range slices.Backward(all) { // what the client itself wrote is in front
		a, err := netip.ParseAddr(text)
		if err != nil {
			break
		}
		o.client = a.Unmap().WithZone("")
		if !s.isProxy(o.client) {
			break
		}
	}
	return o
}

func (s *NetworkSettings) isProxy(a netip.Addr) bool {
	return slices.ContainsFunc(s.Proxies, func(p netip.Prefix) bool { return p.Contains(a) })
}

// listOf returns the values of a header that is a list.
func listOf(h http.Header, name string) (all []string) {
	for _, line := range h.Values(name) {
		for _, v := range strings.Split(line, ",") {
			all = append(all, strings.TrimSpace(v))
		}
	}
	return all
}

// lastOf returns the last value of a list: the one that the nearest proxy wrote.
func lastOf(h http.Header, name string) string {
	if all := listOf(h, name); len(all) > 0 {
		return all[len(all)-1]
	}
	return ""
}

// isCalled reports whether a browser may call this server so. A page of another site
// whose name leads to our address (DNS rebinding) calls us by that name; addresses are
// nobody's name.
func (s *NetworkSettings) isCalled(hostPort string) bool {
	host := strings.ToLower(strings.TrimSuffix(hostOnly(hostPort), "."))
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || slices.ContainsFunc(s.Hosts, func(h string) bool { return strings.EqualFold(h, host) })
}

// hostOnly returns a host without its port, and an IPv6 address without brackets.
func hostOnly(hostPort string) string {
	if host, _, err := net.SplitHostPort(hostPort); err == nil {
		return host
	}
	return strings.TrimSuffix(strings.TrimPrefix(hostPort, "["), "]")
}

// isForeign returns why a request is refused that a page of another origin sent; "" where
// none did.
func (o *origin) isForeign(r *http.Request, writes bool) string {
	const refused = "a page of another site sent this"
	switch r.Header.Get("Sec-Fetch-Site") {
	case "same-origin":
		o.shown = true
	case "none": // a person typed it
		if writes {
			return refused
		}
	case "":
	default: // cross-site, and same-site: another port of this host, or a sister of its name
		return refused
	}
	given := r.Header.Get("Origin")
	if given == "" {
		return ""
	}
	u, err := url.Parse(given)
	if err != nil || u.Host == "" || !strings.EqualFold(given, u.Scheme+"://"+u.Host) || !o.is(u) { // an origin has a scheme and a host alone
		if o.proxied || given == "null" {
			return refused
		}
		return refused + ", or a reverse proxy passed it on that is not in web.proxies"
	}
	o.shown = true
	return ""
}

// is reports whether a page's origin is that by which we are called.
func (o *origin) is(u *url.URL) bool {
	if u.Scheme != "https" && (u.Scheme != "http" || o.secure) {
		return false
	}
	if o.proxied && strings.EqualFold(hostOnly(u.Host), hostOnly(o.host)) {
		return true // proxies often leave out the port
	}
	return strings.EqualFold(withPort(u.Host, u.Scheme), withPort(o.host, u.Scheme))
}

// withPort returns a host with the port that its scheme has where none is given.
func withPort(host, scheme string) string {
	if _, _, err := net.SplitHostPort(host); err == nil {
		return host
	}
	return net.JoinHostPort(hostOnly(host), map[string]string{"http": "80", "https": "443"}[scheme])
}

// refuse writes a problem (RFC 9457).
func refuse(w http.ResponseWriter, status int, why string) {
	text, err := json.Marshal(&huma.ErrorModel{Title: http.StatusText(status), Status: status, Detail: why})
	if err != nil {
		panic(err) // it holds text alone
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	w.Write(text)
}
