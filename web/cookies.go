package web

import (
	"net/http"
	"time"
)

// Names of cookies. They are those of a browser that came by TLS with "__Host-" in
// front: such cookies are sent to this host alone, and by TLS alone.
const (
	sessionCookie = "telltale"
	browserCookie = "telltale-browser"
)

// cookies are how those of one request are.
type cookies struct {
	secure bool   // it came by TLS, to us or to a proxy
	path   string // below which the console is
}

func (c cookies) name(name string) string {
	if c.secure {
		return "__Host-" + name
	}
	return name
}

// get returns the value of a request's cookie; "" for none.
func (c cookies) get(r *http.Request, name string) string {
	if k, err := r.Cookie(c.name(name)); err == nil {
		return k.Value
	}
	return ""
}

// set has a response set a cookie, or with no value remove it.
func (c cookies) set(h http.Header, name, value string, until time.Time) {
	k := &http.Cookie{Name: c.name(name), Value: value, Path: c.path + "/", Expires: until, HttpOnly: true, Secure: c.secure, SameSite: http.SameSiteStrictMode}
	if c.secure {
		k.Path = "/" // as __Host- wants it
	}
	if value == "" {
		k.MaxAge = -1
	}
	h.Add("Set-Cookie", k.String())
}
