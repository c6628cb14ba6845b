package resolver

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"telltale/blocklists"
	"telltale/devices"
	"telltale/dnswire"
	"telltale/querylog"
	"telltale/resolver/dnstest"
	"telltale/resolver/rebind"
)

// storyZone is what an upstream knows for the stories.
const storyZone = `
shop.example. 300 IN CNAME x.tracker.example.
x.tracker.example. 300 IN A 192.0.2.5
old.example. 300 IN DNAME tracker.example.
www.old.example. 300 IN CNAME www.tracker.example.
www.tracker.example. 300 IN A 192.0.2.6
svc.example. 300 IN HTTPS 1 x.tracker.example. alpn="h2"
ip.example. 300 IN A 192.0.2.66
fine.example. 300 IN A 192.0.2.1
mixed.example. 300 IN CNAME seen.example.
seen.example. 300 IN A 192.0.2.2
evil.com. 300 IN A 192.168.1.1
a.plex.direct. 300 IN A 192.168.1.2
nas.example. 300 IN A 192.0.2.9
`

func storyUpstream(t *testing.T) *dnstest.Upstream {
	var rrs []dns.RR
	for line := range strings.Lines(storyZone) {
		if rr, err := dns.NewRR(line); err != nil {
			t.Fatal(err)
		} else if rr != nil {
			rrs = append(rrs, rr)
		}
	}
	return dnstest.Start(t, func(w dns.ResponseWriter, q *dns.Msg) {
		m, at, known := new(dns.Msg).SetReply(q), strings.ToLower(q.Question[0].Name), false
		if at == "servfail.example." {
			m.Rcode = dns.RcodeServerFailure
			w.WriteMsg(m)
			return
		}
		for range 4 {
			next := ""
			for _, rr := range rrs {
				if h := rr.Header(); h.Name == at && (h.Rrtype == q.Question[0].Qtype || h.Rrtype == dns.TypeCNAME) {
					known = true
					m.Answer = append(m.Answer, rr)
					if c, ok := rr.(*dns.CNAME); ok {
						next = c.Target
					}
				}
			}
			if at = next; at == "" {
				break
			}
		}
		if !known {
			m.Rcode = dns.RcodeNameError
		}
		w.WriteMsg(m)
	})
}

