package resolver

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/miekg/dns"

	"telltale/querylog"
	"telltale/resolver/dnstest"
	"telltale/resolver/listen"
)

const (
	proxyHeader  = "PROXY TCP4 192.168.7.7 127.0.0.1 50000 853\r\n"
	proxyHeader2 = "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc0\xa8\x07\x08\x7f\x00\x00\x01\xc3\x50\x03\x55"
)

// A connection of a proxy is that of the client it names: for the log, for who may
// ask, and for how many connections it may have.
func TestProxiesSayWhoseAConnectionIs(t *testing.T) {
	dnstest.CheckLeaks(t)
	allowed := func(a netip.Addr) bool { return a.IsPrivate() }
	o := Options{ProxyProtocol: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, Allowed: allowed, Streams: 8}
	s, recorded, config := startTLS(t, o, unhurried)
	for i, c := range []struct {
		header, client string
		encrypted      bool
	}{
		{proxyHeader, "192.168.7.7", false}, {proxyHeader2, "192.168.7.8", false},
		{proxyHeader, "192.168.7.7", true}, {proxyHeader2, "192.168.7.8", true},
	} {
		addr, transport := s.Addrs()[0], querylog.TCP
		if c.encrypted {
			addr, transport = s.TLSAddrs()[0], querylog.TLS
		}
		conn := dialTo(t, addr)
		conn.SetDeadline(time.Now().Add(20 * time.Second))
		conn.Write([]byte(c.header))
		if c.encrypted {
			conn = tls.Client(conn, config)
		}
		if r, _ := exchange(t, conn, "localhost.", dns.TypeA); data(r) != "A 127.0.0.1" {
			t.Errorf("%q: %v", c.header, r)
		}
		if row := recorded.last(t, i+1); row.Client.String() != c.client || row.Transport != transport {
			t.Errorf("%q: the log has %v by %v", c.header, row.Client, row.Transport)
		}
	}
	if got := s.Stats(); got.Streams != 4 || got.StreamsReplaced != 0 {
		t.Errorf("two clients with two connections each: %+v", got)
	}
	third := dialTo(t, s.Addrs()[0])
	third.Write([]byte(proxyHeader))
	exchange(t, third, "localhost.", dns.TypeA)
	if got := s.Stats(); got.Streams != 4 || got.StreamsReplaced != 1 {
		t.Errorf("a third of one of them, whose part is two: %+v", got)
	}
	stranger := dialTo(t, s.Addrs()[0])
	stranger.Write([]byte("PROXY TCP4 203.0.113.9 127.0.0.1 50000 853\r\n"))
	if r, _ := exchange(t, stranger, "localhost.", dns.TypeA); r.Rcode != dns.RcodeRefused {
		t.Errorf("a client that may not ask: %v", r)
	}
	alive := dialTo(t, s.Addrs()[0]) // the proxy itself
	alive.Write([]byte("PROXY UNKNOWN\r\n"))
	if r, _ := exchange(t, alive, "localhost.", dns.TypeA); r.Rcode != dns.RcodeRefused {
		t.Errorf("the proxy, which may not ask here: %v", r)
	}
}

// The same holds for DNS over HTTPS, whatever HTTP is spoken.
func TestProxiesSayWhoseARequestIs(t *testing.T) {
	dnstest.CheckLeaks(t)
	s := startEncrypted(t, Options{ProxyProtocol: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, Allowed: func(a netip.Addr) bool { return a.IsPrivate() }})
	for i, h2 := range []bool{true, false} {
		c := s.client("127.0.0.1", serverName, h2)
		dial := c.Transport.(*http.Transport).DialContext
		c.Transport.(*http.Transport).DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := dial(ctx, network, addr)
			if err == nil {
				conn.Write([]byte(proxyHeader))
			}
			return conn, err
		}
		if m, _ := s.doh(c, "/dns-query", "localhost.", dns.TypeA); data(m) != "A 127.0.0.1" {
			t.Errorf("%v", m)
		}
		if row := s.recorded.last(t, i+1); row.Client.String() != "192.168.7.7" || row.Transport != querylog.HTTPS {
			t.Errorf("HTTP/2 %v: the log has %v by %v", h2, row.Client, row.Transport)
		}
	}
}

// Who is no trusted proxy is not believed, and a trusted one must say whose its
// connections are.
func TestUntrustedProxiesAreNotBelieved(t *testing.T) {
	dnstest.CheckLeaks(t)
	proxies := []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
	s, recorded, config := startTLS(t, Options{ProxyProtocol: proxies, Allowed: func(netip.Addr) bool { return true }}, listen.StreamTimes{Query: time.Second})
	closed := func(what string, c net.Conn) {
		t.Helper()
		c.SetReadDeadline(time.Now().Add(20 * time.Second))
		if b, err := readFramed(c); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: %x, %v, want the connection closed", what, b, err)
		}
	}
	for what, sent := range map[string]string{"a query": string(dnstest.Framed(packetOf(t, "localhost.", dns.TypeA))), "nothing": "", "half a header": proxyHeader[:20]} {
		before := s.Stats().ProxiesRefused
		c := dialTo(t, s.Addrs()[0])
		c.Write([]byte(sent))
		closed("a proxy that sends "+what, c)
		dnstest.WaitFor(t, func() bool { return s.Stats().ProxiesRefused == before+1 && s.Stats().Streams == 0 }, says(what))
	}
	other := dialerFrom("127.0.0.2", "tcp")
	for what, addr := range map[string]netip.AddrPort{"TCP": s.Addrs()[0], "TLS": s.TLSAddrs()[0]} {
		c, err := other.Dial("tcp", addr.String())
		if err != nil {
			t.Skip("this machine has 127.0.0.1 alone: ", err)
		}
		defer c.Close()
		c.Write([]byte(proxyHeader + string(dnstest.Framed(packetOf(t, "localhost.", dns.TypeA)))))
		closed("a header of somebody else by "+what, c)
	}
	raw, err := other.Dial("tcp", s.TLSAddrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	raw.SetDeadline(time.Now().Add(20 * time.Second))
	if r, _ := exchange(t, tls.Client(raw, config), "localhost.", dns.TypeA); data(r) != "A 127.0.0.1" {
		t.Errorf("who sends no header and is no proxy: %v", r)
	}
	if row := recorded.last(t, 1); row.Client.String() != "127.0.0.2" {
		t.Errorf("the log has %v", row.Client)
	}
}
