//go:build e2e && linux

package main

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"telltale/resolver/dnstest"
)

const (
	insideRouterTest = "TELLTALE_E2E_ROUTER" // set where the test is the routers
	routerOne        = "10.9.0.1"
	routerTwo        = "10.9.0.2"
)

// The word router in the settings is followed in a network of this test's own: it comes up late,
// and its default route changes. It needs no root.
func TestE2ERouterIsFollowed(t *testing.T) {
	t.Parallel()
	if os.Getenv(insideRouterTest) != "" {
		answerAsRouters(t)
		return
	}
	if !dnstest.InOwnNetwork(t) {
		return
	}
	ip := func(words string, more ...any) {
		t.Helper()
		if out, err := exec.Command("ip", strings.Fields(fmt.Sprintf(words, more...))...).CombinedOutput(); err != nil {
			t.Fatalf("ip "+words+": %v %s", append(more, err, out)...)
		}
	}
	routers := exec.Command("unshare", "--net", os.Args[0], "-test.run", "^TestE2ERouterIsFollowed$", "-test.timeout", "2m")
	routers.Env = append(os.Environ(), insideRouterTest+"=1")
	if err := routers.Start(); err != nil {
		t.Skipf("skipped: %v", err)
	}
	defer routers.Wait()
	defer routers.Process.Kill()
	own, _ := os.Readlink("/proc/self/ns/net")
	waitForE2E(t, "the routers have a network of their own", func() bool {
		theirs, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", routers.Process.Pid))
		return err == nil && theirs != own
	})
	ip("link set lo up")
	ip("link add v0 type veth peer name v1 netns %d", routers.Process.Pid)
	ip("addr add 10.9.0.9/24 dev v0")
	ip("link set v0 up")

	srv := startTestServer(t, t.TempDir(), netip.AddrPort{}, "upstreams: [router]\nforward: [{zones: [lan], upstreams: [router]}]\n")
	ask := func(name string) string {
		m := new(dns.Msg).SetQuestion(name, dns.TypeA).SetEdns0(1232, false)
		r, err := dns.Exchange(m, srv.addr.String())
		if err != nil {
			return err.Error()
		}
		if len(r.Answer) == 1 {
			return r.Answer[0].(*dns.A).A.String()
		}
		return dns.RcodeToString[r.Rcode] + " " + r.String()
	}
	if got := ask("nas.lan."); !strings.Contains(got, "SERVFAIL") || !strings.Contains(got, "there is no default route") {
		t.Errorf("without a route: got %s", got)
	}
	if out, _ := srv.run("doctor"); !strings.Contains(out, "router (configured) is not asked") || !strings.Contains(out, "it has no address: there is no default route") {
		t.Errorf("without a route: doctor says\n%s", out)
	}
	for _, step := range []struct{ route, want string }{
		{"route add default via " + routerOne + " metric 100", "192.0.2.1"},
		{"route add default via " + routerTwo + " metric 50", "192.0.2.2"},
		{"route del default via " + routerTwo, "192.0.2.1"},
		{"route del default via " + routerOne, "192.0.2.1"}, // it stays in use
		{"route add default via " + routerTwo, "192.0.2.2"},
	} {
		ip("%s", step.route)
		began := time.Now()
		for _, name := range []string{"nas.lan.", "www.example."} {
			waitForE2E(t, step.route+": "+name+" is "+step.want, func() bool { return ask(name) == step.want })
		}
		t.Logf("%s: in force after %v", step.route, time.Since(began).Round(time.Millisecond))
	}
	if out, _ := srv.run("doctor"); !strings.Contains(out, "router, now at "+routerTwo+":53, (forward lan) is up") {
		t.Errorf("doctor says\n%s", out)
	}
	if out, _ := srv.run("explain", "nas.lan"); !strings.Contains(out, "names of lan are forwarded: only router is asked") {
		t.Errorf("explain says\n%s", out)
	}
}

func waitForE2E(t *testing.T, what string, done func() bool) {
	t.Helper()
	dnstest.WaitFor(t, done, func() string { return "not so: " + what })
}

// answerAsRouters waits for the other end of the link, and answers at two addresses of it.
func answerAsRouters(t *testing.T) {
	waitForE2E(t, "there is a link", func() bool { return exec.Command("ip", "link", "show", "v1").Run() == nil })
	for _, words := range []string{"addr add " + routerOne + "/24 dev v1", "addr add " + routerTwo + "/24 dev v1", "link set v1 up"} {
		if out, err := exec.Command("ip", strings.Fields(words)...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v %s", words, err, out)
		}
	}
	failed := make(chan error)
	for at, answer := range map[string]string{routerOne: "192.0.2.1", routerTwo: "192.0.2.2"} {
		go func() {
			failed <- (&dns.Server{Addr: at + ":53", Net: "udp", Handler: dnstest.AnswerA(answer)}).ListenAndServe()
		}()
	}
	t.Fatal(<-failed)
}
