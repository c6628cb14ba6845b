package web

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"telltale/web/access"
)

// A site is a Network with a clock of its own, an administrator and a few others.
type site struct {
	t       *testing.T
	network *Network
	store   *access.Store
	now     *atomic.Int64 // Unix seconds
	ledger  []string
	paused  []Pause
}

const phrase = "correct horse battery"

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{t: t, now: &atomic.Int64{}}
	s.now.Store(time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC).Unix())
	s.store = access.Open(filepath.Join(t.TempDir(), "access.json"), access.Options{
		Memory: 8, Now: func() time.Time { return time.Unix(s.now.Load(), 0) }, Logger: slog.New(slog.DiscardHandler),
	})
	o := Options{
		Access: s.store, Report: func(kind, subject, detail string) { s.ledger = append(s.ledger, kind+" "+subject+" "+detail) },
		Status: func() Status { return Status{} }, AddRule: func(Rule, string) (Change, error) { return Change{}, nil },
		AcceptList: func(string) error { return nil },
		Pause:      func(p Pause) (Temporary, error) { s.paused = append(s.paused, p); return Temporary{}, nil },
		Identity: func(_ context.Context, word string) (string, error) {
			if word == "tv" || word == "mac:tv" {
				return "mac:tv", nil
			}
			if word == "phone" {
				return "mac:phone", nil
			}
			return "", NotFound(errors.New("no such device"))
		},
	}
	files := Files(fstest.MapFS{"index.html": {Data: []byte("<p>console")}, "assets/x.js": {Data: []byte("1")}})
	s.network = NewNetwork(Handler(o), files, s.store, slog.New(slog.DiscardHandler))
	return s
}

// A try is a request, as a client on 192.0.2.7 sends it to http://192.0.2.1:5380 unless
// it says otherwise.
type try struct {
	method, path, body string
	from, host         string
	header             map[string]string
	cookies            []*http.Cookie
}

