package metrics

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// atOnce is how many may ask for metrics at once: several servers of Prometheus, and a person.
const atOnce = 4

// Handler answers GET /metrics with what write adds to a page, and all else by next. host is a
// name by which this machine may be asked, beside addresses and names of the own network.
func Handler(host string, write func(context.Context, *Page), next http.Handler) http.Handler {
	places := make(chan struct{}, atOnce)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, r *http.Request) {
		select {
		case places <- struct{}{}:
			defer func() { <-places }()
		default:
			http.Error(w, "too many ask at once: ask again", http.StatusServiceUnavailable)
			return
		}
		var page Page
		write(r.Context(), &page)
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		w.Write(page.Bytes())
	})
	mux.Handle("GET /", next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		if !isOwn(r.Host, host) {
			http.Error(w, "this server is asked by its address, its host name, or a name of your own network (a page of another site could ask by a name of its own)", http.StatusMisdirectedRequest)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// ownNetwork are domains that nobody on the Internet has: the pages of others cannot be below
// them.
var ownNetwork = []string{"localhost", "local", "lan", "internal", "home.arpa", "test"}

// isOwn reports whether a Host header is an address or a name that a page of another site
// cannot have. A browser that was led here by such a page's name (DNS rebinding) says that
// name.
func isOwn(header, host string) bool {
	name := header
	if h, _, err := net.SplitHostPort(header); err == nil {
		name = h
	}
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if _, err := netip.ParseAddr(strings.Trim(name, "[]")); err == nil {
		return true
	}
	if !strings.Contains(name, ".") {
		return name != "" // a name of one label is no site's
	}
	if name == strings.ToLower(host) {
		return true
	}
	return slices.ContainsFunc(ownNetwork, func(domain string) bool { return strings.HasSuffix(name, "."+domain) })
}
