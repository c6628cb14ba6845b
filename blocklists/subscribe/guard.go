package subscribe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"
)

// A list's URL, and every redirect, is followed by a server inside somebody's
// network. The guards here keep a provider from making it ask things of that
// network: the scheme is http or https, no redirect gives up encryption, and the
// address that is connected to is public, unless the user's own URL names it.

// ErrAddress means that a host's address is one that lists may not come from.
var ErrAddress = errors.New("resolves to an address inside a network: set the URL to the address itself if that is meant")

const maxRedirects = 5

// newClient makes the client for all downloads. It uses no proxy: that would
// choose the address unseen.
func (s *Subscriber) newClient() *http.Client {
	t := &http.Transport{
		DialContext:            s.dial,
		ForceAttemptHTTP2:      true,
		MaxIdleConns:           s.AtOnce,
		IdleConnTimeout:        10 * time.Second,
		DisableKeepAlives:      true, // asked once a day
		TLSHandshakeTimeout:    15 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
	}
	return &http.Client{Transport: t, CheckRedirect: checkRedirect}
}

// parseURL reads a list's URL.
func parseURL(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return nil, errors.New("the URL cannot be read")
	}
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("the URL's scheme is %q: only http and https are fetched", u.Scheme)
	case u.Hostname() == "":
		return nil, errors.New("the URL names no host")
	}
	return u, nil
}

func checkRedirect(req *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects {
		return fmt.Errorf("redirected more than %d times", maxRedirects)
	}
	if _, err := parseURL(req.URL.String()); err != nil {
		return fmt.Errorf("redirected: %w", err)
	}
	if req.URL.Scheme == "http" && via[0].URL.Scheme == "https" {
		return errors.New("redirected from https to http")
	}
	return nil
}

type listKey struct{}

// withList remembers which address the user's URL names, if it names one.
func withList(ctx context.Context, u *url.URL) context.Context {
	a, err := netip.ParseAddr(u.Hostname())
	if err != nil {
		return ctx
	}
	return context.WithValue(ctx, listKey{}, a.Unmap())
}

// dial connects to a host, if its address may be asked.
func (s *Subscriber) dial(ctx context.Context, network, hostport string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(hostport)
	if err != nil {
		return nil, err
	}
	if a, err := netip.ParseAddr(host); err == nil {
		if err := s.permit(ctx, a); err != nil {
			return nil, err
		}
		return s.connect(ctx, network, hostport)
	}
	if s.Lookup == nil && s.Dial != nil {
		return s.dialName(ctx, network, hostport)
	}
	addrs, err := s.lookup(ctx, host)
	if err != nil {
		return nil, err
	}
	err = fmt.Errorf("%s has no address", host)
	for _, a := range addrs {
		if e := s.permit(ctx, a); e != nil {
			err = e
			continue
		}
		conn, e := s.connect(ctx, network, net.JoinHostPort(a.Unmap().String(), port))
		if e == nil {
			return conn, nil
		}
		err = e
	}
	return nil, err
}

// dialName lets Dial resolve the name and judges where it led.
func (s *Subscriber) dialName(ctx context.Context, network, hostport string) (net.Conn, error) {
	conn, err := s.Dial(ctx, network, hostport)
	if err != nil {
		return nil, err
	}
	remote, err := netip.ParseAddrPort(conn.RemoteAddr().String())
	if err == nil {
		err = s.permit(ctx, remote.Addr())
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

func (s *Subscriber) connect(ctx context.Context, network, hostport string) (net.Conn, error) {
	if s.Dial != nil {
		return s.Dial(ctx, network, hostport)
	}
	d := net.Dialer{Timeout: 10 * time.Second}
	return d.DialContext(ctx, network, hostport)
}

func (s *Subscriber) lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	if s.Lookup != nil {
		return s.Lookup(ctx, host)
	}
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}

// permit reports whether an address may be asked for a list.
func (s *Subscriber) permit(ctx context.Context, a netip.Addr) error {
	a = embedded(a.Unmap().WithZone(""))
	named, _ := ctx.Value(listKey{}).(netip.Addr)
	switch {
	case a.IsLinkLocalUnicast(), a.IsMulticast(), a.IsUnspecified(), a == broadcast:
		return fmt.Errorf("%v: %w", a, errNever)
	case isPublic(a), a == named, s.AllowPrivate:
		return nil
	}
	return fmt.Errorf("%v: %w", a, ErrAddress)
}

var (
	errNever  = errors.New("is an address that no list may come from")
	broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

	// inside are the special-purpose blocks (IANA's registries, RFC 6890) that
	// netip has no word for.
	inside = []netip.Prefix{
		netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
		netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("240.0.0.0/4"), netip.MustParsePrefix("fec0::/10"),
	}
	nat64 = netip.MustParsePrefix("64:ff9b::/96")
	sixTo = netip.MustParsePrefix("2002::/16")
)

func isPublic(a netip.Addr) bool {
	if !a.IsGlobalUnicast() || a.IsPrivate() || a.IsLoopback() {
		return false
	}
	for _, p := range inside {
		if p.Contains(a) {
			return false
		}
	}
	return true
}

// embedded returns the IPv4 address that an address of NAT64 (RFC 6052) or 6to4
// (RFC 3056) leads to.
func embedded(a netip.Addr) netip.Addr {
	b := a.As16()
	switch {
	case nat64.Contains(a):
		return netip.AddrFrom4([4]byte(b[12:16]))
	case sixTo.Contains(a):
		return netip.AddrFrom4([4]byte(b[2:6]))
	}
	return a
}

// redacted is a URL as it may be shown: without its password.
func redacted(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return "(cannot be read)"
	}
	return u.Redacted()
}
