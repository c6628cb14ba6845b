package resolver

import (
	"testing"
	"time"

	"github.com/miekg/dns"

	"telltale/resolver/dnstest"
	"telltale/resolver/upstream"
)

// What a server is about to say when another is set is for those alone who asked then.
func TestForwardChangesWhileQueriesAreUnderWay(t *testing.T) {
	dnstest.CheckLeaks(t)
	asked, answer := make(chan struct{}, 10), make(chan struct{})
	slow := func(a string) dns.HandlerFunc {
		return func(w dns.ResponseWriter, q *dns.Msg) {
			if q.Question[0].Qtype == dns.TypeA {
				asked <- struct{}{}
				<-answer
			}
			dnstest.AnswerA(a)(w, q)
		}
	}
	up, old := dnstest.Start(t, slow("192.0.2.1")), dnstest.Start(t, slow("192.0.2.2"))
	other := dnstest.Start(t, dnstest.AnswerA("192.0.2.3"))
	to := func(u *dnstest.Upstream) []upstream.Forward {
		return []upstream.Forward{{Zones: []string{"lan"}, Servers: []upstream.Server{{Addr: u.Addr}}}}
	}
	s, _ := startServer(t, Options{Upstreams: upstream.Options{Patience: 3 * time.Second}}, up)
	for _, step := range []struct {
		name   string // asked before the change
		before []upstream.Forward
		was    string
	}{
		{"a.lan.", nil, "A 192.0.2.1"}, // by a shared socket, of a server for all names
		{"b.lan.", to(old), "A 192.0.2.2"},
	} {
		if err := s.SetForwards(step.before); err != nil {
			t.Fatal(err)
		}
		first := make(chan string)
		go func() { first <- data(ask(t, s, "udp", step.name, dns.TypeA)) }()
		<-asked
		if err := s.SetForwards(to(other)); err != nil {
			t.Fatal(err)
		}
		if got := data(ask(t, s, "udp", step.name, dns.TypeA)); got != "A 192.0.2.3" {
			t.Errorf("%s: who asks after the change gets %s", step.name, got)
		}
		answer <- struct{}{}
		if got := <-first; got != step.was {
			t.Errorf("%s: who asked before gets %s", step.name, got)
		}
		if got := data(ask(t, s, "udp", step.name, dns.TypeA)); got != "A 192.0.2.3" {
			t.Errorf("%s: once the old server has answered, others get %s", step.name, got)
		}
	}
}
