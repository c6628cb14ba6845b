package resolver

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"telltale/blocklists"
	"telltale/dnswire"
	"telltale/resolver/dnstest"
)

// Equal questions that rules lead to the same name are one query upstream, also
// together with those for that name itself (RFC 5452, 5).
func TestRedirectedQuestionsAreAskedOnce(t *testing.T) {
	lists := openLists(t, blocklists.Options{}, map[string]string{"own.txt": "||files.home^$dnsrewrite=nas.example\n||music.home^$dnsrewrite=nas.example\n"})
	release := make(chan struct{})
	up := dnstest.Start(t, func(w dns.ResponseWriter, q *dns.Msg) {
		<-release
		dnstest.AnswerA("192.0.2.9")(w, q)
	})
	s, _ := startServer(t, Options{Policy: withPolicy(lists)}, up)
	var asking sync.WaitGroup
	for i := range 30 {
		name := []string{"files.home.", "music.home.", "nas.example."}[i%3]
		asking.Go(func() {
			want := "CNAME nas.example., A 192.0.2.9"
			if name == "nas.example." {
				want = "A 192.0.2.9"
			}
			if got := data(ask(t, s, []string{"udp", "tcp"}[i%2], name, dns.TypeA)); got != want {
				t.Errorf("%s: got %q, want %q", name, got, want)
			}
		})
	}
	for end := time.Now().Add(20 * time.Second); s.Stats().Waiting < 30; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d wait, want 30", s.Stats().Waiting)
		}
	}
	close(release)
	asking.Wait()
	if n := up.Asked.Load(); n > 7 { // it may be asked again where it is slow
		t.Errorf("%d queries upstream for 30 questions, want one", n)
	}
}

// A list that may answer is not the person's own: it must not lead into the network,
// and a zone of the home is asked of nobody outside whoever leads there.
func TestRedirectsOfLists(t *testing.T) {
	lists := openLists(t, blocklists.Options{Lists: []blocklists.ListSettings{{Name: "garden", Answers: true}}}, map[string]string{
		"garden.txt": "||walled.example.com^$dnsrewrite=inside.example.com\n",
		"own.txt":    "||own.example.com^$dnsrewrite=inside.example.com\n||nas.example.com^$dnsrewrite=nas.home.arpa\n",
	})
	s, _ := startServer(t, Options{Policy: withPolicy(lists)}, dnstest.Start(t, dnstest.AnswerA("192.168.1.1")))
	if r := ask(t, s, "udp", "walled.example.com.", dns.TypeA); r.Rcode != dns.RcodeServerFailure {
		t.Errorf("a list leads into the network: %s %q", dns.RcodeToString[r.Rcode], data(r))
	}
	if r := ask(t, s, "udp", "own.example.com.", dns.TypeA); data(r) != "CNAME inside.example.com., A 192.168.1.1" {
		t.Errorf("the person's own rule does not: %s %q", dns.RcodeToString[r.Rcode], data(r))
	}
	q := &query{policy: lists, received: time.Now()}
	name, err := dnswire.ParseName("nas.example.com")
	if err != nil || q.setQuestion(&name, dns.TypeA) != nil {
		t.Fatal(err)
	}
	if _, source := s.answerNow(nil, q); source != 0 || !q.private || q.asked().Name.String() != "nas.home.arpa" {
		t.Errorf("a zone of the home: source %v, private %v, asks for %s", source, q.private, q.asked().Name.String())
	}
}

// A redirected answer says what became of the alias, and is bounded as any other.
func TestRedirectedAnswers(t *testing.T) {
	lists := openLists(t, blocklists.Options{}, map[string]string{
		"own.txt": "||gone.home^$dnsrewrite=missing.example\n||here.home^$dnsrewrite=x.invalid\n||long.home^$dnsrewrite=long.example\n||mad.home^$dnsrewrite=refused.example\n",
	})
	s, _ := startServer(t, Options{Policy: withPolicy(lists)}, dnstest.Start(t, func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		switch q.Question[0].Name {
		case "missing.example.":
			m.Rcode = dns.RcodeNameError
		case "refused.example.":
			m.Rcode = dns.RcodeRefused
		case "long.example.":
			m.Truncate(dns.MaxMsgSize)
			for i := range 100 {
				rr, _ := dns.NewRR(fmt.Sprintf("long.example. 60 IN TXT \"%040d\"", i))
				m.Answer = append(m.Answer, rr)
			}
			if w.LocalAddr().Network() == "udp" {
				m.Answer, m.Truncated = nil, true
			}
		}
		w.WriteMsg(m)
	}))
	for _, test := range []struct {
		name, network string
		typ           uint16
		rcode         int
		answers       int
		truncated     bool
	}{
		{"gone.home.", "udp", dns.TypeA, dns.RcodeNameError, 1, false},
		{"gone.home.", "udp", dns.TypeA, dns.RcodeNameError, 1, false}, // from the cache
		{"here.home.", "udp", dns.TypeA, dns.RcodeNameError, 1, false},
		{"mad.home.", "udp", dns.TypeA, dns.RcodeServerFailure, 0, false},
		{"long.home.", "udp", dns.TypeTXT, dns.RcodeSuccess, 0, true},
		{"long.home.", "tcp", dns.TypeTXT, dns.RcodeSuccess, 101, false},
		{"gone.home.", "udp", dns.TypeCNAME, dns.RcodeSuccess, 1, false}, // the alias itself
	} {
		r := ask(t, s, test.network, test.name, test.typ)
		if r.Rcode != test.rcode || len(r.Answer) != test.answers || r.Truncated != test.truncated {
			t.Errorf("%s %s by %s: %s, %d records, truncated %v; want %s, %d, %v", test.name, dns.TypeToString[test.typ], test.network,
				dns.RcodeToString[r.Rcode], len(r.Answer), r.Truncated, dns.RcodeToString[test.rcode], test.answers, test.truncated)
		}
	}
}
