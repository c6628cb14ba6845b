package resolver

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"telltale/blocklists"
	"telltale/devices"
	"telltale/querylog"
	"telltale/resolver/dnstest"
	"telltale/resolver/listen"
	"telltale/resolver/listen/certs"
)

const serverName = "dns.example"

// An encrypted server is one with a certificate for serverName, the names below it, and
// loopback.
type encrypted struct {
	*Server
	t        testing.TB
	recorded *recorder
	roots    *x509.CertPool
}

func startEncrypted(t testing.TB, o Options, upstreams ...*dnstest.Upstream) *encrypted {
	t.Helper()
	c := dnstest.NewCertificate(t, time.Now().Add(5*24*time.Hour), serverName, "*."+serverName, "127.0.0.1")
	certificate, key := c.Files(t)
	source, err := certs.Open(certs.Options{Files: []certs.Files{{Certificate: certificate, Key: key}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(source.Close)
	loopback := []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}
	o.Certificates = source
	if o.Names == nil {
		o.Names = []string{"192.0.2.1", serverName}
	}
	o.ListenTLS, o.ListenHTTPS, o.ListenHTTP, o.ListenQUIC = loopback, loopback, loopback, loopback
	s, recorded := startServer(t, o, upstreams...)
	return &encrypted{s, t, recorded, c.Roots}
}

// client returns a client of HTTPS that asks from an address, over HTTP/2 or HTTP/1.1,
// and calls the server name.
func (s *encrypted) client(from, name string, h2 bool) *http.Client {
	dialer := dialerFrom(from, "tcp")
	protocols := new(http.Protocols)
	protocols.SetHTTP1(!h2)
	protocols.SetHTTP2(h2)
	transport := &http.Transport{
		Protocols: protocols, TLSClientConfig: &tls.Config{RootCAs: s.roots, ServerName: name},
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "tcp", s.HTTPSAddrs()[0].String())
		},
	}
	s.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 20 * time.Second}
}

// doh asks by GET at a path, and returns the reply.
func (s *encrypted) doh(c *http.Client, path, name string, typ uint16) (*dns.Msg, http.Header) {
	s.t.Helper()
	r, err := c.Get("https://" + serverName + path + "?dns=" + inURL(packetOf(s.t, name, typ)))
	if err != nil {
		s.t.Fatal(err)
	}
	return dohReply(s.t, r), r.Header
}

func inURL(packet []byte) string { return base64.RawURLEncoding.EncodeToString(packet) }

func dohReply(t testing.TB, r *http.Response) *dns.Msg {
	t.Helper()
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	var m dns.Msg
	if r.StatusCode != http.StatusOK || r.Header.Get("Content-Type") != "application/dns-message" || m.Unpack(body) != nil {
		t.Fatalf("%s %v: %q", r.Status, r.Header, body)
	}
	return &m
}

func TestHTTPSAnswersGETAndPOST(t *testing.T) {
	dnstest.CheckLeaks(t)
	s := startEncrypted(t, Options{}, dnstest.Start(t, zone(t, "www.example. 300 A 192.0.2.1\nwww.example. 40 A 192.0.2.2\n")))
	n := 0
	for _, h2 := range []bool{true, false} {
		c := s.client("127.0.0.1", serverName, h2)
		for _, method := range []string{"GET", "POST"} {
			query := packetOf(t, "www.example.", dns.TypeA)
			r := &http.Response{}
			var err error
			if method == "GET" {
				r, err = c.Get("https://" + serverName + "/dns-query?dns=" + inURL(query))
			} else {
				r, err = c.Post("https://"+serverName+"/dns-query", "application/dns-message", bytes.NewReader(query))
			}
			if err != nil {
				t.Fatal(err)
			}
			if want := map[bool]int{true: 2, false: 1}[h2]; r.ProtoMajor != want {
				t.Errorf("over %s, want HTTP/%d", r.Proto, want)
			}
			if m := dohReply(t, r); len(m.Answer) != 2 || m.Id != 7 {
				t.Errorf("%s: %v", method, m)
			}
			var seconds int
			if _, err := fmt.Sscanf(r.Header.Get("Cache-Control"), "private, max-age=%d", &seconds); err != nil || seconds > 40 {
				t.Errorf("%s: Cache-Control %q, want the smallest TTL", method, r.Header.Get("Cache-Control"))
			}
			n++
			if row := s.recorded.last(t, n); row.Transport != querylog.HTTPS || row.Client.String() != "127.0.0.1" {
				t.Errorf("%s: logged %+v", method, row)
			}
		}
	}
}