func (s *site) send(f try) *http.Response {
	s.t.Helper()
	r := httptest.NewRequest(f.method, f.path, strings.NewReader(f.body))
	r.Host, r.RemoteAddr = "192.0.2.1:5380", "192.0.2.7:4711"
	if f.host != "" {
		r.Host = f.host
	}
	if f.from != "" {
		r.RemoteAddr = f.from
	}
	if f.body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for _, c := range f.cookies {
		r.AddCookie(c)
	}
	for name, value := range f.header {
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	s.network.ServeHTTP(w, r)
	return w.Result()
}

var own = map[string]string{"Origin": "http://192.0.2.1:5380", "Sec-Fetch-Site": "same-origin"}

// account makes an account and returns the cookies of a session of it.
func (s *site) account(name string, settings string) []*http.Cookie {
	s.t.Helper()
	link := ""
	if settings == "" {
		link, _, _ = s.store.NewLink("")
	} else {
		if err := s.store.AddAccount(accountFrom(s.t, name, settings)); err != nil {
			s.t.Fatal(err)
		}
		link, _, _ = s.store.NewLink(name)
	}
	resp := s.send(try{method: "POST", path: Prefix + "/setup", body: `{"token":"` + link + `","name":"` + name + `","passphrase":"` + phrase + `"}`, header: own})
	if resp.StatusCode != http.StatusCreated {
		s.t.Fatalf("set-up: got %s", textOfBody(resp))
	}
	return resp.Cookies()
}

func accountFrom(t *testing.T, name, settings string) access.Account {
	t.Helper()
	var a AccountSettings
	if err := json.Unmarshal([]byte(settings), &a); err != nil {
		t.Fatal(err)
	}
	return access.Account{Name: name, Role: access.Role(a.Role), Devices: a.Devices, MayPause: a.MayPause}
}

func textOfBody(r *http.Response) string {
	text, _ := io.ReadAll(r.Body)
	return r.Status + " " + string(text[:min(len(text), 300)])
}

func (s *site) token(name string, scope access.Scope, life time.Duration) string {
	s.t.Helper()
	secret, _, err := s.store.AddToken(name, scope, life, "anna")
	if err != nil {
		s.t.Fatal(err)
	}
	return secret
}

func plus(h map[string]string, more ...string) map[string]string {
	all := map[string]string{}
	for k, v := range h {
		all[k] = v
	}
	for i := 0; i < len(more); i += 2 {
		all[more[i]] = more[i+1]
	}
	return all
}

// Each line is a try to do what the caller may not, or beside it what is allowed, and
// what it gets.
func TestNoneGetsThrough(t *testing.T) {
	s := newSite(t)
	admin := s.account("anna", "")
	viewer := s.account("ben", `{"role":"viewer"}`)
	child := s.account("kim", `{"role":"device","devices":["mac:tv"],"may_pause":true}`)
	watcher := s.account("lou", `{"role":"device","devices":["mac:tv"]}`)
	read, rules, all := s.token("read", access.Read, 0), s.token("rules", access.Rules, 0), s.token("all", access.Admin, 0)
	short := s.token("short", access.Admin, time.Hour)
	revoked := s.token("revoked", access.Admin, 0)
	if err := s.store.RevokeToken("revoked"); err != nil {
		t.Fatal(err)
	}
	s.now.Add(3600)
	s.network.Use(&NetworkSettings{Hosts: []string{"telltale.home.arpa"}, Proxies: []netip.Prefix{netip.MustParsePrefix("192.0.2.100/32")}})
	const status, rule, accept = Prefix + "/status", Prefix + "/rules", Prefix + "/lists/accept"
	const block, list = `{"name":"x.example","action":"block"}`, `{"name":"x"}`
	bearer := func(secret string) map[string]string { return map[string]string{"Authorization": "Bearer " + secret} }
	for _, f := range []struct {
		what string
		try  try
		want int
	}{
		{"nobody reads", try{method: "GET", path: status}, 401},
		{"nobody writes", try{method: "POST", path: rule, body: block}, 401},
		{"the log-in is open to all", try{method: "GET", path: Prefix + "/session"}, 200},
		{"the description is not", try{method: "GET", path: Prefix + "/openapi.json"}, 401},
		{"an administrator reads", try{method: "GET", path: status, cookies: admin}, 200},
		{"an administrator writes", try{method: "POST", path: accept, body: list, cookies: admin, header: own}, 204},
		{"by Origin alone", try{method: "POST", path: accept, body: list, cookies: admin, header: map[string]string{"Origin": own["Origin"]}}, 204},

		{"CSRF: another site's form", try{method: "POST", path: accept, body: list, cookies: admin, header: map[string]string{"Origin": "https://evil.example"}}, 403},
		{"CSRF: another port of this host", try{method: "POST", path: accept, body: list, cookies: admin, header: map[string]string{"Origin": "http://192.0.2.1:8080"}}, 403},
		{"CSRF: our host behind another's name", try{method: "POST", path: accept, body: list, cookies: admin, header: map[string]string{"Origin": "http://evil@192.0.2.1:5380"}}, 403},
		{"CSRF: an origin with a path", try{method: "POST", path: accept, body: list, cookies: admin, header: map[string]string{"Origin": own["Origin"] + "/"}}, 403},
		{"CSRF: with a query", try{method: "POST", path: accept, body: list, cookies: admin, header: map[string]string{"Origin": own["Origin"] + "?"}}, 403},
		{"CSRF: with a fragment", try{method: "POST", path: accept, body: list, cookies: admin, header: map[string]string{"Origin": own["Origin"] + "#x"}}, 403},
		{"CSRF: a page without origin", try{method: "POST", path: accept, body: list, cookies: admin, header: map[string]string{"Origin": "null"}}, 403},
		{"CSRF: what the browser says wins", try{method: "POST", path: accept, body: list, cookies: admin, header: plus(own, "Sec-Fetch-Site", "cross-site")}, 403},
		{"CSRF: a sister of the name", try{method: "POST", path: accept, body: list, cookies: admin, header: plus(own, "Sec-Fetch-Site", "same-site")}, 403},
		{"CSRF: neither says", try{method: "POST", path: accept, body: list, cookies: admin}, 403},
		{"CSRF: as plain text", try{method: "POST", path: accept, body: list, cookies: admin, header: map[string]string{"Origin": "https://evil.example", "Content-Type": "text/plain"}}, 403},
		{"CSRF: DELETE", try{method: "DELETE", path: rule + "?name=x", cookies: admin, header: map[string]string{"Origin": "https://evil.example"}}, 403},
		{"CSRF: a log-in from another site", try{method: "POST", path: Prefix + "/session", body: `{"name":"eve","passphrase":"x"}`, header: map[string]string{"Origin": "https://evil.example"}}, 403},
		{"another site's script reads", try{method: "GET", path: status, cookies: admin, header: map[string]string{"Sec-Fetch-Site": "cross-site"}}, 403},
		{"http beside https", try{method: "POST", path: accept, body: list, from: "192.0.2.100:1", host: "telltale.home.arpa", header: map[string]string{"X-Forwarded-Proto": "https", "Origin": "http://telltale.home.arpa"}}, 403},

		{"DNS rebinding", try{method: "GET", path: status, host: "evil.example:5380", cookies: admin}, 421},
		{"DNS rebinding of the page", try{method: "GET", path: "/", host: "evil.example"}, 421},
		{"a name that begins as ours", try{method: "GET", path: status, host: "telltale.home.arpa.evil.example", cookies: admin}, 421},
		{"no host", try{method: "GET", path: status, host: " ", cookies: admin}, 421},
		{"another's X-Forwarded-Host is not believed", try{method: "GET", path: status, host: "evil.example", cookies: admin, header: map[string]string{"X-Forwarded-Host": "localhost"}}, 421},
		{"our name", try{method: "GET", path: status, host: "Telltale.home.arpa.:5380", cookies: admin}, 200},
		{"localhost", try{method: "GET", path: status, host: "localhost:5380", cookies: admin}, 200},
		{"an IPv6 address", try{method: "GET", path: status, host: "[2001:db8::1]:5380", cookies: admin}, 200},
		{"a proxy's X-Forwarded-Host is", try{method: "GET", path: "/", host: "backend", from: "192.0.2.100:1", header: map[string]string{"X-Forwarded-Host": "evil.example, telltale.home.arpa"}}, 200},

		{"read reads", try{method: "GET", path: status, header: bearer(read)}, 200},
		{"read does not write rules", try{method: "POST", path: rule, body: block, header: bearer(read)}, 403},
		{"rules writes rules", try{method: "POST", path: rule, body: block, header: bearer(rules)}, 201},
		{"rules accepts no list", try{method: "POST", path: accept, body: list, header: bearer(rules)}, 403},
		{"rules makes no token", try{method: "POST", path: Prefix + "/tokens", body: `{"name":"x","scope":"admin","seconds":0}`, header: bearer(rules)}, 403},
		{"read sees no tokens", try{method: "GET", path: Prefix + "/tokens", header: bearer(read)}, 403},
		{"read sees no accounts", try{method: "GET", path: Prefix + "/accounts", header: bearer(read)}, 403},
		{"admin does", try{method: "POST", path: accept, body: list, header: bearer(all)}, 204},
		{"a token changes no pass phrase", try{method: "PUT", path: Prefix + "/account/passphrase", body: `{"old":"` + phrase + `","new":"another phrase"}`, header: bearer(all)}, 403},
		{"an expired token", try{method: "GET", path: status, header: bearer(short)}, 401},
		{"a revoked token", try{method: "GET", path: status, header: bearer(revoked)}, 401},
		{"a token of another server", try{method: "GET", path: status, header: bearer("telltale_" + strings.Repeat("A", 43))}, 401},
		{"a token without its prefix", try{method: "GET", path: status, header: bearer(strings.TrimPrefix(all, "telltale_"))}, 401},
		{"a bad token beside a good cookie", try{method: "GET", path: status, cookies: admin, header: bearer("x")}, 401},
		{"a pass phrase by Basic", try{method: "GET", path: status, header: map[string]string{"Authorization": "Basic YW5uYTpjb3JyZWN0"}}, 401},
		{"a token as a cookie", try{method: "GET", path: status, cookies: []*http.Cookie{{Name: "telltale", Value: all}}}, 401},
		{"a cookie as a token", try{method: "GET", path: status, header: bearer("telltale_" + admin[0].Value)}, 401},
		{"a token in the address", try{method: "GET", path: status + "?token=" + all}, 401},
		{"a cookie in clear, by TLS", try{method: "GET", path: status, from: "192.0.2.100:1", host: "localhost", cookies: admin, header: map[string]string{"X-Forwarded-Proto": "https"}}, 401},

		{"a viewer reads", try{method: "GET", path: status, cookies: viewer}, 200},
		{"a viewer writes no rule", try{method: "POST", path: rule, body: block, cookies: viewer, header: own}, 403},
		{"a viewer pauses nothing", try{method: "PUT", path: Prefix + "/pause", body: `{"seconds":60}`, cookies: viewer, header: own}, 403},
		{"a viewer makes no account", try{method: "POST", path: Prefix + "/accounts", body: `{"name":"eve","role":"admin"}`, cookies: viewer, header: own}, 403},
		{"a viewer makes no link", try{method: "POST", path: Prefix + "/links", body: `{}`, cookies: viewer, header: own}, 403},
		{"a device's person does not see all", try{method: "GET", path: status, cookies: child}, 403},
		{"and writes no rule", try{method: "POST", path: rule, body: block, cookies: child, header: own}, 403},
		{"and does not pause everything", try{method: "PUT", path: Prefix + "/pause", body: `{"seconds":60}`, cookies: child, header: own}, 403},
		{"nor another device", try{method: "PUT", path: Prefix + "/pause", body: `{"of":"device","name":"phone","seconds":60}`, cookies: child, header: own}, 403},
		{"nor one that is not there", try{method: "PUT", path: Prefix + "/pause", body: `{"of":"device","name":"x","seconds":60}`, cookies: child, header: own}, 403},
		{"nor observes", try{method: "PUT", path: Prefix + "/pause", body: `{"kind":"observe","of":"device","name":"tv","seconds":60}`, cookies: child, header: own}, 403},
		{"nor ends all pauses", try{method: "DELETE", path: Prefix + "/pause", cookies: child, header: own}, 403},
		{"but its own", try{method: "PUT", path: Prefix + "/pause", body: `{"of":"device","name":"tv","seconds":60}`, cookies: child, header: own}, 200},
		{"unless it may not", try{method: "PUT", path: Prefix + "/pause", body: `{"of":"device","name":"tv","seconds":60}`, cookies: watcher, header: own}, 403},

		{"a path above", try{method: "GET", path: "/assets/../../access.json"}, 404},
		{"a file that is none", try{method: "GET", path: "/access.json"}, 404},
		{"a path that looks otherwise", try{method: "GET", path: "/api/v1/../v1/status"}, 404},
		{"the console is open to all", try{method: "GET", path: "/"}, 200},
		{"a slash more", try{method: "GET", path: "/" + status}, 404},
		{"only the head", try{method: "HEAD", path: status}, 401},
		{"a change as plain text from our own page", try{method: "POST", path: accept, body: list, cookies: admin, header: plus(own, "Content-Type", "text/plain")}, 415},
		{"a change as a form", try{method: "POST", path: accept, body: "name=x", cookies: admin, header: plus(own, "Content-Type", "application/x-www-form-urlencoded")}, 415},
		{"an upgrade to HTTP/2", try{method: "GET", path: status, header: map[string]string{"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": "AAMAAABkAAQAAP__"}}, 401},
		{"an upgrade to a WebSocket", try{method: "GET", path: Prefix + "/log/stream", header: map[string]string{"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA=="}}, 401},
		{"another method by a header", try{method: "GET", path: Prefix + "/tokens/read", header: plus(bearer(read), "X-HTTP-Method-Override", "DELETE")}, 405},
		{"another path by a header", try{method: "GET", path: Prefix + "/session", header: map[string]string{"X-Original-URL": Prefix + "/tokens", "X-Rewrite-URL": Prefix + "/tokens"}}, 200},
		{"a client that says it is this machine", try{method: "GET", path: status, header: map[string]string{"X-Forwarded-For": "127.0.0.1", "X-Real-IP": "127.0.0.1", "Forwarded": "for=127.0.0.1"}}, 401},
		{"another site asks what it may", try{method: "OPTIONS", path: accept, header: map[string]string{"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}}, 403},
		{"another site's script follows the log", try{method: "GET", path: Prefix + "/log/stream", cookies: admin, header: map[string]string{"Sec-Fetch-Site": "cross-site"}}, 403},
		{"TRACE", try{method: "TRACE", path: status, cookies: admin, header: own}, 405},
	} {
		got := s.send(f.try)
		text := textOfBody(got)
		if got.StatusCode != f.want {
			t.Errorf("%s: got %s, want %d", f.what, text, f.want)
		}
		if got.Header.Get("Access-Control-Allow-Origin") != "" || got.Header.Get("Upgrade") != "" || strings.Contains(text, `"scope"`) {
			t.Errorf("%s: got %v %s", f.what, got.Header, text)
		}
	}
	if len(s.paused) != 1 || s.paused[0].Name != "mac:tv" {
		t.Errorf("got pauses %+v", s.paused)
	}
}

func cookieNamed(resp *http.Response, name string) *http.Cookie {
	for _, c := range resp.Cookies() {
		if c.Name == name {
			return c
		}
	}
	return nil
}

func logIn(name, phrase string) string {
	return `{"name":"` + name + `","passphrase":"` + phrase + `"}`
}

// A session has a secret that was made at its log-in, whatever the browser had before;
// the cookie is no script's and no other site's.
func TestALogInMakesItsOwnSession(t *testing.T) {
	s := newSite(t)
	s.account("anna", "")
	planted := &http.Cookie{Name: "telltale", Value: "planted-by-somebody"}
	first := s.send(try{method: "POST", path: Prefix + "/session", body: logIn("anna", phrase), header: own, cookies: []*http.Cookie{planted}})
	if first.StatusCode != 200 {
		t.Fatal(textOfBody(first))
	}
	c := cookieNamed(first, "telltale")
	if c == nil || c.Value == planted.Value || len(c.Value) != 43 || !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Path != "/" || c.Domain != "" {
		t.Fatalf("got the cookie %+v", c)
	}
	if got := s.send(try{method: "GET", path: Prefix + "/status", cookies: []*http.Cookie{planted}}); got.StatusCode != 401 {
		t.Errorf("the planted session: got %s", textOfBody(got))
	}
	second := s.send(try{method: "POST", path: Prefix + "/session", body: logIn("anna", phrase), header: own, cookies: []*http.Cookie{c}})
	if again := cookieNamed(second, "telltale"); again == nil || again.Value == c.Value {
		t.Errorf("the session's secret stays: %+v", again)
	}
	if got := s.send(try{method: "GET", path: Prefix + "/status", cookies: []*http.Cookie{c}}); got.StatusCode != 401 {
		t.Errorf("the session before the log-in: got %s", textOfBody(got))
	}
	c = cookieNamed(second, "telltale")
	out := s.send(try{method: "DELETE", path: Prefix + "/session", header: own, cookies: []*http.Cookie{c}})
	if gone := cookieNamed(out, "telltale"); out.StatusCode != 204 || gone == nil || gone.MaxAge >= 0 {
		t.Errorf("log-out: got %s, %+v", textOfBody(out), gone)
	}
	if got := s.send(try{method: "GET", path: Prefix + "/status", cookies: []*http.Cookie{c}}); got.StatusCode != 401 {
		t.Errorf("after the log-out: got %s", textOfBody(got))
	}
	s.network.Use(&NetworkSettings{Path: "/tt", Proxies: []netip.Prefix{netip.MustParsePrefix("192.0.2.7/32")}})
	secure := s.send(try{method: "POST", path: "/tt" + Prefix + "/session", body: logIn("anna", phrase), header: map[string]string{"Origin": "https://192.0.2.1:5380", "X-Forwarded-Proto": "https"}})
	if c := cookieNamed(secure, "__Host-telltale"); c == nil || !c.Secure || c.Path != "/" || c.Domain != "" {
		t.Errorf("by TLS: got %s %+v", textOfBody(secure), secure.Cookies())
	}
	clear := s.send(try{method: "POST", path: "/tt" + Prefix + "/session", body: logIn("anna", phrase), header: map[string]string{"Origin": "http://192.0.2.1:5380"}})
	if c := cookieNamed(clear, "telltale"); c == nil || c.Path != "/tt/" {
		t.Errorf("below a path: got %s %+v", textOfBody(clear), clear.Cookies())
	}
}

func TestGuessingIsSlowedDown(t *testing.T) {
	s := newSite(t)
	owner := s.account("anna", "")
	s.network.Use(&NetworkSettings{Proxies: []netip.Prefix{netip.MustParsePrefix("192.0.2.100/32")}})
	statuses := map[int]int{}
	for i := range 30 { // an address of its own makes up others
		got := s.send(try{method: "POST", path: Prefix + "/session", body: logIn("anna", "guess guess guess"), from: "198.51.100.9:1",
			header: map[string]string{"X-Forwarded-For": "203.0.113." + string(rune('0'+i%10))}})
		statuses[got.StatusCode]++
		if got.StatusCode == 429 && got.Header.Get("Retry-After") == "" {
			t.Errorf("got %s without Retry-After", textOfBody(got))
		}
	}
	if statuses[401] != 5 || statuses[429] != 25 {
		t.Errorf("got %v", statuses)
	}
	if got := s.send(try{method: "POST", path: Prefix + "/session", body: logIn("anna", phrase), header: own, cookies: owner}); got.StatusCode != 200 {
		t.Errorf("the owner's browser: got %s", textOfBody(got))
	}
	s.now.Add(3600)
	for i := range 6 { // behind a proxy, each client is counted by itself
		client := map[string]string{"X-Forwarded-For": "198.51.100.66, 203.0.113." + string(rune('1'+i))}
		got := s.send(try{method: "POST", path: Prefix + "/session", body: logIn("nobody"+string(rune('a'+i)), "guess guess guess"), from: "192.0.2.100:1", header: client})
		if got.StatusCode != 401 {
			t.Errorf("%v: got %s", client, textOfBody(got))
		}
	}
}

func TestLinksOverTheNetwork(t *testing.T) {
	s := newSite(t)
	link, _, err := s.store.NewLink("")
	if err != nil {
		t.Fatal(err)
	}
	setUp := try{method: "POST", path: Prefix + "/setup", body: `{"token":"` + link + `","name":"anna","passphrase":"` + phrase + `"}`}
	setUp.header = map[string]string{"Origin": "https://evil.example"}
	if got := s.send(setUp); got.StatusCode != 403 {
		t.Errorf("from another site: got %s", textOfBody(got))
	}
	setUp.header = own
	look := try{method: "POST", path: Prefix + "/setup/link", body: `{"token":"` + link + `"}`}
	if got := s.send(look); got.StatusCode != 200 {
		t.Errorf("got %s", textOfBody(got))
	}
	if got := s.send(setUp); got.StatusCode != 201 || cookieNamed(got, "telltale") == nil {
		t.Fatalf("got %s", textOfBody(got))
	}
	for _, again := range []try{setUp, look} {
		if got := s.send(again); got.StatusCode != 403 {
			t.Errorf("%s again: got %s", again.path, textOfBody(got))
		}
	}
	if len(s.ledger) != 1 || s.ledger[0] != "account anna made, with the role admin, by a link" {
		t.Errorf("got the ledger %q", s.ledger)
	}
}

// Who sets a pass phrase by a link is logged in, however many strangers guess that name or from that address.
func TestALinkLogsInWhileOthersGuess(t *testing.T) {
	s := newSite(t)
	s.account("anna", "")
	link, _, err := s.store.NewLink("anna")
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		s.send(try{method: "POST", path: Prefix + "/session", body: logIn("anna", "guess guess guess"), header: own})
	}
	got := s.send(try{method: "POST", path: Prefix + "/setup", body: `{"token":"` + link + `","passphrase":"another long phrase"}`, header: own})
	if got.StatusCode != 201 {
		t.Fatalf("got %s", textOfBody(got))
	}
	if in := s.send(try{method: "GET", path: Prefix + "/status", cookies: got.Cookies()}); in.StatusCode != 200 {
		t.Errorf("its session: got %s", textOfBody(in))
	}
	if again := s.send(try{method: "POST", path: Prefix + "/session", body: logIn("anna", "another long phrase"), header: own, cookies: got.Cookies()}); again.StatusCode != 200 {
		t.Errorf("its browser is not known: got %s", textOfBody(again))
	}
}

// Who changed what is in the ledger by name.
func TestChangesAreInTheLedgerWithWho(t *testing.T) {
	s := newSite(t)
	admin := s.account("anna", "")
	for _, f := range []try{
		{method: "POST", path: Prefix + "/tokens", body: `{"name":"home","scope":"read","seconds":0}`},
		{method: "POST", path: Prefix + "/accounts", body: `{"name":"kim","role":"device","devices":["tv"]}`},
		{method: "PUT", path: Prefix + "/accounts/kim", body: `{"role":"viewer"}`},
		{method: "DELETE", path: Prefix + "/accounts/kim"},
		{method: "DELETE", path: Prefix + "/tokens/home"},
		{method: "PUT", path: Prefix + "/account/passphrase", body: `{"old":"` + phrase + `","new":"another phrase"}`},
	} {
		f.header, f.cookies = own, admin
		if got := s.send(f); got.StatusCode >= 300 {
			t.Errorf("%s %s: got %s", f.method, f.path, textOfBody(got))
		}
	}
	want := []string{
		"account anna made, with the role admin, by a link",
		"token home made by anna, with the scope read, until it is revoked",
		"account kim made, with the role device, for mac:tv, by anna",
		"account kim changed, with the role viewer, by anna",
		"account kim removed by anna",
		"token home revoked by anna",
		"account anna changed its pass phrase; its sessions ended",
	}
	if !slices.Equal(s.ledger, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(s.ledger, "\n"), strings.Join(want, "\n"))
	}
	if got := s.send(try{method: "GET", path: Prefix + "/status", cookies: admin}); got.StatusCode != 401 {
		t.Errorf("the session of the old pass phrase: got %s", textOfBody(got))
	}
}

func TestEachAnswerHasItsHeaders(t *testing.T) {
	s := newSite(t)
	for _, f := range []try{{method: "GET", path: "/"}, {method: "GET", path: "/assets/x.js"}, {method: "GET", path: Prefix + "/status"}, {method: "GET", path: "/none.js"}, {method: "GET", path: "/", host: "evil.example"}} {
		h := s.send(f).Header
		for name, want := range map[string]string{
			"Content-Security-Policy": "default-src 'none'; script-src 'self';", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "X-Frame-Options": "DENY",
			"Cross-Origin-Resource-Policy": "same-origin",
		} {
			if !strings.HasPrefix(h.Get(name), want) {
				t.Errorf("%s: %s is %q", f.path, name, h.Get(name))
			}
		}
		if p := h.Get("Content-Security-Policy"); strings.Contains(p, "unsafe") || !strings.Contains(p, "frame-ancestors 'none'") || !strings.Contains(p, "require-trusted-types-for 'script'") {
			t.Errorf("the policy is %q", p)
		}
		if h.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s: other sites may read it", f.path)
		}
		cached := strings.Contains(h.Get("Cache-Control"), "immutable")
		if cached != (f.path == "/assets/x.js") || strings.HasPrefix(f.path, Prefix) && h.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: Cache-Control is %q", f.path, h.Get("Cache-Control"))
		}
	}
}

