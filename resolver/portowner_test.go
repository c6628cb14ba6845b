package resolver

import (
	"testing"

	"github.com/miekg/dns"

	"telltale/blocklists"
	"telltale/dnswire"
)

// Browsers ask for HTTPS records of other ports by names of their own: lists decide
// and the log counts them as the host's, whoever answers.
func TestHTTPSOfOtherPortsIsCountedAsTheHosts(t *testing.T) {
	d := newHarness(t, Options{Policy: withPolicy(openLists(t, blocklists.Options{}, map[string]string{
		"hosts.txt": "0.0.0.0 ads.example\n",
	}))})
	d.teach("_8443._https.www.example.", dns.TypeHTTPS, "_8443._https.www.example. 300 IN HTTPS 1 .", false)
	d.teach("_8443._https.www.example.", dns.TypeTXT, "_8443._https.www.example. 300 IN TXT x", false)
	d.teach("_https.www.example.", dns.TypeHTTPS, "_https.www.example. 300 IN HTTPS 1 .", false)
	for _, test := range []struct {
		name  string
		typ   uint16
		want  string // the name in the log
		block bool
	}{
		{"_8443._https.ads.example.", dns.TypeHTTPS, "ads.example", true},
		{"_8443._https.ADS.example.", dns.TypeSVCB, "ads.example", true},
		{"_8443._https.www.example.", dns.TypeHTTPS, "www.example", false},
		{"_8443._https.www.example.", dns.TypeTXT, "_8443._https.www.example", false},
		{"_https.www.example.", dns.TypeHTTPS, "_https.www.example", false},
	} {
		d.ask(test.name, test.typ)
		rec := d.last()
		if got := string(dnswire.AppendText(nil, rec.Name)); got != test.want {
			t.Errorf("%s %s is logged as %s, want %s", test.name, dns.TypeToString[test.typ], got, test.want)
		}
		if got := rec.Verdict.Action == blocklists.Block; got != test.block {
			t.Errorf("%s %s is blocked: got %v, want %v", test.name, dns.TypeToString[test.typ], got, test.block)
		}
	}
}
