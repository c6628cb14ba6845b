package resolver

import (
	"bytes"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"telltale/blocklists"
	"telltale/querylog"
	"telltale/resolver/dnstest"
)

// What a Tap is handed are the octets that came and those that were sent, for whatever
// way an answer takes; and nothing for what is no lookup.
func TestTapIsHandedWhatCameAndWhatWasSent(t *testing.T) {
	type tapped struct {
		client       netip.AddrPort
		query, reply []byte
		source       querylog.Source
		action       blocklists.Action
	}
	var mu sync.Mutex
	var all []tapped
	up := dnstest.Start(t, dnstest.AnswerA("192.0.2.1"))
	lists := openLists(t, blocklists.Options{}, map[string]string{"ads.txt": "tracker.example\n"})
	s, _ := startServer(t, Options{Policy: withPolicy(lists)}, up)
	s.SetTap(func(r querylog.Record, client netip.AddrPort, query, reply []byte) {
		mu.Lock()
		defer mu.Unlock()
		all = append(all, tapped{client, bytes.Clone(query), bytes.Clone(reply), r.Source, r.Verdict.Action})
	})
	for _, network := range []string{"udp", "tcp"} {
		for _, of := range []struct {
			name   string
			source querylog.Source
			action blocklists.Action
		}{
			{network + ".www.example.", querylog.FromUpstream, blocklists.Pass},
			{network + ".www.example.", querylog.FromCache, blocklists.Pass},
			{"tracker.example.", querylog.FromPolicy, blocklists.Block},
		} {
			mu.Lock()
			all = nil
			mu.Unlock()
			query, err := new(dns.Msg).SetQuestion(of.name, dns.TypeA).SetEdns0(1232, false).Pack()
			if err != nil {
				t.Fatal(err)
			}
			c, err := net.Dial(network, s.Addrs()[0].String())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			c.SetDeadline(time.Now().Add(10 * time.Second))
			conn := &dns.Conn{Conn: c, UDPSize: 4096}
			if _, err := conn.Write(query); err != nil {
				t.Fatal(err)
			}
			reply := make([]byte, 4096)
			n, err := conn.Read(reply)
			if err != nil {
				t.Fatal(err)
			}
			dnstest.WaitFor(t, func() bool { mu.Lock(); defer mu.Unlock(); return len(all) > 0 }, func() string { return "nothing was tapped of " + of.name })
			mu.Lock()
			got, n1 := all[0], len(all)
			mu.Unlock()
			if n1 != 1 || !bytes.Equal(got.query, query) || !bytes.Equal(got.reply, reply[:n]) || got.source != of.source || got.action != of.action || got.client.String() != c.LocalAddr().String() {
				t.Errorf("%s %s: got %d, the first %+v; want %x and %x", network, of.name, n1, got, query, reply[:n])
			}
		}
	}
	mu.Lock()
	all = nil
	mu.Unlock()
	ask(t, s, "udp", HealthName, dns.TypeTXT)
	ask(t, s, "udp", "class.example", dns.TypeA, func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS })
	ask(t, s, "udp", "last.example", dns.TypeA)
	dnstest.WaitFor(t, func() bool { mu.Lock(); defer mu.Unlock(); return len(all) > 0 }, func() string { return "nothing was tapped" })
	mu.Lock()
	defer mu.Unlock()
	if len(all) != 1 || !bytes.Contains(all[0].query, []byte("\x04last")) {
		t.Errorf("got %+v, want the last one alone", all)
	}
	s.SetTap(nil)
	all = nil
	mu.Unlock()
	ask(t, s, "udp", "unseen.example", dns.TypeA)
	ask(t, s, "udp", "unseen.example", dns.TypeA) // answered, and so is all of the first
	mu.Lock()
	if len(all) != 0 {
		t.Errorf("nobody wants them any more: got %+v", all)
	}
}
