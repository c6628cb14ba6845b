package resolver

import (
	"testing"
	"time"

	"github.com/miekg/dns"

	"telltale/dnswire"
	"telltale/resolver/cache"
)

// A record without its ECH is not what was signed.
func TestSignaturesOfRecordsWithoutECHAreLeftOut(t *testing.T) {
	for _, c := range []struct {
		name    string
		records []string
		want    []string // nil: the answer stays as it is
	}{
		{"signed", []string{
			"www.example. 300 IN CNAME site.example.", "www.example. 300 IN RRSIG CNAME 13 2 300 20300101000000 20200101000000 1 example. AAAA",
			"site.example. 300 IN HTTPS 1 . ech=AEX+DQBB", "site.example. 300 IN RRSIG HTTPS 13 2 300 20300101000000 20200101000000 1 example. AAAA",
		}, []string{
			"www.example. 290 IN CNAME site.example.", "www.example. 290 IN RRSIG CNAME 13 2 300 20300101000000 20200101000000 1 example. AAAA", "site.example. 290 IN HTTPS 1 .",
		}},
		{"without ECH", []string{"site.example. 300 IN HTTPS 1 . alpn=h2"}, nil},
	} {
		name, err := dnswire.ParseName("www.example")
		if err != nil {
			t.Fatal(err)
		}
		q := &query{received: time.Unix(1_800_000_000, 0)}
		if err := q.setQuestion(&name, dns.TypeHTTPS); err != nil {
			t.Fatal(err)
		}
		m := new(dns.Msg).SetQuestion("www.example.", dns.TypeHTTPS)
		m.Response, m.AuthenticatedData = true, true
		for _, text := range c.records {
			m.Answer = append(m.Answer, record(t, text))
		}
		e := &cache.Entry{At: q.received, Age: 10 * time.Second}
		if e.Wire, err = m.Pack(); err != nil {
			t.Fatal(err)
		}
		s := &Server{cookies: newCookies()}
		reply, ok := s.appendWithoutECH(nil, q, e)
		if !ok {
			if c.want != nil {
				t.Errorf("%s: nothing was taken out", c.name)
			}
			continue
		}
		var got dns.Msg
		if err := got.Unpack(reply); err != nil {
			t.Fatal(err)
		}
		if got.AuthenticatedData || len(got.Answer) != len(c.want) {
			t.Errorf("%s: got AD %v and\n%v, want no AD and\n%v", c.name, got.AuthenticatedData, got.Answer, c.want)
			continue
		}
		for i, rr := range got.Answer {
			if want := record(t, c.want[i]); rr.String() != want.String() {
				t.Errorf("%s: got\n%v, want\n%v", c.name, rr, want)
			}
		}
	}
}

func record(t *testing.T, text string) dns.RR {
	t.Helper()
	rr, err := dns.NewRR(text)
	if err != nil {
		t.Fatal(err)
	}
	return rr
}
