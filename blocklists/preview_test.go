package blocklists

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"testing"

	"telltale/dnswire"
)

// What is foreseen of a text is what is decided once it is the file's.
func TestAPreviewIsWhatIsDecidedThen(t *testing.T) {
	texts := []string{
		"",
		"a.example\n@@b.example\n=c.example\n192.168.1.9 nas.example\n",
		"@@||a.example^$client='tv'\nb.example\n*.c.example\n",
		"@@a.example\n||b.example^$important\n/^d[0-9]/\n@@d1.example\n",
		"||a.example^$dnstype=AAAA\n||b.example^$client=192.0.2.0/25\n@@||c.example^$dnsrewrite\n",
		"#@ tier=mixed\na.example\nd1.example\n#@\nb.example #@ until=2020-01-01\n||c.example^$badfilter\n||c.example^\n",
		"x.a.example\n@@y.b.example\n||e.example^$dnsrewrite=192.0.2.1\n",
	}
	groups := []GroupSettings{
		{Name: "tv", ClientNames: []string{"tv"}},
		{Name: "kid", Groups: []string{"kids"}, Lists: []GroupList{{Name: "ads", Is: ListOffFor}}},
		{Name: "seen", Observe: true},
	}
	options := func(own, kids string) Options {
		dir := files(t, map[string]string{
			"own.txt": own, "ads.txt": "a.example\nb.example\n||c.example^$important\nd1.example\n||e.example^$dnsrewrite=NXDOMAIN\n", "ok.txt": "@@d1.example\n@@x.b.example\n",
			"seen.txt": "f.example\na.example\n",
		})
		rules := files(t, map[string]string{"kids.txt": kids})
		return Options{
			Dir: dir, Groups: groups, Lists: []ListSettings{{Name: "seen", Observe: true}},
			Local: []LocalList{
				{Name: "records", Kind: OwnList, Text: "nas.example A 192.168.1.8"},
				{Name: "groups/kids", Path: filepath.Join(rules, "kids.txt"), Kind: OwnList, Group: "kids"},
			},
		}
	}
	var names []*dnswire.Name
	for _, n := range []string{"a", "b", "c", "d1", "e", "f", "nas", "x.a", "x.b", "y.b", "z.c", "_443._https.a"} {
		names = append(names, name(t, n+".example"))
	}
	compare := func(what string, s *Store, file, group, text string, then *Policy) {
		t.Helper()
		p, err := s.PreviewOwn(file, group, []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range names {
			for _, qtype := range []uint16{dnswire.TypeA, dnswire.TypeAAAA, dnswire.TypeHTTPS} {
				for settings := range uint16(len(groups) + 1) {
					for _, addr := range []string{"192.0.2.1", "192.0.2.200"} {
						from := netip.MustParseAddr(addr)
						now, will := p.Decide(n, qtype, settings, from)
						if want := s.Current().Decide(n, qtype, s.Current().GroupOf(settings, from)).Action; now != want {
							t.Errorf("%s: %s %d by %d: got %v now, want %v", what, n, qtype, settings, now, want)
						}
						if want := then.Decide(n, qtype, then.GroupOf(settings, from)).Action; will != want {
							t.Errorf("%s: %s %d by %d from %s: got %v then, want %v", what, n, qtype, settings, addr, will, want)
						}
					}
				}
			}
		}
	}
	var policies []*Policy
	for _, text := range texts {
		policies = append(policies, policyOf(t, options(text, "")))
	}
	for i, now := range texts {
		o := options(now, "")
		s := openStoreT(t, o)
		for j, then := range texts {
			compare(fmt.Sprint(i, " to ", j), s, filepath.Join(o.Dir, ownFile), "", then, policies[j])
		}
	}
	kids := options(texts[2], texts[1])
	s := openStoreT(t, kids)
	for i, then := range texts {
		compare(fmt.Sprint("kids to ", i), s, kids.Local[1].Path, "kids", then, policyOf(t, options(texts[2], then)))
	}
	o := options("", "")
	o.Dir = files(t, map[string]string{"ads.txt": "a.example\n"})
	s = openStoreT(t, o)
	p, err := s.PreviewOwn(filepath.Join(o.Dir, ownFile), "", []byte("@@a.example\nno rule !\n"))
	if err != nil {
		t.Fatal(err)
	}
	if now, then := p.Decide(names[0], dnswire.TypeA, 0, netip.Addr{}); now != Block || then != Allow || len(p.Bad) != 1 {
		t.Errorf("of a file that is not there: got %v, %v, %v", now, then, p.Bad)
	}
}
