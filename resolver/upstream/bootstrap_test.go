package upstream

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"telltale/dnswire"
	"telltale/resolver/dnstest"
)

// byName starts a server of dns.example, and returns it as one by name.
func byName(t testing.TB) (Server, *dnstest.Certificate, *dnstest.StreamServer) {
	c := dnstest.NewCertificate(t, never(), "dns.example")
	s := dnstest.StartStream(t, c, answerIt)
	return Server{Addr: netip.AddrPortFrom(netip.Addr{}, s.Addr.Port()), Transport: TLS, Host: "dns.example"}, c, s
}

// answerAddress answers with an address of one family, and says that there is none of the
// other.
func answerAddress(a string, ttl uint32) dns.HandlerFunc {
	return func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		if q.Question[0].Qtype == dns.TypeA {
			m.Answer = append(m.Answer, &dns.A{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: ttl}, A: net.ParseIP(a)})
		}
		w.WriteMsg(m)
	}
}

func TestNamesAreLookedUp(t *testing.T) {
	dnstest.CheckLeaks(t)
	to, c, s := byName(t)
	var asked atomic.Pointer[[]string]
	asked.Store(&[]string{})
	resolver := dnstest.Start(t, func(w dns.ResponseWriter, q *dns.Msg) {
		names := append(slices.Clone(*asked.Load()), q.Question[0].Name)
		asked.Store(&names)
		answerAddress("127.0.0.1", 300)(w, q)
	})
	u := startClient(t, Options{Roots: c.Roots, Servers: []Server{to}, Bootstrap: []netip.AddrPort{resolver.Addr}})
	if got := askMany(t, u, 50); got["NOERROR 192.0.2.1"] != 50 {
		t.Errorf("answers: got %v, want 50", got)
	}
	if n := resolver.Asked.Load(); n == 0 {
		t.Error("nobody was asked where it is")
	}
	for _, name := range *asked.Load() {
		if name != "dns.example." {
			t.Errorf("the bootstrap resolver was asked for %s", name)
		}
	}
	all := u.Status()
	if len(all) != 2 || all[0].Addr != s.Addr || all[0].ID != fmt.Sprintf("tls://dns.example:%d", s.Addr.Port()) || all[1].Source != "bootstrap" || all[1].State != Up {
		t.Errorf("status: got %+v", all)
	}
}

// The file makes the next start independent of the resolvers.
func TestAddressesAreKept(t *testing.T) {
	dnstest.CheckLeaks(t)
	to, c, _ := byName(t)
	resolver := dnstest.Start(t, answerAddress("127.0.0.1", 300))
	file := filepath.Join(t.TempDir(), "cache", "addresses.json")
	u := startClient(t, Options{Roots: c.Roots, Servers: []Server{to}, Bootstrap: []netip.AddrPort{resolver.Addr}, AddressFile: file})
	if got := lookupA(t, u, "a.example"); got != "NOERROR 192.0.2.1" {
		t.Fatalf("got %q", got)
	}
	dnstest.WaitFor(t, func() bool { _, err := os.Stat(file); return err == nil }, func() string { return "nothing is kept" })
	u.Close()
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file: got %v %v, want mode 0600", info.Mode(), err)
	}
	nobody := dnstest.Start(t, dnstest.Silence)
	for _, day := range []int{0, 400} { // old addresses are better than none
		now := func() time.Time { return time.Now().Add(time.Duration(day) * 24 * time.Hour) }
		o := Options{Roots: c.Roots, Servers: []Server{to}, Bootstrap: []netip.AddrPort{nobody.Addr}, AddressFile: file}
		if day > 0 {
			o.Servers[0].Pins = []Pin{KeyPin(c.TLS.Leaf)} // its certificate has ended by then
			o.Now = now
		}
		u := startClient(t, o)
		if got := lookupA(t, u, "a.example"); got != "NOERROR 192.0.2.1" {
			t.Errorf("after %d days: got %q", day, got)
		}
		u.Close()
	}
}

func TestAddressFilesThatAreNone(t *testing.T) {
	for _, text := range []string{"", "{", "[]", `{"dns.example": {"addresses": ["x"]}}`, `{"dns.example": {"addresses": ["0.0.0.0", "224.0.0.1"], "until": "2100-01-01T00:00:00Z"}}`,
		`{"dns.example": {"addresses": ["127.0.0.99"], "until": "9999-01-01T00:00:00Z"}}`, strings.Repeat("x", 2*maxNamesFile)} {
		dnstest.CheckLeaks(t)
		to, c, _ := byName(t)
		resolver := dnstest.Start(t, answerAddress("127.0.0.1", 300))
		file := filepath.Join(t.TempDir(), "addresses.json")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		u := startClient(t, Options{Roots: c.Roots, Servers: []Server{to}, Bootstrap: []netip.AddrPort{resolver.Addr}, AddressFile: file})
		dnstest.WaitFor(t, func() bool { return strings.HasPrefix(lookupA(t, u, "a.example"), "NOERROR") }, func() string { return fmt.Sprintf("with %.40q: it is never found", text) })
		u.Close()
	}
}

