package resolver

import (
	"testing"

	"github.com/miekg/dns"

	"telltale/blocklists"
	"telltale/dnswire"
	"telltale/resolver/dnstest"
)

// Rules on the servers of a zone hold where the upstream says who they are.
func TestServersOfZonesAreJudged(t *testing.T) {
	const zone = `$TTL 60
ns.evil.example.rpz-nsdname CNAME .
*.bulk.example.rpz-nsdname CNAME .
32.53.113.0.203.rpz-nsip CNAME .
48.zz.bad.db8.2001.rpz-nsip CNAME .
ns.spared.example.rpz-nsdname CNAME rpz-passthru.
`
	up := dnstest.Start(t, func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		name := q.Question[0].Name
		add := func(section *[]dns.RR, text string) { *section = append(*section, record(t, text)) }
		if q.Question[0].Qtype == dns.TypeA {
			add(&m.Answer, name+" 60 IN A 192.0.2.1")
		}
		switch name {
		case "named.example.":
			add(&m.Ns, "example. 60 IN NS NS.evil.example.")
		case "starred.example.", "observed.example.":
			add(&m.Ns, "example. 60 IN NS a.b.bulk.example.")
		case "star.example.": // a star is what is below it
			add(&m.Ns, "example. 60 IN NS bulk.example.")
		case "four.example.":
			add(&m.Ns, "example. 60 IN NS ns.four.example.")
			add(&m.Extra, "ns.four.example. 60 IN A 203.0.113.53")
		case "six.example.":
			add(&m.Ns, "example. 60 IN NS ns.six.example.")
			add(&m.Extra, "ns.six.example. 60 IN AAAA 2001:db8:bad::53")
		case "stray.example.": // an address of nobody's server
			add(&m.Ns, "example. 60 IN NS ns.good.example.")
			add(&m.Extra, "other.example. 60 IN A 203.0.113.53")
		case "outside.example.": // servers of another zone
			add(&m.Ns, "elsewhere.zz. 60 IN NS ns.evil.example.")
		case "spared.example.":
			add(&m.Ns, "example. 60 IN NS ns.spared.example.")
			add(&m.Ns, "example. 60 IN NS a.bulk.example.")
		case "own.example.":
			add(&m.Ns, "example. 60 IN NS ns.evil.example.")
		}
		w.WriteMsg(m)
	})
	lists := openLists(t, blocklists.Options{}, map[string]string{"zone.rpz": zone, "own.txt": "@@own.example\n"})
	s, _ := startServer(t, Options{Policy: withPolicy(lists)}, up)
	for _, c := range []struct {
		name    string
		blocked bool
	}{
		{"named.example.", true}, {"starred.example.", true}, {"star.example.", false}, {"four.example.", true}, {"six.example.", true},
		{"stray.example.", false}, {"outside.example.", false}, {"own.example.", false}, {"plain.example.", false},
	} {
		for _, network := range []string{"udp", "tcp", "udp"} { // also by the cache
			r := ask(t, s, network, c.name, dns.TypeA)
			if blocked := r.Rcode == dns.RcodeNameError; blocked != c.blocked {
				t.Errorf("%s by %s: got %s %q, want blocked %v", c.name, network, dns.RcodeToString[r.Rcode], data(r), c.blocked)
			}
		}
	}
	name, err := dnswire.ParseName("named.example")
	if err != nil {
		t.Fatal(err)
	}
	story, err := s.Explain(t.Context(), &name, dns.TypeA, Asker{})
	if err != nil || story.Server != "ns.evil.example" || story.Verdict.Action != blocklists.Block {
		t.Errorf("explained as %+v, %v", story, err)
	}
}
