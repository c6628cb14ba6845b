//go:build e2e

package resolver

import (
	"crypto"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/miekg/dns"

	"telltale/blocklists"
	"telltale/resolver/dnstest"
)

// cachesInFront are servers of others that forward to one at ADDR#PORT, and cache.
func cachesInFront(port int) map[string]dnstest.Program {
	return map[string]dnstest.Program{
		"dnsmasq":                       dnstest.Dnsmasq(fmt.Sprintf("server=127.0.0.1#%d\ncache-size=1000\nlog-queries\n", port)),
		"dnsmasq that caches all types": dnstest.Dnsmasq(fmt.Sprintf("server=127.0.0.1#%d\ncache-size=1000\nlog-queries\ncache-rr=ANY\n", port)),
		"unbound":                       dnstest.Unbound("module-config: iterator\n", fmt.Sprintf("forward-zone:\nname: .\nforward-addr: 127.0.0.1@%d\n", port)),
		"named":                         dnstest.Named(fmt.Sprintf("forward only; forwarders { 127.0.0.1 port %d; }; dnssec-validation no;\n", port), ""),
		"knot":                          dnstest.Knot(fmt.Sprintf("policy.add(policy.all(policy.STUB({'127.0.0.1@%d'})))\n", port)),
	}
}

// refusals is a policy of one list for each mode that says no, for an hour.
func refusals(t *testing.T) *blocklists.Policy {
	return openLists(t, blocklists.Options{
		TTL:   time.Hour,
		Lists: []blocklists.ListSettings{{Name: "nx", Mode: modeOf(blocklists.NXDomain)}, {Name: "nodata", Mode: modeOf(blocklists.NoData)}},
	}, map[string]string{"null.txt": "null.example\n", "nx.txt": "nx.example\n", "nodata.txt": "nodata.example\n"})
}

// What we deny is denied by the caches in front of us, too, each time it is asked and
// whatever was asked before: names below, names above, other types. They keep it.
func TestE2ENegativeAnswersThroughOtherCaches(t *testing.T) {
	s, recorded := startServer(t, Options{Policy: withPolicy(refusals(t))}, dnstest.Start(t, dnstest.AnswerA("192.0.2.1")))
	for name, program := range cachesInFront(int(s.Addrs()[0].Port())) {
		t.Run(name, func(t *testing.T) {
			addr := dnstest.StartProgram(t, program)
			before := recorded.count("a.b.nx.example.", dns.TypeA)
			for _, test := range []struct {
				name  string
				rcode int
				typ   uint16
			}{
				{"a.b.nx.example.", dns.RcodeNameError, dns.TypeA},
				{"b.nx.example.", dns.RcodeNameError, dns.TypeAAAA},
				{"nx.example.", dns.RcodeNameError, dns.TypeA},
				{"nx.example.", dns.RcodeNameError, dns.TypeAAAA},
				{"nx.example.", dns.RcodeNameError, dns.TypeHTTPS},
				{"c.nx.example.", dns.RcodeNameError, dns.TypeHTTPS},
				{"a.b.nx.example.", dns.RcodeNameError, dns.TypeAAAA},
				{"c.nx.example.", dns.RcodeNameError, dns.TypeA},
				{"x.nodata.example.", dns.RcodeSuccess, dns.TypeA},
				{"x.nodata.example.", dns.RcodeSuccess, dns.TypeAAAA},
				{"nodata.example.", dns.RcodeSuccess, dns.TypeHTTPS},
				{"x.null.example.", dns.RcodeSuccess, dns.TypeHTTPS},
				{"null.example.", dns.RcodeSuccess, dns.TypeHTTPS},
			} {
				for i := range 4 {
					if got := deniedBy(t, addr, test.name, test.typ); got != dns.RcodeToString[test.rcode] {
						t.Errorf("%s %s, question %d: got %s, want %s", test.name, dns.TypeToString[test.typ], i+1, got, dns.RcodeToString[test.rcode])
					}
				}
			}
			if got := recorded.count("a.b.nx.example.", dns.TypeA) - before; got != 1 {
				t.Errorf("asked us %d times, want once: it keeps what has an SOA (RFC 2308, 5)", got)
			}
		})
	}
}

// count returns how many rows there are of a question.
func (l *recorder) count(name string, typ uint16) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.rows {
		if l.rows[i].name == name && l.rows[i].Type == typ {
			n++
		}
	}
	return n
}

// deniedBy returns with what response code a name is denied at addr.
func deniedBy(t *testing.T, addr, name string, typ uint16) string {
	t.Helper()
	c := dns.Client{Timeout: 10 * time.Second}
	r, _, err := c.Exchange(new(dns.Msg).SetQuestion(name, typ), addr)
	if err != nil {
		t.Fatalf("%s %s: %v", name, dns.TypeToString[typ], err)
	}
	if len(r.Answer) > 0 {
		return data(r)
	}
	return dns.RcodeToString[r.Rcode]
}