func TestHTTPSStatusCodes(t *testing.T) {
	dnstest.CheckLeaks(t)
	s := startEncrypted(t, Options{})
	good := packetOf(t, "localhost.", dns.TypeA)
	reply := bytes.Clone(good)
	reply[2] |= 0x80
	dnsMessage := "application/dns-message"
	tests := []struct {
		fact, method, target, media string
		body                        []byte
		want                        int
	}{
		{"a query", "GET", "/dns-query?dns=" + inURL(good), "", nil, 200},
		{"a slash behind", "GET", "/dns-query/?dns=" + inURL(good), "", nil, 200},
		{"parameters of a media type", "POST", "/dns-query", dnsMessage + "; a=b", good, 200},
		{"what is not DNS, but a query's header", "POST", "/dns-query", dnsMessage, bytes.Repeat([]byte{1}, 30), 200}, // NOTIMP, as over UDP
		{"padding", "GET", "/dns-query?dns=" + base64.URLEncoding.EncodeToString(good[:len(good)-1]), "", nil, 400},
		{"the alphabet of base64", "GET", "/dns-query?dns=%2B%2F" + inURL(good), "", nil, 400},
		{"a line end in it", "GET", "/dns-query?dns=" + inURL(good)[:8] + "%0a" + inURL(good)[8:], "", nil, 400},
		{"bits left over", "GET", "/dns-query?dns=" + inURL(good[:13])[:17] + "_", "", nil, 400},
		{"no query", "GET", "/dns-query", "", nil, 400},
		{"an empty query", "GET", "/dns-query?dns=", "", nil, 400},
		{"two queries", "GET", "/dns-query?dns=" + inURL(good) + "&dns=" + inURL(good), "", nil, 400},
		{"a bad escape", "GET", "/dns-query?dns=%zz", "", nil, 400},
		{"a reply", "POST", "/dns-query", dnsMessage, reply, 400},
		{"a short body", "POST", "/dns-query", dnsMessage, good[:11], 400},
		{"no body", "POST", "/dns-query", dnsMessage, nil, 400},
		{"another path", "GET", "/?dns=" + inURL(good), "", nil, 404},
		{"a path that begins alike", "GET", "/dns-queryx?dns=" + inURL(good), "", nil, 404},
		{"a traversal", "GET", "/dns-query/../../etc/passwd?dns=" + inURL(good), "", nil, 404},
		{"a traversal that is escaped", "GET", "/dns-query/%2e%2e%2fetc?dns=" + inURL(good), "", nil, 404},
		{"two labels", "GET", "/dns-query/a/b?dns=" + inURL(good), "", nil, 404},
		{"a dot in an id", "GET", "/dns-query/a.b?dns=" + inURL(good), "", nil, 404},
		{"a long id", "GET", "/dns-query/" + strings.Repeat("a", 64) + "?dns=" + inURL(good), "", nil, 404},
		{"another method", "PUT", "/dns-query", dnsMessage, good, 405},
		{"HEAD", "HEAD", "/dns-query?dns=" + inURL(good), "", nil, 405},
		{"OPTIONS", "OPTIONS", "/dns-query", "", nil, 405},
		{"a long GET", "GET", "/dns-query?dns=" + inURL(make([]byte, 5000)), "", nil, 413},
		{"a long POST", "POST", "/dns-query", dnsMessage, make([]byte, 5000), 413},
		{"another media type", "POST", "/dns-query", "application/json", good, 415},
		{"no media type", "POST", "/dns-query", "", good, 415},
		{"a header without end", "GET", "/dns-query?dns=" + strings.Repeat("a", 60000), "", nil, 431},
	}
	for _, h2 := range []bool{true, false} {
		c := s.client("127.0.0.1", serverName, h2)
		before, bad := s.Stats().RequestsBad, uint64(0)
		for _, test := range tests {
			r, err := http.NewRequest(test.method, "https://"+serverName, bytes.NewReader(test.body))
			if err != nil {
				t.Fatal(err)
			}
			r.URL.Opaque = "//" + serverName + test.target // as it is
			if test.media != "" {
				r.Header.Set("Content-Type", test.media)
			}
			response, err := c.Do(r)
			if err != nil {
				if test.want == 431 { // the connection may end first
					continue
				}
				t.Errorf("%s: %v", test.fact, err)
				continue
			}
			body, _ := io.ReadAll(response.Body)
			response.Body.Close()
			if response.StatusCode != test.want {
				t.Errorf("%s over %s: %s %q, want %d", test.fact, response.Proto, response.Status, body, test.want)
			}
			if allow := response.Header.Get("Allow"); (allow == "GET, POST") != (test.want == 405) {
				t.Errorf("%s: Allow %q", test.fact, allow)
			}
			if test.want != 200 && test.want != 431 {
				bad++
			}
		}
		if got := s.Stats().RequestsBad - before; got != bad {
			t.Errorf("%d bad requests counted, want %d", got, bad)
		}
	}
}