// A server that has moved is found by its name when its old addresses do not work.
func TestNamesAreLookedUpAgain(t *testing.T) {
	dnstest.CheckLeaks(t)
	to, c, s := byName(t)
	var address atomic.Pointer[string]
	old, now := "127.0.0.99", "127.0.0.1" // nobody listens on the first
	address.Store(&old)
	resolver := dnstest.Start(t, func(w dns.ResponseWriter, q *dns.Msg) { answerAddress(*address.Load(), 86400)(w, q) })
	u := startClient(t, Options{Roots: c.Roots, Servers: []Server{to}, Bootstrap: []netip.AddrPort{resolver.Addr}})
	dnstest.WaitFor(t, func() bool { return u.Status()[0].State == Down }, func() string { return "it is not down" })
	address.Store(&now)
	dnstest.WaitFor(t, func() bool { return u.Status()[0].State == Up }, func() string { return fmt.Sprintf("%+v", u.Status()[0]) })
	if got := lookupA(t, u, "a.example"); got != "NOERROR 192.0.2.1" {
		t.Errorf("got %q", got)
	}
	if n := s.Plain.Load(); n != 0 {
		t.Errorf("%d packets in clear", n)
	}
}

// By the TTL, but not more often: an address is used while it is looked up again.
func TestTTLOfAddresses(t *testing.T) {
	dnstest.CheckLeaks(t)
	resolver := dnstest.Start(t, answerAddress("127.0.0.1", 600))
	var offset atomic.Int64
	start := time.Now()
	u := startClient(t, Options{Bootstrap: []netip.AddrPort{resolver.Addr}, ResolvConf: os.DevNull, Now: func() time.Time { return start.Add(time.Duration(offset.Load())) }})
	lookUp := func() {
		t.Helper()
		if addrs, err := u.bootstrap.addresses(t.Context(), "dns.example"); err != nil || len(addrs) != 1 {
			t.Fatalf("got %v %v", addrs, err)
		}
	}
	for range 3 {
		lookUp()
	}
	before := resolver.Asked.Load()
	offset.Store(int64(599 * time.Second))
	lookUp()
	if n := resolver.Asked.Load(); n != before {
		t.Errorf("asked %d times before the TTL has ended, want %d", n, before)
	}
	offset.Store(int64(601 * time.Second))
	lookUp()
	dnstest.WaitFor(t, func() bool { return resolver.Asked.Load() > before }, func() string { return "it is not asked again" })
}

// The file, the settings and the answers fail in ways that say what to do, and nobody waits
// longer than for any upstream.
func TestNamesThatNobodyKnows(t *testing.T) {
	for _, test := range []struct {
		name     string
		resolver dns.HandlerFunc // nil: none
		want     string
	}{
		{"no resolver", nil, `none can be asked: add "upstream_bootstrap: [ADDRESS]" to telltale.yaml`},
		{"no such name", dnstest.AnswerRcode(dns.RcodeNameError), "no bootstrap resolver says where dns.example is (it has no address)"},
		{"a resolver that fails", dnstest.AnswerRcode(dns.RcodeServerFailure), "no bootstrap resolver says where dns.example is"},
		{"an address that none has", answerAddress("0.0.0.0", 1), "no bootstrap resolver says where dns.example is (it has no address)"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dnstest.CheckLeaks(t)
			to, c, _ := byName(t)
			o := Options{Roots: c.Roots, Servers: []Server{to}, Budget: 2 * time.Second, Patience: 100 * time.Millisecond}
			if test.resolver != nil {
				o.Bootstrap = []netip.AddrPort{dnstest.Start(t, test.resolver).Addr}
			}
			u := startClient(t, o)
			dnstest.WaitFor(t, func() bool { return u.Status()[0].State == Down && strings.Contains(u.Status()[0].Why, test.want) },
				func() string { return fmt.Sprintf("got %+v, want %q", u.Status()[0], test.want) })
			dnstest.WaitFor(t, func() bool { return strings.Contains(lookupA(t, u, "a.example"), test.want) }, func() string { return "a client is not told" })
		})
	}
}

