package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"telltale/bench/zone"
)

// A router is known by the name that it answers with its own address, and not by one
// that leads elsewhere.
func TestARoutersKindIsKnownByItsOwnName(t *testing.T) {
	for _, c := range []struct{ name, addr, want string }{
		{"fritz.box.", "127.0.0.1", "fritzbox"},
		{"openwrt.lan.", "127.0.0.1", "openwrt"},
		{"fritz.box.", "192.0.2.9", ""},
		{"other.box.", "127.0.0.1", ""},
	} {
		at, stop, err := zone.Serve(netip.MustParseAddrPort("127.0.0.1:0"), dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
			m := new(dns.Msg).SetReply(q)
			if q.Question[0].Name == c.name {
				m.Answer = []dns.RR{
					&dns.CNAME{Hdr: dns.RR_Header{Name: c.name, Rrtype: dns.TypeCNAME, Class: dns.ClassINET}, Target: "other."},
					&dns.A{Hdr: dns.RR_Header{Name: "other.", Rrtype: dns.TypeA, Class: dns.ClassINET}, A: net.ParseIP(c.addr)},
				}
			} else {
				m.Rcode = dns.RcodeNameError
			}
			w.WriteMsg(m)
		}))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		if got := routerKindAt(ctx, at); got != c.want {
			t.Errorf("%s at %s: got %q, want %q", c.name, c.addr, got, c.want)
		}
		cancel()
		stop()
	}
}

func TestAnUpstreamThatBlocksIsToldByAddressesThatLeadNowhere(t *testing.T) {
	for addr, want := range map[string]string{"0.0.0.0": "[0.0.0.0]", "127.0.0.1": "[127.0.0.1]", "192.0.2.1": "[]"} {
		at, stop, err := zone.Serve(netip.MustParseAddrPort("127.0.0.1:0"), dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
			m := new(dns.Msg).SetReply(q)
			m.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET}, A: net.ParseIP(addr)}}
			w.WriteMsg(m)
		}))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		if got := fmt.Sprint(nowhere(askAddresses(ctx, at, listedName))); got != want {
			t.Errorf("%s: got %s, want %s", addr, got, want)
		}
		cancel()
		stop()
	}
}

func TestEachRouterKindHasASection(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(tree, "docs", "routers.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range routerKinds {
		if !strings.Contains(string(text), `<a id="`+k.section+`"></a>`) {
			t.Errorf("docs/routers.md has no section %s", k.section)
		}
		for _, name := range k.names {
			if !strings.Contains(string(text), "`"+name+"`") {
				t.Errorf("docs/routers.md does not have %s", name)
			}
		}
	}
}

func FuzzAnsweredAddresses(f *testing.F) {
	m := new(dns.Msg).SetQuestion("fritz.box.", dns.TypeA)
	m.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: "fritz.box.", Rrtype: dns.TypeA, Class: dns.ClassINET}, A: net.IPv4(192, 0, 2, 1)}}
	packet, err := m.Pack()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(packet)
	f.Fuzz(func(t *testing.T, reply []byte) {
		if len(reply) >= 12 {
			answeredAddresses(reply)
		}
	})
}