// What is answered over HTTP/2, on frames of our own, is what net/http answers over
// HTTP/1.1: the same status, fields and body for requests of all kinds.
func TestHTTP2AnswersAsHTTP1(t *testing.T) {
	dnstest.CheckLeaks(t)
	lists := openLists(t, blocklists.Options{TTL: 10 * time.Second}, map[string]string{"ads.txt": "tracker.example\n"})
	s := startEncrypted(t, Options{Policy: withPolicy(lists)}, dnstest.Start(t, zone(t, "www.example. 300 A 192.0.2.1\nbig.example. 300 TXT "+strings.Repeat("\"some text of some length\" ", 200)+"\n")))
	byHTTP2, byHTTP1 := s.client("127.0.0.1", serverName, true), s.client("127.0.0.1", serverName, false)
	random := rand.New(rand.NewPCG(3, 4))
	pick := func(all ...string) string { return all[random.IntN(len(all))] }
	statuses := map[int]int{}
	for range 400 {
		query := packetOf(t, pick("www.example.", "tracker.example.", "localhost.", "big.example.", "none.example."), []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeTXT, dns.TypeAXFR}[random.IntN(4)])
		query[random.IntN(len(query))] ^= byte(random.IntN(8)) >> 1 // some are no queries any more
		query[2] &= 0x81                                            // of one kind
		path := pick("/dns-query", "/dns-query", "/dns-query", "/dns-query/", "/dns-query/phone", "/dns-query/Phone", "/dns%2Dquery", "/", "/dns-query/a.b", "/dns-queryx", "/dns-query/%2e", "//dns-query")
		in := pick("?dns=", "?dns=", "?dns=", "?x=1&dns=", "?d%6es=", "?dns=A&dns=", "?a;b&dns=", "?dns=%20", "?", "?%zz&dns=") + inURL(query) + pick("", "", "", "&", "&x", "=", "%3d", "&dns=AA", "#", "_")
		method, media := pick("GET", "GET", "POST", "POST", "HEAD", "PUT", "DELETE"), pick("application/dns-message", "application/dns-message", "application/dns-message;a=b", "Application/DNS-Message", "text/plain", ";", "")
		ask := func(c *http.Client) string {
			var body io.Reader
			if method == "POST" || method == "PUT" {
				body = bytes.NewReader(query)
			}
			r, err := http.NewRequest(method, "https://"+serverName, body)
			if err != nil {
				t.Fatal(err)
			}
			r.URL.Opaque = "//" + serverName + path + in
			r.Header["Content-Type"] = []string{media}
			response, err := c.Do(r)
			if err != nil {
				t.Fatalf("%s %s: %v", method, path+in, err)
			}
			defer response.Body.Close()
			statuses[response.StatusCode]++
			got, err := io.ReadAll(response.Body)
			if _, err2 := http.ParseTime(response.Header.Get("Date")); err != nil || err2 != nil {
				t.Fatal(err, err2)
			}
			response.Header.Del("Date")
			response.Header.Del("Connection") // of HTTP/1
			if len(got) > 12 && response.StatusCode == 200 {
				if m := new(dns.Msg); m.Unpack(got) == nil { // TTLs count down meanwhile
					for _, rr := range append(m.Answer, m.Ns...) {
						rr.Header().Ttl = 0
					}
					got = []byte(m.String())
				}
				if response.Header.Get("Cache-Control") != "no-store" {
					response.Header.Set("Cache-Control", "some time")
				}
			}
			return fmt.Sprintf("%d %v %d %q", response.StatusCode, response.Header, response.ContentLength, got)
		}
		if got, want := ask(byHTTP2), ask(byHTTP1); got != want {
			t.Errorf("%s %s, %q: over HTTP/2\n%s, over HTTP/1.1\n%s", method, path+in, media, got, want)
		}
	}
	if statuses[200] < 80 || statuses[400] < 60 || statuses[404] < 20 || statuses[405] < 20 || statuses[415] < 10 {
		t.Errorf("%v", statuses)
	}
}