// A resolver that asks this server in turn is not asked, so that nothing waits for itself.
func TestBootstrapThatLeadsBack(t *testing.T) {
	dnstest.CheckLeaks(t)
	to, c, _ := byName(t)
	var u atomic.Pointer[Client]
	resolver := dnstest.Start(t, func(w dns.ResponseWriter, q *dns.Msg) {
		// What comes back waits for the server by name, which waits for this.
		if u := u.Load(); u != nil {
			lookupA(t, u, "a.example")
		}
		dnstest.AnswerRcode(dns.RcodeServerFailure)(w, q)
	})
	resolver.SetProbes(func(w dns.ResponseWriter, q *dns.Msg) {
		var name dnswire.Name
		name.Set(q.Question[0].Name)
		if u := u.Load(); u != nil {
			u.IsProbe(name.Wire())
		}
		dnstest.AnswerRcode(dns.RcodeNameError)(w, q)
	})
	client := startClient(t, Options{Roots: c.Roots, Servers: []Server{to}, Bootstrap: []netip.AddrPort{resolver.Addr}, Budget: time.Second, Patience: 50 * time.Millisecond})
	u.Store(client)
	if err := client.SetBootstrap([]netip.AddrPort{resolver.Addr}); err != nil { // it is probed again
		t.Fatal(err)
	}
	dnstest.WaitFor(t, func() bool {
		all := client.Status()
		return all[len(all)-1].State == Looped
	}, func() string { return fmt.Sprintf("%+v", client.Status()) })
	dnstest.WaitFor(t, func() bool { return strings.Contains(lookupA(t, client, "b.example"), "none can be asked") }, func() string { return "it is still asked: " + lookupA(t, client, "b.example") })
}

// The resolvers may change, and one that is not there does not matter where another is.
func TestBootstrapChanges(t *testing.T) {
	dnstest.CheckLeaks(t)
	to, c, _ := byName(t)
	dead, good := dnstest.Start(t, dnstest.Silence), dnstest.Start(t, answerAddress("127.0.0.1", 300))
	dead.SetProbes(dnstest.Silence)
	u := startClient(t, Options{Roots: c.Roots, Servers: []Server{to}, Bootstrap: []netip.AddrPort{dead.Addr}, Patience: 50 * time.Millisecond, Budget: 2 * time.Second})
	if err := u.SetBootstrap([]netip.AddrPort{dead.Addr, good.Addr}); err != nil {
		t.Fatal(err)
	}
	dnstest.WaitFor(t, func() bool { return lookupA(t, u, "a.example") == "NOERROR 192.0.2.1" }, func() string { return fmt.Sprintf("%+v", u.Status()) })
	if err := u.SetBootstrap([]netip.AddrPort{{}}); err == nil {
		t.Error("an address that none has: got no error")
	}
}

func TestAddressesIn(t *testing.T) {
	q := new(dns.Msg).SetQuestion("dns.example.", dns.TypeA)
	m := new(dns.Msg).SetReply(q)
	for _, text := range []string{"dns.example. 9 CNAME a.example.", "a.example. 300 A 192.0.2.1", "a.example. 200 A 192.0.2.2", "a.example. 1 A 192.0.2.2", "a.example. 1 AAAA 2001:db8::1"} {
		rr, err := dns.NewRR(text)
		if err != nil {
			t.Fatal(err)
		}
		m.Answer = append(m.Answer, rr)
	}
	m.Compress = true
	packed, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	addrs, ttl := addressesIn(packed, dnswire.TypeA)
	if fmt.Sprint(addrs) != "[192.0.2.1 192.0.2.2]" || ttl != 200*time.Second {
		t.Errorf("got %v for %v", addrs, ttl)
	}
}

func FuzzAddressesIn(f *testing.F) {
	f.Add(dnstest.AnswerTo([]byte("\x00\x00\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x00\x00\x01\x00\x01"), "192.0.2.1"))
	f.Fuzz(func(t *testing.T, answer []byte) {
		if len(answer) < dnswire.HeaderLen {
			return
		}
		addrs, _ := addressesIn(answer, dnswire.TypeA)
		if len(addrs) > maxAddresses || len(addrs) > int(binary.BigEndian.Uint16(answer[6:])) {
			t.Errorf("%d addresses", len(addrs))
		}
		for _, a := range addrs {
			if !a.Is4() || a.IsUnspecified() {
				t.Errorf("got %v", a)
			}
		}
	})
}
