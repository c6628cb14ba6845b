package blocklists

import (
	"fmt"
	"testing"

	"telltale/dnswire"
)

func TestLocalRecords(t *testing.T) {
	p := policyOf(t, Options{Dir: files(t, map[string]string{
		"own.txt": "192.168.1.9 nas.lan nas\nfd00::9 nas.lan\n192.168.1.10 nas.lan\n192.168.1.9 other.lan\n",
	})})
	for _, c := range []struct {
		fact, ask string
		qtype     uint16
		want      string
	}{
		{"both addresses of a name, from two lines", "nas.lan", dnswire.TypeA, "A 10 c0a80109; A 10 c0a8010a; "},
		{"the other family from a line of its own", "nas.lan", dnswire.TypeAAAA, "AAAA 10 fd000000000000000000000000000009; "},
		{"no record of another type", "nas.lan", dnswire.TypeMX, ""},
		{"the second name of a line", "nas", dnswire.TypeA, "A 10 c0a80109; "},
		{"an address has one name: the first", "9.1.168.192.in-addr.arpa", dnswire.TypePTR, "PTR 10 036e6173036c616e00; "},
	} {
		t.Run(c.fact, func(t *testing.T) {
			v := p.Decide(name(t, c.ask), c.qtype, 0)
			if v.Action != Answer || v.Mode != Records {
				t.Fatalf("got %v", said(v))
			}
			got := ""
			for _, r := range p.Records(v, c.qtype) {
				got += fmt.Sprintf("%s %d %x; ", dnswire.TypeString(r.Type), r.TTL, r.Data)
			}
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestAnswersOfLists(t *testing.T) {
	dir := files(t, map[string]string{"a.txt": "||shop.example^$dnsrewrite=other.example\n||gone.example^$dnsrewrite=NXDOMAIN\n"})
	strict := policyOf(t, Options{Dir: dir})
	if got, want := said(strict.Decide(name(t, "shop.example"), dnswire.TypeA, 0)), "pass"; got != want {
		t.Errorf("not allowed to answer: got %q, want %q", got, want)
	}
	p := policyOf(t, Options{Dir: dir, Lists: []ListSettings{{Name: "a", Answers: true}}})
	v := p.Decide(name(t, "shop.example"), dnswire.TypeA, 0)
	if got, want := said(v), "answer a ||shop.example^$dnsrewrite=other.example"; got != want {
		t.Fatalf("got %q, want %q", got, want)
	}
	if rs := p.Records(v, dnswire.TypeA); len(rs) != 1 || rs[0].Type != dnswire.TypeCNAME {
		t.Errorf("records: got %+v, want one CNAME", rs)
	}
	v = p.Decide(name(t, "gone.example"), dnswire.TypeA, 0)
	if v.Action != Block || v.Mode != NXDomain {
		t.Errorf("got %v %v, want block nxdomain", v.Action, v.Mode)
	}
}

func TestModes(t *testing.T) {
	nodata, nx := NoData, NXDomain
	dir := files(t, map[string]string{
		"a.txt":    "ads.example\n||typed.example^$dnstype=A\n||typed.b.example^$dnstype=~AAAA\n||said.example^$dnstype=A,dnsrewrite=NXDOMAIN\n",
		"b.txt":    "b.example\n||typed.b.example^$dnstype=A|AAAA\n",
		"zone.txt": "$TTL 60\n@ SOA localhost. root.localhost. 1 2 3 4 5\ndrop.example CNAME rpz-drop.\ntcp.example CNAME rpz-tcp-only.\nempty.example CNAME *.\n",
	})
	o := Options{Dir: dir, Mode: Refuse, Lists: []ListSettings{{Name: "b", Mode: &nodata}}, Groups: []GroupSettings{{Mode: &nx}}}
	p := policyOf(t, o)
	for _, c := range []struct {
		fact, ask string
		group     Group
		want      Mode
	}{
		{"the configured mode", "ads.example", 0, Refuse},
		{"the list's mode before that", "b.example", 0, NoData},
		{"the group's mode before that", "b.example", 1, NXDomain},
		{"the rule's own mode before that", "drop.example", 1, Drop},
		{"rpz-tcp-only", "tcp.example", 0, Truncate},
		{"no data in a zone", "empty.example", 0, NoData},
		{"a block for one type has no data whatever the mode", "typed.example", 0, NoData},
		{"whatever the group's, too", "typed.example", 1, NoData},
		{"whatever the list's, too", "typed.b.example", 0, NoData},
		{"unless the rule names its answer", "said.example", 0, NXDomain},
	} {
		t.Run(c.fact, func(t *testing.T) {
			if v := p.Decide(name(t, c.ask), dnswire.TypeA, c.group); v.Action != Block || v.Mode != c.want {
				t.Errorf("got %v %v, want block %v", v.Action, v.Mode, c.want)
			}
		})
	}
}

// A block of an address is one for the type of the answer that holds it.
func TestModesOfBlockedAddresses(t *testing.T) {
	for _, c := range []struct {
		fact, rules, addr string
		mode              Mode
		want              Mode
	}{
		{"nxdomain would deny the other type", "||192.0.2.66^", "192.0.2.66", NXDomain, NoData},
		{"refused would be taken for a broken server", "||192.0.2.66^", "192.0.2.66", Refuse, NoData},
		{"0.0.0.0 does no harm beside an IPv6 address", "||192.0.2.66^", "192.0.2.66", Null, Null},
		{":: goes before a good IPv4 address", "||2001:db8::66^", "2001:db8::66", Null, NoData},
	} {
		t.Run(c.fact, func(t *testing.T) {
			p := policyOf(t, Options{Dir: files(t, map[string]string{"own.txt": c.rules + "\n"}), Mode: c.mode})
			n := name(t, "www.example")
			if v, _ := p.DecideAddress(Verdict{Policy: p}, n, addr(c.addr), dnswire.TypeA, 0); v.Action != Block || v.Mode != c.want {
				t.Errorf("got %v %v, want block %v", v.Action, v.Mode, c.want)
			}
		})
	}
}
