package resolver

import (
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"

	"telltale/dnswire"
	"telltale/querylog"
	"telltale/resolver/dnstest"
)

var own64 = Settings{DNS64: DNS64{Prefix: netip.MustParsePrefix("2001:db8:64::/96")}}

func withDO(m *dns.Msg) { m.IsEdns0().SetDo() }
func withCD(m *dns.Msg) { m.CheckingDisabled = true }

func signedBy(m *dns.Msg) { m.SetEdns0(1232, true) }

// What a client that validates gets is what was signed (RFC 6147, 5.5).
func TestDNS64LeavesValidatorsAlone(t *testing.T) {
	const (
		soa    = "example. 300 IN SOA a. b. 1 2 3 4 300\n"
		soaSig = "example. 300 IN RRSIG SOA 13 1 300 20300101000000 20200101000000 1 example. AAAA\n"
		a      = "www.example. 300 IN A 192.0.2.1\n"
		aSig   = "www.example. 300 IN RRSIG A 13 2 300 20300101000000 20200101000000 1 example. AAAA\n"
	)
	const made = "AAAA 2001:db8:64::c000:201"
	for _, c := range []struct {
		name   string
		denial string
		a      string
		do, cd bool
		want   string
	}{
		{"nobody validates", "--\n" + soa, a, false, false, made},
		{"DO, and nothing is signed", "--\n" + soa, a, true, false, made},
		{"DO, and the denial is signed", "--\n" + soa + soaSig, a, true, false, ""},
		{"DO, and the addresses are signed", "--\n" + soa, a + aSig, true, false, ""},
		{"CD", "--\n" + soa, a, false, true, ""},
		{"DO and CD", "--\n" + soa, a, true, true, ""},
	} {
		d := newHarness(t, Options{Settings: own64})
		var change []func(*dns.Msg)
		if c.do {
			change = append(change, withDO)
		}
		if c.cd {
			change = append(change, withCD)
		}
		taught := func(m *dns.Msg) {
			if c.do {
				signedBy(m)
			}
			m.CheckingDisabled, m.AuthenticatedData = c.cd, true
		}
		d.teach("www.example.", dns.TypeAAAA, c.denial, false, taught)
		d.teach("www.example.", dns.TypeA, c.a, false, taught)
		r := d.ask("www.example.", dns.TypeAAAA, change...)
		if got := data(r); r.Rcode != dns.RcodeSuccess || got != c.want {
			t.Errorf("%s: got %s %q, want %q", c.name, dns.RcodeToString[r.Rcode], got, c.want)
		}
		if c.want != "" && r.AuthenticatedData {
			t.Errorf("%s: an address that was made is called validated", c.name)
		}
		if source := d.last().Source; source != querylog.FromCache {
			t.Errorf("%s: answered from %v", c.name, source)
		}
	}
}

// RFC 6147, 5.1.7.
func TestTTLsOfDNS64(t *testing.T) {
	for _, c := range []struct {
		name, denial, a string
		after           time.Duration
		want            uint32
	}{
		{"that of the address", "--\nexample. 300 IN SOA a. b. 1 2 3 4 300\n", "www.example. 60 IN A 192.0.2.1\n", 0, 60},
		{"that of the denial", "--\nexample. 300 IN SOA a. b. 1 2 3 4 20\n", "www.example. 60 IN A 192.0.2.1\n", 0, 20},
		{"each as old as it is", "--\nexample. 300 IN SOA a. b. 1 2 3 4 40\n", "www.example. 60 IN A 192.0.2.1\n", 30 * time.Second, 10},
		{"that of the address, older", "--\nexample. 300 IN SOA a. b. 1 2 3 4 300\n", "www.example. 60 IN A 192.0.2.1\n", 30 * time.Second, 30},
	} {
		d := newHarness(t, Options{Settings: own64})
		d.teach("www.example.", dns.TypeAAAA, c.denial, false)
		d.teach("www.example.", dns.TypeA, c.a, false)
		d.now = d.now.Add(c.after)
		r := d.ask("www.example.", dns.TypeAAAA)
		if len(r.Answer) != 1 || r.Answer[0].Header().Ttl != c.want || d.last().TTL != c.want {
			t.Errorf("%s: got %v, recorded %d, want %d", c.name, r.Answer, d.last().TTL, c.want)
		}
	}
}

// An upstream that fails on IPv6 addresses may know those of IPv4 (RFC 6147, 5.1.2),
// and one that knows neither is no name without addresses.
func TestDNS64OfFailures(t *testing.T) {
	up := dnstest.Start(t, func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		switch name := q.Question[0].Name; {
		case name == "half.example." && q.Question[0].Qtype == dns.TypeA:
			m.Answer = append(m.Answer, record(t, "half.example. 60 IN A 192.0.2.9"))
		case name == "gone.example.":
			m.Rcode = dns.RcodeNameError
		default:
			m.Rcode = dns.RcodeServerFailure
		}
		w.WriteMsg(m)
	})
	s, _ := startServer(t, Options{Settings: own64}, up)
	for _, network := range []string{"udp", "tcp"} {
		if got := data(ask(t, s, network, "half.example.", dns.TypeAAAA)); got != "AAAA 2001:db8:64::c000:209" {
			t.Errorf("%s: an upstream that fails for AAAA alone: got %q", network, got)
		}
		if r := ask(t, s, network, "none.example.", dns.TypeAAAA); r.Rcode != dns.RcodeServerFailure {
			t.Errorf("%s: an upstream that fails: got %s", network, dns.RcodeToString[r.Rcode])
		}
		if r := ask(t, s, network, "gone.example.", dns.TypeAAAA); r.Rcode != dns.RcodeNameError {
			t.Errorf("%s: no such name: got %s", network, dns.RcodeToString[r.Rcode])
		}
	}
}

// Without DNS64 a question for IPv6 addresses costs no more than any.
func TestDNS64CostsNothingWhereItIsOff(t *testing.T) {
	d := newHarness(t, Options{})
	d.teach("www.example.", dns.TypeAAAA, "www.example. 60 IN AAAA 2001:db8::1\n", false)
	packet := packetOf(t, "www.example.", dnswire.TypeAAAA)
	if n := dnstest.Allocs(100, func() { d.serve(packet) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