// A signedRoot is an upstream whose root zone is signed, and which delegates
// "example." without a signature: nothing below is secure, and provably so.
type signedRoot struct {
	key     *dns.DNSKEY
	private crypto.Signer
}

func newSignedRoot(t *testing.T) *signedRoot {
	r := &signedRoot{key: &dns.DNSKEY{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeDNSKEY, Class: dns.ClassINET, Ttl: 3600},
		Flags: dns.ZONE | dns.SEP, Protocol: 3, Algorithm: dns.ECDSAP256SHA256}}
	private, err := r.key.Generate(256)
	if err != nil {
		t.Fatal(err)
	}
	r.private = private.(crypto.Signer)
	return r
}

// signed returns an RRset of the root zone with its signature.
func (r *signedRoot) signed(set ...dns.RR) []dns.RR {
	now := time.Now()
	sig := &dns.RRSIG{Algorithm: r.key.Algorithm, SignerName: ".", KeyTag: r.key.KeyTag(),
		Inception: uint32(now.Add(-24 * time.Hour).Unix()), Expiration: uint32(now.Add(24 * time.Hour).Unix())}
	if err := sig.Sign(r.private, set); err != nil {
		panic(err)
	}
	sig.Hdr.Ttl = set[0].Header().Ttl
	return append(set, sig)
}

func (r *signedRoot) answer(w dns.ResponseWriter, q *dns.Msg) {
	m := new(dns.Msg).SetReply(q)
	m.RecursionAvailable = true
	m.SetEdns0(1232, true)
	rr := func(text string) dns.RR {
		rr, err := dns.NewRR(text)
		if err != nil {
			panic(err)
		}
		return rr
	}
	rootSOA := rr(". 300 IN SOA ns.example. host.example. 1 3600 600 86400 300")
	name, typ := dns.CanonicalName(q.Question[0].Name), q.Question[0].Qtype
	switch {
	case name == "." && typ == dns.TypeDNSKEY:
		m.Answer = r.signed(r.key)
	case name == "." && typ == dns.TypeNS:
		m.Answer = r.signed(rr(". 300 IN NS ns.example."))
	case name == "." && typ == dns.TypeSOA:
		m.Answer = r.signed(rootSOA)
	case name == "example." && typ == dns.TypeDS:
		m.Ns = append(r.signed(rootSOA), r.signed(rr("example. 300 IN NSEC . NS RRSIG NSEC"))...)
	case typ == dns.TypeA:
		m.Answer = append(m.Answer, &dns.A{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60}, A: net.IPv4(192, 0, 2, 1)})
	default:
		m.Ns = append(m.Ns, rr("example. 300 IN SOA ns.example. host.example. 1 3600 600 86400 300"))
	}
	w.WriteMsg(m)
}

// A validator behind us takes our denial of a name in a zone that is not signed: the
// owner of the SOA must not be a name of which it wants a signature.
func TestE2EValidatorsTakeDenialsOfUnsignedNames(t *testing.T) {
	root := newSignedRoot(t)
	s, _ := startServer(t, Options{Policy: withPolicy(refusals(t))}, dnstest.Start(t, root.answer))
	port := s.Addrs()[0].Port()
	for _, program := range []dnstest.Program{
		dnstest.Unbound(fmt.Sprintf("module-config: \"validator iterator\"\ntrust-anchor: \". DNSKEY 257 3 13 %s\"\nval-log-level: 2\n", root.key.PublicKey),
			fmt.Sprintf("forward-zone:\nname: .\nforward-addr: 127.0.0.1@%d\n", port)),
		dnstest.Named(fmt.Sprintf("forward only; forwarders { 127.0.0.1 port %d; }; dnssec-validation yes;\n", port),
			fmt.Sprintf("trust-anchors { . static-key 257 3 13 \"%s\"; };\n", root.key.PublicKey)),
	} {
		t.Run(program.Name, func(t *testing.T) {
			addr := dnstest.StartProgram(t, program)
			for _, test := range []struct {
				name string
				typ  uint16
				want string
			}{
				{"www.example.", dns.TypeA, "A 192.0.2.1"}, // validation as such works
				{"x.nx.example.", dns.TypeA, "NXDOMAIN"},
				{"nx.example.", dns.TypeA, "NXDOMAIN"},
				{"nodata.example.", dns.TypeA, "NOERROR"},
				{"null.example.", dns.TypeA, "A 0.0.0.0"},
				{"null.example.", dns.TypeHTTPS, "NOERROR"},
			} {
				for i := range 2 {
					if got := deniedBy(t, addr, test.name, test.typ); got != test.want {
						t.Errorf("%s %s, question %d: got %s, want %s", test.name, dns.TypeToString[test.typ], i+1, got, test.want)
					}
				}
			}
		})
	}
}