func TestCacheHeadersFollowTheSmallestTTL(t *testing.T) {
	dnstest.CheckLeaks(t)
	lists := openLists(t, blocklists.Options{TTL: 10 * time.Second}, map[string]string{"ads.txt": "tracker.example\n"})
	up := dnstest.Start(t, zone(t, "www.example. 300 A 192.0.2.1\nexample. 3600 SOA ns.example. h.example. 1 1 1 1 60\nzero.example. 0 A 192.0.2.1\n"))
	s := startEncrypted(t, Options{Policy: withPolicy(lists)}, up)
	c := s.client("127.0.0.1", serverName, true)
	for _, test := range []struct{ name, want string }{
		{"tracker.example.", "private, max-age=10"},
		{"www.example.", "private, max-age=300"},
		{"zero.example.", "private, max-age=0"},
		{"x.health.telltale.invalid.", "private, max-age=10"},
	} {
		if _, header := s.doh(c, "/dns-query", test.name, dns.TypeA); header.Get("Cache-Control") != test.want {
			t.Errorf("%s: Cache-Control %q, want %q", test.name, header.Get("Cache-Control"), test.want)
		}
	}
	if m, header := s.doh(c, "/dns-query", "www.example.", dns.TypeAXFR); m.Rcode != dns.RcodeRefused || header.Get("Cache-Control") != "no-store" {
		t.Errorf("a refusal: %v, Cache-Control %q", m, header.Get("Cache-Control"))
	}
}

// Who asks with padding gets an answer with padding (RFC 8467), and who does not, none.
func TestHTTPSRepliesArePadded(t *testing.T) {
	dnstest.CheckLeaks(t)
	s := startEncrypted(t, Options{})
	c := s.client("127.0.0.1", serverName, true)
	padded := func(m *dns.Msg) {
		m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_PADDING{Padding: make([]byte, 9)})
	}
	for _, test := range []struct {
		fact   string
		change func(*dns.Msg)
		size   int64
	}{{"with padding", padded, 468}, {"without", func(*dns.Msg) {}, 0}} {
		r, err := c.Post("https://"+serverName+"/dns-query", "application/dns-message", bytes.NewReader(packetOf(t, "localhost.", dns.TypeA, test.change)))
		if err != nil {
			t.Fatal(err)
		}
		r.Body.Close()
		if got := r.ContentLength; got != test.size && (test.size != 0 || got >= 468) {
			t.Errorf("%s: %d octets, want %d", test.fact, got, test.size)
		}
	}
}

