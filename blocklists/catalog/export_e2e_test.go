//go:build e2e

package catalog

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"telltale/resolver/dnstest"
)

// nested are names that say more, and less, than those above them.
var nested = []Entry{
	{Name: "ads.example", listed: true},
	{Name: "x.ads.example", Exact: true, listed: true},
	{Name: "a.b.c.ads.example", listed: true},
	{Name: "alone.example", Exact: true, listed: true},
	{Name: "half.example", Exact: true, listed: true},
	{Name: "low.half.example", listed: true},
	{Name: "twice.example", listed: true},
	{Name: "twice.example", Exact: true, listed: true},
	{Name: "known.example", Tier: "essential"},
}

// The programs that the formats are for block what is exported, with everything below
// a name or without it, for every type by which an address is found; and no more.
func TestE2EOthersBlockWhatIsExported(t *testing.T) {
	up := dnstest.Start(t, func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		m.RecursionAvailable = true
		for _, data := range []string{"A 192.0.2.1", "AAAA 2001:db8::1", "HTTPS 1 . ipv4hint=192.0.2.1"} {
			rr, err := dns.NewRR(q.Question[0].Name + " 60 IN " + data)
			if err != nil {
				panic(err)
			}
			if rr.Header().Rrtype == q.Question[0].Qtype {
				m.Answer = append(m.Answer, rr)
			}
		}
		w.WriteMsg(m)
	})
	port := up.Addr.Port()
	forwarding := fmt.Sprintf("forward-zone:\nname: .\nforward-addr: 127.0.0.1@%d\n", port)
	for _, test := range []struct {
		format  Format
		program dnstest.Program
	}{
		{"dnsmasq", dnstest.Dnsmasq(fmt.Sprintf("server=127.0.0.1#%d\nconf-file=DIR/list\n", port))},
		{"unbound", dnstest.Unbound("module-config: iterator\n", forwarding+"include: \"DIR/list\"\n")},
		{"rpz", dnstest.Unbound("module-config: \"respip iterator\"\n", forwarding+"rpz:\nname: rpz.example\nzonefile: \"DIR/list\"\n")},
		{"rpz", dnstest.Named(fmt.Sprintf("forward only; forwarders { 127.0.0.1 port %d; }; dnssec-validation no;\nresponse-policy { zone \"rpz.example\"; } qname-wait-recurse no;\n", port),
			"zone \"rpz.example\" { type primary; file \"list\"; };\n")},
		{"rpz", dnstest.Knot(fmt.Sprintf("policy.add(policy.rpz(policy.DENY, 'DIR/list'))\npolicy.add(policy.all(policy.STUB({'127.0.0.1@%d'})))\n", port))},
	} {
		t.Run(string(test.format)+" by "+test.program.Name, func(t *testing.T) {
			test.program.Files = map[string]string{"list": exportText(t, test.format, nested, false)}
			addr := dnstest.StartProgram(t, test.program)
			// BIND answers before its policy zone is in force.
			dnstest.WaitFor(t, func() bool { return isBlocked(t, addr, "begin.ads.example.", dns.TypeA) }, func() string { return "nothing is blocked" })
			for name, blocked := range map[string]bool{
				"ads.example.": true, "a.ads.example.": true, "x.ads.example.": true, "y.x.ads.example.": true,
				"a.b.c.ads.example.": true, "z.a.b.c.ads.example.": true, "b.c.ads.example.": true, "z.b.c.ads.example.": true, "z.c.ads.example.": true,
				"alone.example.": true, "a.alone.example.": false, "a.b.alone.example.": false, "xalone.example.": false,
				"half.example.": true, "up.half.example.": false, "low.half.example.": true, "a.low.half.example.": true,
				"twice.example.": true, "a.twice.example.": true,
				"known.example.": false, "other.example.": false, "example.": false,
			} {
				for _, typ := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeHTTPS} {
					if got := isBlocked(t, addr, name, typ); got != blocked {
						t.Errorf("%s %s is blocked: got %v, want %v", name, dns.TypeToString[typ], got, blocked)
					}
				}
			}
		})
	}
}

// isBlocked reports whether a server answers without the upstream's data.
func isBlocked(t *testing.T, addr, name string, typ uint16) bool {
	t.Helper()
	c := dns.Client{Timeout: 10 * time.Second}
	reply, _, err := c.Exchange(new(dns.Msg).SetQuestion(name, typ), addr)
	if err != nil {
		t.Fatalf("%s %s: %v", name, dns.TypeToString[typ], err)
	}
	if reply.Rcode != dns.RcodeSuccess && reply.Rcode != dns.RcodeNameError {
		t.Fatalf("%s %s: %s", name, dns.TypeToString[typ], dns.RcodeToString[reply.Rcode])
	}
	for _, rr := range reply.Answer {
		if text := rr.String(); strings.Contains(text, "192.0.2.1") || strings.Contains(text, "2001:db8::1") {
			return false
		}
	}
	return true
}

// The compiler by which AdGuard's lists are made takes every line for a rule, and
// finds none invalid, double or covered by another.
func TestE2ETheHostlistCompilerKeepsWhatIsExported(t *testing.T) {
	program, err := exec.LookPath("hostlist-compiler")
	if err != nil {
		t.Skip("skipped: there is no hostlist-compiler (npm install -g @adguard/hostlist-compiler@2.1.1)")
	}
	entries, _ := load(t).Tier("mixed")
	dir := t.TempDir()
	text := exportText(t, "adblock", entries, false)
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	config := write("config.json", fmt.Sprintf(`{"name": "Test", "sources": [{"name": "Test", "source": %q, "type": "adblock"}], "transformations": ["RemoveComments", "Compress", "Validate", "Deduplicate"]}`, write("list.txt", text)))
	out := filepath.Join(dir, "out.txt")
	if said, err := exec.Command(program, "-c", config, "-o", out).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	rules := func(text string) (rules []string) {
		for _, line := range strings.Split(text, "\n") {
			if line = strings.TrimSpace(line); line != "" && line[0] != '!' {
				rules = append(rules, line)
			}
		}
		slices.Sort(rules)
		return rules
	}
	got, want := rules(string(b)), rules(text)
	if !slices.Equal(got, want) {
		for _, rule := range want {
			if !slices.Contains(got, rule) {
				t.Logf("dropped: %s", rule)
			}
		}
		t.Errorf("got %d rules, want %d", len(got), len(want))
	}
}
