//go:build e2e && linux

package upstream

import (
	"net/netip"
	"os/exec"
	"testing"
	"time"

	"telltale/resolver/dnstest"
)

// The first answer comes within a second of the network: nothing is known of the upstream, which
// has a name, and nobody could be asked where it is. It runs in a network of its own, whose
// loopback is down at first.
func TestE2EFirstAnswerAfterTheNetwork(t *testing.T) {
	if !dnstest.InOwnNetwork(t) {
		return
	}
	dnstest.CheckLeaks(t)
	c := dnstest.NewCertificate(t, never(), "dns.example")
	s := dnstest.StartStream(t, c, answerIt)
	resolver := dnstest.Start(t, answerAddress("127.0.0.1", 300))
	u := startClient(t, Options{
		Roots: c.Roots, Servers: []Server{{Addr: netip.AddrPortFrom(netip.Addr{}, s.Addr.Port()), Transport: TLS, Host: "dns.example"}},
		Bootstrap: []netip.AddrPort{resolver.Addr}, pace: pace{most: time.Minute}.orDefault(),
	})
	dnstest.WaitFor(t, func() bool { return u.Status()[0].State == Down }, func() string { return "the upstream is not down" })
	time.Sleep(8 * time.Second) // the pause to the next probe has grown to 8 s
	if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		t.Skipf("skipped: %v %s", err, out)
	}
	came := time.Now()
	dnstest.WaitFor(t, func() bool { return u.Status()[0].State == Up }, func() string { return "it stays down" }) // though nobody asks
	if got := lookupA(t, u, "a.example"); got != "NOERROR 192.0.2.1" {
		t.Errorf("got %q", got)
	}
	took := time.Since(came)
	t.Logf("the first answer came after %v", took)
	if took > 3*time.Second { // a second, on a machine that has one to spare
		t.Errorf("the first answer came after %v", took)
	}
}
