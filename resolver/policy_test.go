package resolver

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"telltale/blocklists"
	"telltale/devices"
	"telltale/querylog"
	"telltale/resolver/dnstest"
)

// openLists compiles list files, by name.
func openLists(t testing.TB, o blocklists.Options, files map[string]string) *blocklists.Policy {
	t.Helper()
	o.Dir, o.Poll = t.TempDir(), -1
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(o.Dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	lists, err := blocklists.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	defer lists.Close() // a policy outlives it, and nothing goes on behind tests that count allocations
	for _, st := range lists.Status() {
		if st.BadSeen > 0 {
			t.Fatalf("list %s has %d bad lines", st.Name, st.BadSeen)
		}
	}
	return lists.Current()
}

func withPolicy(p *blocklists.Policy) func() *blocklists.Policy {
	return func() *blocklists.Policy { return p }
}

func modeOf(m blocklists.Mode) *blocklists.Mode { return &m }

// everyMode is a policy with a name for each way to answer.
func everyMode(t testing.TB) *blocklists.Policy {
	return openLists(t, blocklists.Options{
		Lists: []blocklists.ListSettings{
			{Name: "nx", Mode: modeOf(blocklists.NXDomain)}, {Name: "nodata", Mode: modeOf(blocklists.NoData)},
			{Name: "refused", Mode: modeOf(blocklists.Refuse)}, {Name: "watch", Observe: true},
			{Name: "custom", Mode: modeOf(blocklists.Custom), Custom4: netip.MustParseAddr("192.0.2.99")},
		},
	}, map[string]string{
		"ads.txt": "null.example\n@@ok.null.example\n", "nx.txt": "nx.example\n", "nodata.txt": "nodata.example\n",
		"refused.txt": "refused.example\n", "custom.txt": "custom.example\n", "watch.txt": "watched.example\n",
		"zone.txt": "$TTL 60\ndrop.example CNAME rpz-drop.\ntcp.example CNAME rpz-tcp-only.\n32.66.2.0.192.rpz-ip CNAME .\n",
		"own.txt":  "192.168.1.9 nas.lan\nfd00::9 nas.lan\n",
	})
}

func TestEveryWayToAnswer(t *testing.T) {
	up := dnstest.Start(t, dnstest.AnswerA("192.0.2.1"))
	s, recorded := startServer(t, Options{Policy: withPolicy(everyMode(t))}, up)
	n := 0
	for _, test := range []struct {
		network string
		name    string
		typ     uint16
		rcode   int // -1: no reply
		data    string
		list    string // as EDE 15 names it
		verdict blocklists.Action
		source  querylog.Source
		ttl     uint32
	}{
		{"udp", "x.null.example.", dns.TypeA, 0, "A 0.0.0.0", "ads", blocklists.Block, querylog.FromPolicy, 10},
		{"tcp", "x.null.example.", dns.TypeAAAA, 0, "AAAA ::", "ads", blocklists.Block, querylog.FromPolicy, 10},
		{"udp", "null.example.", dns.TypeHTTPS, 0, "", "ads", blocklists.Block, querylog.FromPolicy, 10},
		{"udp", "null.example.", dns.TypeANY, 0, "", "ads", blocklists.Block, querylog.FromPolicy, 10},
		{"udp", "ok.null.example.", dns.TypeA, 0, "A 192.0.2.1", "", blocklists.Allow, querylog.FromUpstream, 60},
		{"udp", "nx.example.", dns.TypeA, dns.RcodeNameError, "", "nx", blocklists.Block, querylog.FromPolicy, 10},
		{"tcp", "nodata.example.", dns.TypeA, 0, "", "nodata", blocklists.Block, querylog.FromPolicy, 10},
		{"udp", "refused.example.", dns.TypeA, dns.RcodeRefused, "", "refused", blocklists.Block, querylog.FromPolicy, 0},
		{"udp", "custom.example.", dns.TypeA, 0, "A 192.0.2.99", "custom", blocklists.Block, querylog.FromPolicy, 10},
		{"udp", "custom.example.", dns.TypeAAAA, 0, "", "custom", blocklists.Block, querylog.FromPolicy, 10},
		{"udp", "watched.example.", dns.TypeA, 0, "A 192.0.2.1", "", blocklists.Observe, querylog.FromUpstream, 60},
		{"tcp", "watched.example.", dns.TypeA, 0, "A 192.0.2.1", "", blocklists.Observe, querylog.FromCache, 60},
		{"udp", "drop.example.", dns.TypeA, -1, "", "", blocklists.Block, querylog.FromPolicy, 0},
		{"tcp", "drop.example.", dns.TypeA, -1, "", "", blocklists.Block, querylog.FromPolicy, 0},
		{"udp", "tcp.example.", dns.TypeA, 0, "TC", "", blocklists.Block, querylog.FromPolicy, 0},
		{"tcp", "tcp.example.", dns.TypeA, 0, "A 192.0.2.1", "", blocklists.Observe, querylog.FromUpstream, 60},
		{"udp", "nas.lan.", dns.TypeA, 0, "A 192.168.1.9", "", blocklists.Answer, querylog.FromPolicy, 10},
		{"tcp", "nas.lan.", dns.TypeAAAA, 0, "AAAA fd00::9", "", blocklists.Answer, querylog.FromPolicy, 10},
		{"udp", "nas.lan.", dns.TypeMX, 0, "", "", blocklists.Answer, querylog.FromPolicy, 10},
		{"udp", "9.1.168.192.in-addr.arpa.", dns.TypePTR, 0, "PTR nas.lan.", "", blocklists.Answer, querylog.FromPolicy, 10},
		{"udp", "plain.example.", dns.TypeA, 0, "A 192.0.2.1", "", blocklists.Pass, querylog.FromUpstream, 60},
	} {
		t.Run(fmt.Sprint(test.network, " ", test.name, dns.TypeToString[test.typ]), func(t *testing.T) {
			n++
			if test.rcode == -1 {
				m := new(dns.Msg).SetQuestion(test.name, test.typ)
				c, err := dns.Dial(test.network, s.Addrs()[0].String())
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				c.WriteMsg(m)
				recorded.last(t, n)
				c.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
				if r, err := c.ReadMsg(); err == nil {
					t.Errorf("answered %v", r)
				}
			} else {
				r := ask(t, s, test.network, test.name, test.typ)
				got := data(r)
				if r.Truncated {
					got = "TC"
				}
				if r.Rcode != test.rcode || got != test.data {
					t.Errorf("%s %q, want %s %q", dns.RcodeToString[r.Rcode], got, dns.RcodeToString[test.rcode], test.data)
				}
				code, list, blocked := ede(r)
				if blocked != (test.list != "") || blocked && code != dns.ExtendedErrorCodeBlocked || list != test.list {
					t.Errorf("EDE %d %q, want list %q", code, list, test.list)
				}
			}
			row := recorded.last(t, n)
			if row.Verdict.Action != test.verdict || row.Source != test.source || row.TTL > test.ttl || row.TTL+5 < test.ttl {
				t.Errorf("logged %v from %v with TTL %d, want %v from %v with %d", row.Verdict.Action, row.Source, row.TTL, test.verdict, test.source, test.ttl)
			}
			if row.name != test.name || (row.Transport == querylog.TCP) != (test.network == "tcp") {
				t.Errorf("logged %s over %v", row.name, row.Transport)
			}
		})
	}
}

func TestWithoutEDNSNoReasonIsGiven(t *testing.T) {
	s, _ := startServer(t, Options{Policy: withPolicy(everyMode(t))})
	r := ask(t, s, "udp", "nx.example.", dns.TypeA, func(m *dns.Msg) { m.Extra = nil })
	if r.Rcode != dns.RcodeNameError || len(r.Extra) != 0 {
		t.Errorf("%v", r)
	}
}

// A list of the user's own for one name must not make a UDP reply that its
// client cannot take.
func TestManyLocalRecordsAreTruncated(t *testing.T) {
	var own strings.Builder
	for i := range 120 {
		fmt.Fprintf(&own, "192.168.1.%d many.lan\n", i+1)
	}
	s, recorded := startServer(t, Options{Policy: withPolicy(openLists(t, blocklists.Options{}, map[string]string{"own.txt": own.String()}))})
	for _, size := range []uint16{0, 512, 1232, 4096} {
		r := ask(t, s, "udp", "many.lan.", dns.TypeA, func(m *dns.Msg) {
			if m.Extra = nil; size > 0 {
				m.SetEdns0(size, false)
			}
		})
		if !r.Truncated || len(r.Answer) != 0 {
			t.Errorf("client of %d octets: TC %v, %d records", size, r.Truncated, len(r.Answer))
		}
	}
	if r := ask(t, s, "tcp", "many.lan.", dns.TypeA); r.Truncated || len(r.Answer) != 120 {
		t.Errorf("over TCP: TC %v, %d records, want 120", r.Truncated, len(r.Answer))
	}
	if row := recorded.last(t, 5); row.Verdict.Action != blocklists.Answer {
		t.Errorf("logged %v", row.Verdict.Action)
	}
}

// chains is what the upstream says in the tests of aliases.
const chains = `one.example. 300 IN CNAME two.example.
two.example. 300 IN CNAME three.example.
three.example. 300 IN A 192.0.2.1
listed.example. 300 IN A 192.0.2.66
svc.example. 300 IN HTTPS 1 target.example. alpn="h2"
hint.example. 300 IN HTTPS 1 . ipv4hint="192.0.2.66"
plain.example. 300 IN A 192.0.2.7`

func TestAliasesAreJudgedByTodaysPolicy(t *testing.T) {
	var now atomic.Pointer[blocklists.Policy]
	up := dnstest.Start(t, zone(t, chains))
	s, recorded := startServer(t, Options{Policy: now.Load}, up)
	rows, fetched := 0, map[string]bool{}
	for _, test := range []struct {
		name  string
		lists map[string]string
		query string
		typ   uint16
		data  string
		want  blocklists.Action
		alias string
		rule  string
	}{
		{"no list, nothing blocked", map[string]string{"ads.txt": "# nothing\n"}, "one.example.", dns.TypeA, "CNAME two.example., CNAME three.example., A 192.0.2.1", blocklists.Pass, "", ""},
		{"an alias is blocked, from the cache too", map[string]string{"ads.txt": "three.example\n"}, "one.example.", dns.TypeA, "A 0.0.0.0", blocklists.Block, "three.example.", "three.example"},
		{"the first alias that is blocked decides", map[string]string{"ads.txt": "three.example\ntwo.example\n"}, "one.example.", dns.TypeA, "A 0.0.0.0", blocklists.Block, "two.example.", "two.example"},
		{"an exception for a later alias does not lift it", map[string]string{"ads.txt": "two.example\n@@three.example\n"}, "one.example.", dns.TypeA, "A 0.0.0.0", blocklists.Block, "two.example.", "two.example"},
		{"an exception for an earlier alias neither", map[string]string{"ads.txt": "three.example\n@@two.example\n"}, "one.example.", dns.TypeA, "A 0.0.0.0", blocklists.Block, "three.example.", "three.example"},
		{"an exception for the name itself does", map[string]string{"ads.txt": "three.example\n@@one.example\n"}, "one.example.", dns.TypeA, "CNAME two.example., CNAME three.example., A 192.0.2.1", blocklists.Allow, "", "one.example"},
		{"an observed alias is recorded and answered", map[string]string{"watch.txt": "two.example\n"}, "one.example.", dns.TypeA, "CNAME two.example., CNAME three.example., A 192.0.2.1", blocklists.Observe, "two.example.", "two.example"},
		{"an enforced alias wins over an observed one", map[string]string{"watch.txt": "two.example\n", "ads.txt": "three.example\n"}, "one.example.", dns.TypeA, "A 0.0.0.0", blocklists.Block, "three.example.", "three.example"},
		{"the list is empty again", map[string]string{"ads.txt": "# nothing\n"}, "one.example.", dns.TypeA, "CNAME two.example., CNAME three.example., A 192.0.2.1", blocklists.Pass, "", ""},
		{"a target of HTTPS is blocked", map[string]string{"ads.txt": "target.example\n"}, "svc.example.", dns.TypeHTTPS, "", blocklists.Block, "target.example.", "target.example"},
		{"an address is blocked", map[string]string{"zone.txt": "$TTL 60\n32.66.2.0.192.rpz-ip CNAME .\n"}, "listed.example.", dns.TypeA, "", blocklists.Block, "", ""},
		{"an address in a hint is blocked", map[string]string{"zone.txt": "$TTL 60\n32.66.2.0.192.rpz-ip CNAME .\n"}, "hint.example.", dns.TypeHTTPS, "", blocklists.Block, "", ""},
		{"another address is not", map[string]string{"zone.txt": "$TTL 60\n32.66.2.0.192.rpz-ip CNAME .\n"}, "plain.example.", dns.TypeA, "A 192.0.2.7", blocklists.Pass, "", ""},
	} {
		for _, network := range []string{"udp", "tcp"} {
			t.Run(test.name+" "+network, func(t *testing.T) {
				now.Store(openLists(t, blocklists.Options{Lists: []blocklists.ListSettings{{Name: "watch", Observe: true}}}, test.lists))
				for range 2 { // the verdict that the entry remembers is the same
					r := ask(t, s, network, test.query, test.typ)
					rows++
					if got := data(r); got != test.data {
						t.Errorf("%q, want %q", got, test.data)
					}
					row := recorded.last(t, rows)
					question := test.query + dns.TypeToString[test.typ]
					if row.Source == querylog.FromUpstream && fetched[question] {
						t.Error("the upstream was asked once more: lists need no flush")
					}
					fetched[question] = true
					if row.Verdict.Action != test.want || row.alias != test.alias || row.name != test.query {
						t.Errorf("logged %v of %s by %q, want %v by %q", row.Verdict.Action, row.name, row.alias, test.want, test.alias)
					}
					if rule := now.Load().Rule(row.Verdict.Rule); !strings.Contains(rule.Text, test.rule) {
						t.Errorf("logged rule %q, want %q", rule.Text, test.rule)
					}
				}
			})
		}
	}
	if got := up.Asked.Load(); got < 5 { // more on a machine where an answer takes so long that it is asked for again
		t.Errorf("asked upstream %d times, want once for each of 5 questions", got)
	}
}

// An entry remembers by which policy and group it was found clean, and nothing
// else may be believed.
func TestCleanIsRememberedForOnePolicyAndOneGroup(t *testing.T) {
	off := blocklists.GroupSettings{Name: "off", Lists: []blocklists.GroupList{{Name: "ads", Is: blocklists.ListOffFor}}}
	p := openLists(t, blocklists.Options{Groups: []blocklists.GroupSettings{off}}, map[string]string{"ads.txt": "three.example\n"})
	var binding atomic.Pointer[devices.Binding]
	s, _ := startServer(t, Options{Policy: withPolicy(p), Binding: func(netip.Addr) *devices.Binding { return binding.Load() }}, dnstest.Start(t, zone(t, chains)))
	for i, test := range []struct {
		group uint16
		want  string
	}{{1, "CNAME two.example., CNAME three.example., A 192.0.2.1"}, {0, "A 0.0.0.0"}, {1, "CNAME two.example., CNAME three.example., A 192.0.2.1"}, {0, "A 0.0.0.0"}} {
		binding.Store(&devices.Binding{Group: test.group})
		if got := data(ask(t, s, "udp", "one.example.", dns.TypeA)); got != test.want {
			t.Errorf("%d: group %d got %q, want %q", i, test.group, got, test.want)
		}
	}
}

func TestRebinding(t *testing.T) {
	for _, test := range []struct {
		name    string
		typ     uint16
		data    string
		refused bool
	}{
		{"www.example.com.", dns.TypeA, "192.0.2.1", false},
		{"www.example.com.", dns.TypeA, "192.168.1.1", true},
		{"www.example.com.", dns.TypeA, "10.0.0.1", true},
		{"www.example.com.", dns.TypeA, "172.16.0.1", true},
		{"www.example.com.", dns.TypeA, "169.254.169.254", true},
		{"www.example.com.", dns.TypeA, "127.0.0.1", true},
		{"www.example.com.", dns.TypeA, "100.64.0.1", true}, // of a carrier's customers (RFC 6598)
		{"www.example.com.", dns.TypeA, "0.0.0.0", false},   // an upstream that filters
		{"www.example.com.", dns.TypeAAAA, "fd00::1", true},
		{"www.example.com.", dns.TypeAAAA, "fe80::1", true},
		{"www.example.com.", dns.TypeAAAA, "::1", true},
		{"www.example.com.", dns.TypeAAAA, "::ffff:192.168.1.1", true},
		{"www.example.com.", dns.TypeAAAA, "64:ff9b::c0a8:101", true},
		{"www.example.com.", dns.TypeAAAA, "64:ff9b::c000:201", false},
		{"www.example.com.", dns.TypeAAAA, "2001:db8::1", false},
		{"www.example.com.", dns.TypeHTTPS, `1 . ipv4hint="192.0.2.1,192.168.1.1"`, true},
		{"www.example.com.", dns.TypeHTTPS, `1 . ipv6hint="fd00::1"`, true},
		{"www.example.com.", dns.TypeHTTPS, `1 . ipv4hint="192.0.2.1"`, false},
		{"evil.duckdns.org.", dns.TypeA, "192.168.1.1", true}, // a public suffix of a company
		{"evil.github.io.", dns.TypeA, "192.168.1.1", true},
		{"nas.example.net.", dns.TypeA, "192.168.1.1", false},          // allowed
		{"a.nas.example.net.", dns.TypeA, "192.168.1.1", false},        // and below
		{"bnas.example.net.", dns.TypeA, "192.168.1.1", true},          // and not beside
		{"a.plex.direct.", dns.TypeA, "192.168.1.1", false},            // known to do so
		{"files.corp.", dns.TypeA, "10.0.0.1", false},                  // not public
		{"2.0.0.127.zen.spamhaus.org.", dns.TypeA, "127.0.0.2", false}, // a DNS list
		{"2.0.0.127.zen.spamhaus.org.", dns.TypeA, "127.0.0.1", true},
		{"2.0.0.127.zen.spamhaus.org.", dns.TypeA, "192.168.1.1", true},
		{"2.0.0.127.zen.spamhaus.org.", dns.TypeHTTPS, `1 . ipv4hint="192.168.1.1"`, true},
		{"2.0.0.127.zen.spamhaus.org.", dns.TypeAAAA, "::1", true},
		{"x.0.0.127.zen.spamhaus.org.", dns.TypeA, "127.0.0.2", true},
		{"1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.zen.spamhaus.org.", dns.TypeA, "127.0.0.2", false},
	} {
		t.Run(test.name+" "+test.data, func(t *testing.T) {
			d := newHarness(t, Options{Settings: Settings{RebindAllow: []string{"nas.example.net"}}})
			for _, private := range []bool{false, true} {
				d.s.cache.Flush()
				d.teach(test.name, test.typ, fmt.Sprintf("%s 300 IN %s %s", test.name, dns.TypeToString[test.typ], test.data), private)
				r := d.ask(test.name, test.typ)
				refused := test.refused // whoever says so
				if got := r.Rcode == dns.RcodeServerFailure; got != refused {
					t.Fatalf("private upstream %v: refused %v, want %v", private, got, refused)
				}
				code, _, _ := ede(r)
				if refused != (code == dns.ExtendedErrorCodeFiltered) || len(r.Answer) > 0 == refused {
					t.Errorf("EDE %d, %d records", code, len(r.Answer))
				}
				if source := d.last().Source; (source == querylog.FromRebind) != refused {
					t.Errorf("logged from %v", source)
				}
			}
		})
	}
}

// What a listed alias leads to in the network is blocked, and not called a
// rebinding: the list is the reason to show.
func TestListsGoBeforeRebinding(t *testing.T) {
	d := newHarness(t, Options{Policy: withPolicy(openLists(t, blocklists.Options{}, map[string]string{"ads.txt": "tracker.example\n"}))})
	d.teach("www.example.com.", dns.TypeA, "www.example.com. 300 IN CNAME tracker.example.\ntracker.example. 300 IN A 192.168.1.1", false)
	if r := d.ask("www.example.com.", dns.TypeA); data(r) != "A 0.0.0.0" || d.last().Verdict.Action != blocklists.Block {
		t.Errorf("%q, logged %v", data(r), d.last().Verdict.Action)
	}
}

func TestNamesOfAnyOctetsReachTheLog(t *testing.T) {
	s, recorded := startServer(t, Options{}, dnstest.Start(t, dnstest.AnswerA("192.0.2.1")))
	long := strings.Repeat("A", 63)
	for i, name := range []string{
		`a\.b.example.`, `nul\000.example.`, `back\\slash.example.`, `UPPER.Example.`, `\255\128.example.`, `sp\ ace.example.`,
		long + "." + long + "." + long + "." + long[:61] + ".", strings.Repeat("x.", 127), ".", `<script>.example.`, `\@\$\;\".example.`,
	} {
		r := ask(t, s, []string{"udp", "tcp"}[i%2], name, dns.TypeA)
		if len(r.Answer) != 1 || r.Rcode != dns.RcodeSuccess {
			t.Errorf("%s: %v", name, r)
			continue
		}
		row := recorded.last(t, i+1)
		want, got := make([]byte, 256), make([]byte, 256)
		n, err := dns.PackDomainName(strings.ToLower(name), want, 0, nil, false)
		if err != nil {
			t.Fatal(err)
		}
		m, err := dns.PackDomainName(row.name, got, 0, nil, false)
		if err != nil || string(got[:m]) != string(want[:n]) {
			t.Errorf("logged %q for %q", row.name, name)
		}
	}
}