// Nobody calls an operation that is not for all, whatever it is.
func TestEveryOperationWantsAuthority(t *testing.T) {
	s := newSite(t)
	document, err := openAPI()
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		Paths map[string]map[string]struct {
			OperationID string `json:"operationId"`
			Access      string `json:"x-access"`
		}
	}
	if err := json.Unmarshal(document, &d); err != nil {
		t.Fatal(err)
	}
	open := []string{"get-session", "log-in", "log-out", "set-up", "look-at-link"}
	for path, methods := range d.Paths {
		for method, op := range methods {
			if op.Access == string(Public) {
				if !slices.Contains(open, op.OperationID) {
					t.Errorf("%s is open to all", op.OperationID)
				}
				continue
			}
			if got := s.send(try{method: strings.ToUpper(method), path: path, header: own}); got.StatusCode != 401 {
				t.Errorf("%s: got %s", op.OperationID, textOfBody(got))
			}
		}
	}
}

func TestABrokenFileIsSaid(t *testing.T) {
	s := newSite(t)
	path := filepath.Join(t.TempDir(), "access.json")
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.store = access.Open(path, access.Options{Memory: 8})
	s.network = NewNetwork(Handler(Options{Access: s.store}), Files(nil), s.store, slog.New(slog.DiscardHandler))
	for _, f := range []struct {
		try  try
		want int
		text string
	}{
		{try{method: "GET", path: Prefix + "/session"}, 200, `"problem":"the accounts cannot be read`},
		{try{method: "POST", path: Prefix + "/session", body: logIn("anna", phrase), header: own}, 503, "cannot be read"},
		{try{method: "GET", path: Prefix + "/status", cookies: []*http.Cookie{{Name: "telltale", Value: "x"}}}, 401, ""},
		{try{method: "GET", path: Prefix + "/status", header: map[string]string{"Authorization": "Bearer telltale_x"}}, 503, "cannot be read"},
		{try{method: "GET", path: "/"}, 200, "without the console"},
	} {
		got := s.send(f.try)
		text := textOfBody(got)
		if got.StatusCode != f.want || !strings.Contains(text, f.text) || strings.Contains(text, path) {
			t.Errorf("%s: got %s", f.try.path, text)
		}
	}
}