// What a client calls itself: in the path, else in the server's name.
func TestClientIDsOfPathsAndServerNames(t *testing.T) {
	dnstest.CheckLeaks(t)
	phone := &devices.Binding{ID: 1, Device: "phone"}
	s := startEncrypted(t, Options{Named: func(id string, held *devices.Binding) *devices.Binding {
		if id == "phone" {
			return phone
		}
		return held
	}})
	for i, test := range []struct{ server, path, id, device string }{
		{serverName, "/dns-query", "", ""},
		{serverName, "/dns-query/phone", "phone", "phone"},
		{serverName, "/dns-query/Phone", "phone", "phone"},
		{"phone." + serverName, "/dns-query", "phone", "phone"},
		{"PHONE." + serverName, "/dns-query/", "phone", "phone"},
		{"tablet." + serverName, "/dns-query/phone", "phone", "phone"},
		{"tablet." + serverName, "/dns-query", "tablet", ""},
	} {
		c := s.client("127.0.0.1", test.server, i%2 == 0)
		if m, _ := s.doh(c, test.path, "localhost.", dns.TypeA); data(m) != "A 127.0.0.1" {
			t.Errorf("%v: %v", test, m)
		}
		row := s.recorded.last(t, i+1)
		device := ""
		if row.Binding != nil {
			device = row.Binding.Device
		}
		if row.ClientID != test.id || device != test.device {
			t.Errorf("%s %s: logged %q of %q, want %q of %q", test.server, test.path, row.ClientID, device, test.id, test.device)
		}
	}
}

// A name with a star is for those that have an id in front.
func TestClientIDsBelowAStar(t *testing.T) {
	dnstest.CheckLeaks(t)
	s := startEncrypted(t, Options{Names: []string{"*." + serverName}})
	for i, test := range []struct{ server, id string }{{"phone." + serverName, "phone"}, {serverName, ""}} {
		c := s.client("127.0.0.1", test.server, true)
		if m, _ := s.doh(c, "/dns-query", "localhost.", dns.TypeA); data(m) != "A 127.0.0.1" {
			t.Errorf("%v: %v", test, m)
		}
		if row := s.recorded.last(t, i+1); row.ClientID != test.id {
			t.Errorf("%s: logged %q, want %q", test.server, row.ClientID, test.id)
		}
	}
}

// overTLS asks by DNS over TLS from an address.
func (s *encrypted) overTLS(from, name string) (*dns.Msg, error) {
	c := dns.Client{Net: "tcp-tls", Timeout: 20 * time.Second, Dialer: dialerFrom(from, "tcp"), TLSConfig: &tls.Config{RootCAs: s.roots, ServerName: name}}
	m, _, err := c.Exchange(new(dns.Msg).SetQuestion("localhost.", dns.TypeA), s.TLSAddrs()[0].String())
	return m, err
}

