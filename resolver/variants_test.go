package resolver

import (
	"strings"
	"testing"

	"github.com/miekg/dns"

	"telltale/dnswire"
	"telltale/querylog"
	"telltale/resolver/dnstest"
)

// What an upstream said once serves all questions that it answers: a name that does
// not exist has no type, and an answer with signatures is one without.
func TestAnAnswerServesAllQuestionsItAnswers(t *testing.T) {
	const sig = " 8 2 300 20300101000000 20200101000000 1 example. AAAA"
	up := dnstest.Start(t, func(w dns.ResponseWriter, q *dns.Msg) {
		m, do := new(dns.Msg).SetReply(q), q.IsEdns0() != nil && q.IsEdns0().Do()
		add := func(section *[]dns.RR, lines ...string) {
			for _, line := range lines {
				rr, err := dns.NewRR(line)
				if err != nil {
					t.Error(err)
				}
				*section = append(*section, rr)
			}
		}
		name := strings.ToLower(q.Question[0].Name)
		switch name {
		case "www.example.":
			add(&m.Answer, "www.example. 300 IN CNAME a.example.")
			if do {
				add(&m.Answer, "www.example. 300 IN RRSIG CNAME"+sig)
			}
			add(&m.Answer, "a.example. 200 IN A 192.0.2.1")
			if do {
				add(&m.Answer, "a.example. 200 IN RRSIG A"+sig)
			}
		case "empty.example.", "gone.example.":
			add(&m.Ns, "example. 60 IN SOA ns.example. host.example. 1 2 3 4 60")
			if do {
				add(&m.Ns, "example. 60 IN RRSIG SOA"+sig, name+" 60 IN NSEC z.example. TXT RRSIG NSEC")
			}
			if name == "gone.example." {
				m.Rcode = dns.RcodeNameError
			}
		}
		w.WriteMsg(m)
	})
	s, recorded := startServer(t, Options{}, up)
	for i, test := range []struct {
		name   string
		typ    uint16
		do     bool
		rcode  int
		want   string // answer and authority
		source querylog.Source
		reason string
	}{
		{"www.example.", dns.TypeA, true, 0, "CNAME a.example., RRSIG CNAME" + sig + ", A 192.0.2.1, RRSIG A" + sig, querylog.FromUpstream, "with DO"},
		{"www.example.", dns.TypeA, false, 0, "CNAME a.example., A 192.0.2.1", querylog.FromCache, "without, from what DO brought"},
		{"www.example.", dns.TypeA, false, 0, "CNAME a.example., A 192.0.2.1", querylog.FromCache, "once more"},
		{"www.example.", dns.TypeA, true, 0, "CNAME a.example., RRSIG CNAME" + sig + ", A 192.0.2.1, RRSIG A" + sig, querylog.FromCache, "with DO once more"},
		{"empty.example.", dns.TypeA, true, 0, "SOA, RRSIG, NSEC", querylog.FromUpstream, "no data with DO"},
		{"empty.example.", dns.TypeA, false, 0, "SOA", querylog.FromCache, "no data without"},
		{"empty.example.", dns.TypeAAAA, false, 0, "SOA", querylog.FromUpstream, "no data says nothing of another type"},
		{"gone.example.", dns.TypeA, false, 3, "SOA", querylog.FromUpstream, "no such name"},
		{"gone.example.", dns.TypeAAAA, false, 3, "SOA", querylog.FromCache, "nor with another type"},
		{"gone.example.", dns.TypeTXT, false, 3, "SOA", querylog.FromCache, "nor another"},
		{"gone.example.", dns.TypeA, true, 3, "SOA, RRSIG, NSEC", querylog.FromUpstream, "DO needs the proof"},
		{"gone.example.", dns.TypeMX, true, 3, "SOA, RRSIG, NSEC", querylog.FromCache, "for all types"},
	} {
		r := ask(t, s, "tcp", test.name, test.typ, func(m *dns.Msg) {
			m.Extra = nil
			m.SetEdns0(1232, test.do)
		})
		got := data(r)
		if len(r.Answer) == 0 {
			var types []string
			for _, rr := range r.Ns {
				types = append(types, dns.TypeToString[rr.Header().Rrtype])
			}
			got = strings.Join(types, ", ")
		}
		source := recorded.last(t, i+1).Source
		if got != test.want || r.Rcode != test.rcode || source != test.source || r.Question[0].Qtype != test.typ {
			t.Errorf("%s: %s %s: got %s, rcode %d, type %d, from %v; want %s, %d, %d, %v", test.reason, test.name, dns.TypeToString[test.typ],
				got, r.Rcode, r.Question[0].Qtype, source, test.want, test.rcode, test.typ, test.source)
		}
	}
}

// What an upstream vouched for is so without its signatures too, for who wants to
// know.
func TestAnUnsignedAnswerKeepsAD(t *testing.T) {
	d := newHarness(t, Options{})
	e := d.teach("www.example.", dns.TypeA, "www.example. 300 IN A 192.0.2.1\nwww.example. 300 IN RRSIG A 8 2 300 20300101000000 20200101000000 1 example. AAAA", false,
		func(m *dns.Msg) { m.SetEdns0(1232, true) })
	for _, ad := range []bool{false, true} {
		d.s.cache.Flush()
		q := &dnswire.Question{Type: dns.TypeA, Class: dns.ClassINET, DO: true}
		if err := q.Name.Set("www.example."); err != nil {
			t.Fatal(err)
		}
		e.AD = ad
		d.s.cache.Put(q, e)
		r := d.ask("www.example.", dns.TypeA, func(m *dns.Msg) { m.AuthenticatedData = true })
		if data(r) != "A 192.0.2.1" || r.AuthenticatedData != ad {
			t.Errorf("got %q, AD %v, want the address and %v", data(r), r.AuthenticatedData, ad)
		}
	}
}