// Texts in headers that strangers write are read without harm.
func FuzzOrigin(f *testing.F) {
	f.Add("192.0.2.1:5380", "http://192.0.2.1:5380", "same-origin", "192.0.2.7", "", "https")
	f.Add("[::1", "null", "", "x, 192.0.2.100", "a, b", "")
	f.Fuzz(func(t *testing.T, host, from, site, client, forwarded, scheme string) {
		r := httptest.NewRequest("POST", "/", nil)
		r.Host, r.RemoteAddr = host, "192.0.2.100:1"
		r.Header.Set("Origin", from)
		r.Header.Set("Sec-Fetch-Site", site)
		r.Header.Set("X-Forwarded-For", client)
		r.Header.Set("X-Forwarded-Host", forwarded)
		r.Header.Set("X-Forwarded-Proto", scheme)
		s := &NetworkSettings{Hosts: []string{"telltale.test"}, Proxies: []netip.Prefix{netip.MustParsePrefix("192.0.2.100/32")}}
		o := s.originOf(r)
		if !o.client.IsValid() {
			t.Error("a client without an address")
		}
		why := o.isForeign(r, true)
		u, err := url.Parse(from)
		if why == "" && from != "" && (err != nil || !strings.EqualFold(hostOnly(u.Host), hostOnly(o.host))) {
			t.Errorf("%q is taken for %q", from, o.host)
		}
		if s.isCalled(o.host) && o.host != "" {
			name := strings.ToLower(strings.TrimSuffix(hostOnly(o.host), "."))
			if _, err := netip.ParseAddr(name); err != nil && name != "telltale.test" && name != "localhost" && !strings.HasSuffix(name, ".localhost") {
				t.Errorf("it is called %q", o.host)
			}
		}
	})
}