// Explain must say what a query gets, and what the log says of it: whatever decides.
func TestExplainTellsTheStoryOfAQuery(t *testing.T) {
	lists := openLists(t, blocklists.Options{
		Lists:  []blocklists.ListSettings{{Name: "watch", Observe: true}},
		Groups: []blocklists.GroupSettings{{Name: "tv", Observe: true}},
	}, map[string]string{
		"ads.txt":   "||tracker.example^\n||192.0.2.66^\n",
		"watch.txt": "seen.example\n",
		"own.txt":   "192.168.1.9 nas.lan\n||files.lan^$dnsrewrite=nas.lan\n||far.lan^$dnsrewrite=nas.example\n||bad.lan^$dnsrewrite=ads.tracker.example\n@@||allowed.example^\n",
	})
	s, recorded := startServer(t, Options{Policy: withPolicy(lists), Binding: func(netip.Addr) *devices.Binding { return nil }}, storyUpstream(t))
	for _, test := range []struct {
		name, typ string
		check     func(*Story) string // "" if it is as it should be
	}{
		{"fine.example", "A", func(st *Story) string { return wantWords(st.Answer, "fine.example. 300 IN A 192.0.2.1") }},
		{"x.tracker.example", "A", func(st *Story) string { return wantWords(st.Leads) }},
		{"shop.example", "A", func(st *Story) string { return wantWords([]string{st.Alias}, "x.tracker.example") }},
		{"www.old.example", "A", func(st *Story) string { return wantWords([]string{st.Alias}, "www.tracker.example") }},
		{"svc.example", "HTTPS", func(st *Story) string { return wantWords([]string{st.Alias}, "x.tracker.example") }},
		{"ip.example", "A", func(st *Story) string { return wantWords([]string{st.Address.String()}, "192.0.2.66") }},
		{"mixed.example", "A", func(st *Story) string { return wantWords([]string{st.Alias}, "seen.example") }},
		{"evil.com", "A", func(st *Story) string {
			return wantWords([]string{st.Private[0].String(), fmt.Sprint(st.Rebind == rebind.Refused)}, "192.168.1.1", "true")
		}},
		{"a.plex.direct", "A", func(st *Story) string { return wantWords([]string{fmt.Sprint(st.Rebind == rebind.ByDesign)}, "true") }},
		{"nas.lan", "A", func(st *Story) string { return wantWords(st.Answer, "nas.lan. 10 IN A 192.168.1.9") }},
		{"files.lan", "A", func(st *Story) string { return wantWords(st.Redirects, "nas.lan") }},
		{"far.lan", "A", func(st *Story) string { return wantWords(st.Redirects, "nas.example") }},
		{"bad.lan", "A", func(st *Story) string { return wantWords([]string{st.Alias}, "ads.tracker.example") }},
		{"gone.example", "A", func(st *Story) string { return wantWords(nil) }},
		{"servfail.example", "A", func(st *Story) string { return wantWords(nil) }},
		{"localhost", "A", func(st *Story) string { return wantWords([]string{st.Special.Reply.String()}, "loopback") }},
		{"x.onion", "A", func(st *Story) string { return wantWords([]string{st.Special.Reply.String()}, "nxdomain") }},
	} {
		name, err := dnswire.ParseName(test.name)
		if err != nil {
			t.Fatal(err)
		}
		typ := dns.StringToType[test.typ]
		for range 2 { // by the upstream, then by the cache
			before := s.Stats()
			st, err := s.Explain(t.Context(), &name, typ, Asker{Client: netip.MustParseAddr("127.0.0.1")})
			if err != nil {
				t.Fatalf("%s: %v", test.name, err)
			}
			after := s.Stats()
			if before.Rebound != after.Rebound || before.Queries != after.Queries || before.Truncated != after.Truncated {
				t.Errorf("%s: an explanation was counted", test.name)
			}
			if wrong := test.check(st); wrong != "" {
				t.Errorf("%s: %s; %+v", test.name, wrong, st)
			}
			recorded.mu.Lock()
			rows := len(recorded.rows)
			recorded.mu.Unlock()
			r := ask(t, s, "udp", test.name+".", typ)
			row := recorded.last(t, rows+1)
			if row.Verdict.Action != st.Verdict.Action || row.Verdict.Rule != st.Verdict.Rule || row.Verdict.Class != st.Verdict.Class || row.Verdict.ObservedBy != st.Verdict.ObservedBy {
				t.Errorf("%s: explained as %+v, logged as %+v", test.name, st.Verdict, row.Verdict)
			}
			if alias := strings.TrimSuffix(row.alias, "."); alias != st.Alias {
				t.Errorf("%s: explained by alias %q, logged %q", test.name, st.Alias, alias)
			}
			if r.Rcode != int(st.Rcode) || len(r.Answer) != len(st.Answer) {
				t.Errorf("%s: explained as %s %v, answered %v", test.name, dnswire.RcodeString(st.Rcode), st.Answer, r)
			}
			if rebound := st.Source == querylog.FromRebind; rebound != (row.Source == querylog.FromRebind) {
				t.Errorf("%s: explained from %v, logged from %v", test.name, st.Source, row.Source)
			}
		}
	}
	recorded.mu.Lock()
	n := len(recorded.rows)
	recorded.mu.Unlock()
	if n != 2*17 {
		t.Errorf("%d rows, want one for each query and none for an explanation", n)
	}

	// As a device that is only observed.
	name, _ := dnswire.ParseName("shop.example")
	st, err := s.Explain(t.Context(), &name, dns.TypeA, Asker{Binding: &devices.Binding{Group: 1}, Client: netip.MustParseAddr("127.0.0.1")})
	if err != nil || st.Verdict.Action != blocklists.Observe || st.Verdict.ObservedBy != blocklists.ByDevice || st.Alias != "x.tracker.example" {
		t.Errorf("for a device that is observed: %+v, %v", st, err)
	}
}

func wantWords(got []string, want ...string) string {
	if slices.Equal(got, want) || len(got)+len(want) == 0 {
		return ""
	}
	return fmt.Sprintf("got %q, want %q", got, want)
}
