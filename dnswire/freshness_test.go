package dnswire

import (
	"testing"

	"github.com/miekg/dns"
)

// freshness is Freshness by another parser.
func freshness(reply []byte) (seconds uint32, ok bool) {
	var m dns.Msg
	if m.Unpack(reply) != nil || m.Truncated || m.Rcode&0xf != dns.RcodeSuccess && m.Rcode&0xf != dns.RcodeNameError {
		return 0, false
	}
	least := func(ttl uint32) {
		if !ok || ttl < seconds {
			seconds, ok = ttl, true
		}
	}
	for _, rr := range m.Answer {
		least(rr.Header().Ttl)
	}
	for _, rr := range m.Ns {
		if soa, is := rr.(*dns.SOA); is {
			least(min(soa.Hdr.Ttl, soa.Minttl))
		}
	}
	return seconds, ok
}

// repliesForFreshness are replies of each kind.
func repliesForFreshness(t testing.TB) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	add := func(fact string, rcode int, answer, authority []string, change func(*dns.Msg)) {
		m := new(dns.Msg).SetQuestion("www.example.", dns.TypeA)
		m.Response, m.Rcode, m.Compress = true, rcode, true
		for _, text := range answer {
			m.Answer = append(m.Answer, testRR(t, text))
		}
		for _, text := range authority {
			m.Ns = append(m.Ns, testRR(t, text))
		}
		if change != nil {
			change(m)
		}
		wire, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		all[fact] = wire
	}
	add("the smallest of three", 0, []string{"www.example. 300 CNAME a.example.", "a.example. 20 A 192.0.2.1", "a.example. 60 A 192.0.2.2"}, nil, nil)
	add("an authority that is no SOA", 0, []string{"www.example. 300 A 192.0.2.1"}, []string{"example. 5 NS ns.example."}, nil)
	add("NXDOMAIN", dns.RcodeNameError, nil, []string{"example. 900 SOA ns.example. h.example. 1 2 3 4 60"}, nil)
	add("an SOA with a small TTL", dns.RcodeNameError, nil, []string{"example. 30 SOA ns.example. h.example. 1 2 3 4 60"}, nil)
	add("an alias of no data", 0, []string{"www.example. 10 CNAME a.example."}, []string{"example. 900 SOA ns.example. h.example. 1 2 3 4 60"}, nil)
	add("no record", 0, nil, nil, nil)
	add("SERVFAIL", dns.RcodeServerFailure, nil, []string{"example. 900 SOA ns.example. h.example. 1 2 3 4 60"}, nil)
	add("truncated", 0, []string{"www.example. 300 A 192.0.2.1"}, nil, func(m *dns.Msg) { m.Truncated = true })
	add("OPT behind", 0, []string{"www.example. 300 A 192.0.2.1"}, nil, func(m *dns.Msg) { m.SetEdns0(1232, true) })
	return all
}

func testRR(t testing.TB, text string) dns.RR {
	t.Helper()
	rr, err := dns.NewRR(text)
	if err != nil {
		t.Fatal(err)
	}
	return rr
}

func TestFreshness(t *testing.T) {
	wants := map[string]struct {
		seconds uint32
		ok      bool
	}{
		"the smallest of three": {20, true}, "an authority that is no SOA": {300, true}, "NXDOMAIN": {60, true}, "an SOA with a small TTL": {30, true},
		"an alias of no data": {10, true}, "no record": {}, "SERVFAIL": {}, "truncated": {}, "OPT behind": {300, true},
	}
	for fact, reply := range repliesForFreshness(t) {
		seconds, ok := Freshness(reply)
		if want := wants[fact]; seconds != want.seconds || ok != want.ok {
			t.Errorf("%s: got %d, %v, want %+v", fact, seconds, ok, want)
		}
		for end := range reply {
			Freshness(reply[:end]) // ends somewhere, and does not go beyond
		}
	}
}

func FuzzFreshness(f *testing.F) {
	for _, reply := range repliesForFreshness(f) {
		f.Add(reply)
	}
	f.Fuzz(func(t *testing.T, reply []byte) {
		Freshness(reply)
		var m dns.Msg
		if m.Unpack(reply) != nil {
			return
		}
		m.Compress = true
		packed, err := m.Pack() // as replies are that are served: nothing is left out, nothing is behind it
		if err != nil || m.Unpack(packed) != nil {
			return
		}
		seconds, ok := Freshness(packed)
		if wantSeconds, want := freshness(packed); seconds != wantSeconds || ok != want {
			t.Errorf("got %d, %v, want %d, %v: %v", seconds, ok, wantSeconds, want, &m)
		}
	})
}