// A slash in a parameter of the path comes through as over the socket; a path that looks otherwise does not.
func TestPathsKeepEscapedSlashes(t *testing.T) {
	s := newSite(t)
	mux, got := http.NewServeMux(), ""
	mux.HandleFunc("GET "+Prefix+"/names/{name}", func(_ http.ResponseWriter, r *http.Request) { got = r.PathValue("name") })
	n := NewNetwork(mux, Files(nil), s.store, slog.New(slog.DiscardHandler))
	for _, f := range []struct{ below, path, want string }{
		{"", "/api/v1/names/0%2F25.2.0.192.in-addr.arpa", "0/25.2.0.192.in-addr.arpa"},
		{"/tt", "/tt/api/v1/names/0%2F25.2.0.192.in-addr.arpa", "0/25.2.0.192.in-addr.arpa"},
		{"/a b", "/a%20b/api/v1/names/0%2F25", "0/25"},
		{"/tt", "/%74t/api/v1/names/x.example", "x.example"},
		{"", "/%61pi/v1/names/x%2ey", "x.y"},
		{"", "/api/v1/names/..%2Fstatus", ""},
		{"", "/api/v1/names/%2Fx", ""},
		{"", "/api/v1/names//x", ""},
		{"", "/api/v1/x/%2e%2e/names/x", ""},
	} {
		got = ""
		n.Use(&NetworkSettings{Path: f.below})
		r := httptest.NewRequest("GET", f.path, nil)
		r.Host, r.RemoteAddr = "192.0.2.1:5380", "192.0.2.7:4711"
		n.ServeHTTP(httptest.NewRecorder(), r)
		if got != f.want {
			t.Errorf("%s below %q: got %q, want %q", f.path, f.below, got, f.want)
		}
	}
}