// Behind a reverse proxy the client is whom the proxy names, and nobody else may name
// one.
func TestClientsBehindAProxy(t *testing.T) {
	dnstest.CheckLeaks(t)
	s := startEncrypted(t, Options{
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32"), netip.MustParsePrefix("10.0.0.0/8")},
		Allowed:        func(a netip.Addr) bool { return a.IsPrivate() || a.IsLoopback() },
		Named:          func(id string, held *devices.Binding) *devices.Binding { return held },
	})
	c := http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{}}
	defer c.CloseIdleConnections()
	h2c := &http.Transport{Protocols: new(http.Protocols)}
	h2c.Protocols.SetUnencryptedHTTP2(true)
	c2 := http.Client{Timeout: 20 * time.Second, Transport: h2c}
	defer c2.CloseIdleConnections()
	n := 0
	for _, test := range []struct {
		fact      string
		forwarded []string
		client    string // "" where the request is refused
		refused   bool
	}{
		{"a client", []string{"192.168.1.7"}, "192.168.1.7", false},
		{"with a port", []string{"192.168.1.7:5000"}, "192.168.1.7", false},
		{"IPv6", []string{"fd00::7"}, "fd00::7", false},
		{"IPv6 with brackets", []string{"[fd00::7]:443"}, "fd00::7", false},
		{"IPv4 in IPv6", []string{"::ffff:192.168.1.7"}, "192.168.1.7", false},
		{"behind a second proxy", []string{"192.168.1.7, 10.0.0.3"}, "192.168.1.7", false},
		{"in two headers", []string{"192.168.1.7", "10.0.0.3"}, "192.168.1.7", false},
		{"that made one up", []string{"192.168.1.200, 192.168.1.7"}, "192.168.1.7", false},
		{"that made nonsense up", []string{"x\"y, 192.168.1.7"}, "192.168.1.7", false},
		{"from a public address", []string{"192.168.1.7, 203.0.113.9"}, "", true},
		{"nothing", nil, "", false},
		{"nonsense", []string{"unknown"}, "", false},
		{"an end without an address", []string{"192.168.1.7,"}, "", false},
	} {
		for _, c := range []*http.Client{&c, &c2} {
			r, _ := http.NewRequest("GET", "http://"+s.HTTPAddrs()[0].String()+"/dns-query?dns="+inURL(packetOf(t, "localhost.", dns.TypeA)), nil)
			r.Header["X-Forwarded-For"] = test.forwarded
			response, err := c.Do(r)
			if err != nil {
				t.Fatalf("%s: %v", test.fact, err)
			}
			switch {
			case test.refused:
				if m := dohReply(t, response); m.Rcode != dns.RcodeRefused {
					t.Errorf("%s: %v", test.fact, m)
				}
			case test.client == "":
				if response.Body.Close(); response.StatusCode != 400 {
					t.Errorf("%s: %s, want 400", test.fact, response.Status)
				}
			default:
				if m := dohReply(t, response); data(m) != "A 127.0.0.1" {
					t.Errorf("%s: %v", test.fact, m)
				}
				n++
				if row := s.recorded.last(t, n); row.Client.String() != test.client || row.Transport != querylog.HTTPS {
					t.Errorf("%s over %s: logged %+v, want %s", test.fact, response.Proto, row, test.client)
				}
			}
		}
	}
	// Over TLS from a client of the network that is no proxy, the header says nothing.
	if conn, err := dialerFrom("127.0.0.7", "tcp").Dial("tcp", s.HTTPAddrs()[0].String()); err == nil {
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(20 * time.Second))
		fmt.Fprint(conn, "GET /dns-query HTTP/1.1\r\nHost: a\r\n\r\n")
		if _, err := http.ReadResponse(bufio.NewReader(conn), nil); err == nil {
			t.Error("one that is no trusted proxy is answered in clear")
		}
		r, _ := http.NewRequest("GET", "https://"+serverName+"/dns-query?dns="+inURL(packetOf(t, "localhost.", dns.TypeA)), nil)
		r.Header.Set("X-Forwarded-For", "192.168.1.99")
		response, err := s.client("127.0.0.7", serverName, true).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		dohReply(t, response)
		if row := s.recorded.last(t, n+1); row.Client.String() != "127.0.0.7" {
			t.Errorf("logged %v, want the address it came from", row.Client)
		}
	}
}

