package resolver

import (
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"telltale/devices"
	"telltale/dnswire"
	"telltale/querylog"
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
	s, _ := startServer(t, Options{Upstreams: upstream.Options{Patience: 3 * time.Second, Budget: 20 * time.Second}}, up)
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

// One device is answered by servers of its own: neither a query under way, nor what is
// kept, nor what is stale is ever shared with others, in either direction.
func TestAnswersOfADevicesServersAreItsOwn(t *testing.T) {
	dnstest.CheckLeaks(t)
	var answer atomic.Pointer[chan struct{}]
	held := func(a string, asked *atomic.Int64, silent *atomic.Bool) dns.HandlerFunc {
		return func(w dns.ResponseWriter, q *dns.Msg) {
			if q.Question[0].Qtype != dns.TypeA || silent.Load() {
				if !silent.Load() {
					dnstest.AnswerA(a)(w, q)
				}
				return
			}
			asked.Add(1)
			<-*answer.Load()
			dnstest.AnswerA(a)(w, q)
		}
	}
	open := make(chan struct{})
	answer.Store(&open)
	var askedAll, askedOwn atomic.Int64
	var silentAll, silentOwn atomic.Bool
	all, own := dnstest.Start(t, held("192.0.2.1", &askedAll, &silentAll)), dnstest.Start(t, held("192.0.2.2", &askedOwn, &silentOwn))
	var ahead atomic.Int64
	s, _ := startServer(t, Options{
		Now:      func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) },
		Settings: Settings{Stale: time.Hour}, stalePatience: 50 * time.Millisecond,
		Binding: func(a netip.Addr) *devices.Binding {
			if a == netip.MustParseAddr("127.0.0.2") {
				return &devices.Binding{Group: 1}
			}
			return &devices.Binding{}
		},
		Upstreams: upstream.Options{
			Now: time.Now, Patience: 3 * time.Second, Budget: 20 * time.Second,
			Forwards: []upstream.Forward{{Servers: []upstream.Server{{Addr: own.Addr}}, For: []string{"device tv"}, Devices: []uint16{1}}},
		},
	}, all)
	from := func(ip string) string {
		m := new(dns.Msg).SetQuestion("www.example.", dns.TypeA).SetEdns0(1232, false)
		c := dns.Client{Timeout: 10 * time.Second, Dialer: dialerFrom(ip, "udp")}
		r, _, err := c.Exchange(m, s.Addrs()[0].String())
		if err != nil {
			return err.Error()
		}
		return data(r)
	}
	both := func() (everybody, device string) {
		first := make(chan string)
		go func() { first <- from("127.0.0.1") }()
		device = from("127.0.0.2")
		return <-first, device
	}
	wait := make(chan struct{})
	answer.Store(&wait)
	go func() {
		for askedAll.Load() == 0 || askedOwn.Load() == 0 { // both are asked while both wait
			time.Sleep(time.Millisecond)
		}
		close(wait)
	}()
	for _, when := range []string{"under way", "kept"} {
		if everybody, device := both(); everybody != "A 192.0.2.1" || device != "A 192.0.2.2" {
			t.Errorf("%s: everybody gets %s and the device %s", when, everybody, device)
		}
	}
	ahead.Store(int64(10 * time.Minute)) // its TTL is over
	silentOwn.Store(true)
	silentAll.Store(true)
	if everybody, device := both(); everybody != "A 192.0.2.1" || device != "A 192.0.2.2" {
		t.Errorf("stale: everybody gets %s and the device %s", everybody, device)
	}
}

// A device with servers of its own costs no allocation where the cache has its answer.
func TestOwnServersAllocateNothing(t *testing.T) {
	d := newHarness(t, Options{Upstreams: upstream.Options{Forwards: []upstream.Forward{{
		Zones: []string{"example"}, Servers: []upstream.Server{{Addr: netip.MustParseAddrPort("127.0.0.1:1")}}, For: []string{"device tv"}, Devices: []uint16{1},
	}}}})
	d.s.binding = func(netip.Addr) *devices.Binding { return ownBinding }
	name, err := dnswire.ParseName("www.example")
	if err != nil {
		t.Fatal(err)
	}
	e := d.teach("www.example.", dns.TypeA, "www.example. 300 IN A 192.0.2.2", true)
	q := dnswire.Question{Name: name, Type: dns.TypeA, Class: dns.ClassINET, View: d.s.upstreams.View(1, &name, false)}
	if q.View == 0 {
		t.Fatal("the device has no view")
	}
	d.s.cache.Put(&q, e)
	r := &countingWriter{records: make([]querylog.Record, 0, 1)}
	packet := packetOf(t, "www.example.", dns.TypeA)
	d.q.path.Client, d.q.transport = d.client, querylog.UDP
	serve := func() {
		r.records = r.records[:0]
		d.s.prepare(&d.q, d.s.policy(), d.now)
		d.s.serve(packet, &d.q, d.dst, r, r)
	}
	if serve(); len(r.records) != 1 || r.records[0].Source != querylog.FromCache {
		t.Fatalf("not answered by the cache: %v", r.records)
	}
	if n := dnstest.Allocs(500, serve); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

var ownBinding = &devices.Binding{Group: 1}