// What is under way, such as a stream, ends with what let it in.
func TestStreamsEndWithTheirAuthority(t *testing.T) {
	s := newSite(t)
	s.account("anna", "")
	for _, f := range []struct {
		what string
		end  func(name string)
	}{
		{"log-out", nil},
		{"another role", func(name string) {
			if err := s.store.ChangeAccount(access.Account{Name: name, Role: access.RoleViewer}); err != nil {
				t.Error(err)
			}
		}},
		{"the account is removed", func(name string) {
			if err := s.store.RemoveAccount(name); err != nil {
				t.Error(err)
			}
		}},
	} {
		cookies := s.account("ben", `{"role":"admin"}`)
		begun, ended := make(chan struct{}), make(chan struct{})
		stream := NewNetwork(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			close(begun)
			<-r.Context().Done()
		}), Files(nil), s.store, slog.New(slog.DiscardHandler))
		stream.recheck = 5 * time.Millisecond
		go func() {
			defer close(ended)
			r := httptest.NewRequest("GET", Prefix+"/log/stream", nil)
			r.Host, r.RemoteAddr = "192.0.2.1:5380", "192.0.2.7:4711"
			for _, c := range cookies {
				r.AddCookie(c)
			}
			stream.ServeHTTP(httptest.NewRecorder(), r)
		}()
		<-begun
		select {
		case <-ended:
			t.Errorf("%s: it ended before", f.what)
		case <-time.After(50 * time.Millisecond):
		}
		if f.end == nil {
			s.send(try{method: "DELETE", path: Prefix + "/session", header: own, cookies: cookies})
		} else {
			f.end("ben")
		}
		select {
		case <-ended:
		case <-time.After(30 * time.Second):
			t.Fatalf("%s: it goes on", f.what)
		}
		s.store.RemoveAccount("ben")
	}
}

// A countedContext counts what waits for its end: package context looks for its Done then.
type countedContext struct {
	context.Context
	waits atomic.Int64
}

func (c *countedContext) Done() <-chan struct{} {
	c.waits.Add(1)
	return c.Context.Done()
}

// A request that is looked at often leaves nothing behind each time.
func TestRechecksKeepNothing(t *testing.T) {
	whole, end := context.WithCancel(t.Context())
	ctx := &countedContext{Context: whole}
	n, checked := &Network{recheck: time.Microsecond}, make(chan struct{})
	var once atomic.Int64
	n.endWhenOver(ctx, end, func() bool {
		if once.Add(1) == 20 {
			close(checked)
			return false
		}
		return true
	})
	<-checked
	<-whole.Done()
	if waits := ctx.waits.Load(); waits > 3 {
		t.Errorf("%d wait for the request's end after 20 looks", waits)
	}
}