// A body that comes slowly costs its stream, and nobody else anything.
func TestStalledBodiesEnd(t *testing.T) {
	dnstest.CheckLeaks(t)
	s := startEncrypted(t, Options{streamTimes: listen.StreamTimes{Handshake: 3 * time.Second}})
	for _, h2 := range []bool{true, false} {
		body, end := io.Pipe()
		go end.Write(packetOf(t, "localhost.", dns.TypeA)[:20])
		r, _ := http.NewRequest("POST", "https://"+serverName+"/dns-query", body)
		r.Header.Set("Content-Type", "application/dns-message")
		c := s.client("127.0.0.1", serverName, h2)
		response, err := c.Do(r)
		if err == nil {
			response.Body.Close()
			if response.StatusCode == http.StatusOK {
				t.Errorf("answered %s", response.Status)
			}
		}
		end.Close()
		if m, _ := s.doh(c, "/dns-query", "localhost.", dns.TypeA); data(m) != "A 127.0.0.1" {
			t.Errorf("another request: %v", m)
		}
	}
}

// What waits for an upstream when the server ends is answered, and nothing is left.
func TestHTTPSAnswersWhenTheServerEnds(t *testing.T) {
	dnstest.CheckLeaks(t)
	open := make(chan struct{})
	up := dnstest.Start(t, func(w dns.ResponseWriter, q *dns.Msg) { <-open; dnstest.AnswerA("192.0.2.1")(w, q) })
	s := startEncrypted(t, Options{}, up)
	c := s.client("127.0.0.1", serverName, true)
	got := make(chan int, 1)
	go func() {
		m, _ := s.doh(c, "/dns-query", "www.example.", dns.TypeA)
		got <- m.Rcode
	}()
	dnstest.WaitFor(t, func() bool { return s.Stats().Waiting == 1 }, says("it waits"))
	s.Close()
	close(open)
	if rcode := <-got; rcode != dns.RcodeServerFailure {
		t.Errorf("%s, want SERVFAIL", dns.RcodeToString[rcode])
	}
}

// A client that resets its requests at once gets rid of none of what bounds it.
func TestRequestsThatAreResetStayBounded(t *testing.T) {
	dnstest.CheckLeaks(t)
	open := make(chan struct{})
	up := dnstest.Start(t, func(w dns.ResponseWriter, q *dns.Msg) { <-open; dnstest.AnswerA("192.0.2.1")(w, q) })
	s := startEncrypted(t, Options{Waiting: 40}, up)
	defer close(open)
	c := s.client("127.0.0.1", serverName, true)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for i := range 30 {
		r, _ := http.NewRequestWithContext(ctx, "GET", "https://"+serverName+"/dns-query?dns="+inURL(packetOf(t, fmt.Sprintf("n%d.example.", i), dns.TypeA)), nil)
		go func() {
			if response, err := c.Do(r); err == nil {
				response.Body.Close()
			}
		}()
	}
	dnstest.WaitFor(t, func() bool { return s.Stats().Shed > 0 }, says("more than its part of those who may wait"))
	cancel()
	if got := s.Stats().Waiting; got > 10 {
		t.Errorf("%d wait for one client, want at most 10", got)
	}
	if m, _ := s.doh(s.client("127.0.0.1", serverName, true), "/dns-query", "localhost.", dns.TypeA); data(m) != "A 127.0.0.1" {
		t.Errorf("another connection: %v", m)
	}
}

// The longest idle connection of HTTPS makes room for another, as over TCP.
func TestHTTPSConnectionsMakeRoom(t *testing.T) {
	dnstest.CheckLeaks(t)
	s := startEncrypted(t, Options{Streams: 8, streamTimes: unhurried})
	for i := range 3 {
		if m, _ := s.doh(s.client("127.0.0.1", serverName, i%2 == 0), "/dns-query", "localhost.", dns.TypeA); data(m) != "A 127.0.0.1" {
			t.Errorf("%v", m)
		}
	}
	if got := s.Stats(); got.Streams != 2 || got.StreamsReplaced != 1 {
		t.Errorf("%+v, want 2 connections of one client, and one replaced", got)
	}
}
