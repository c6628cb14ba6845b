package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"telltale/config"
	"telltale/resolver/dnstest"
	"telltale/web"
)

// answersDNS fails where the server does not answer a query.
func (srv *testServer) answersDNS() {
	srv.t.Helper()
	q := new(dns.Msg).SetQuestion("localhost.", dns.TypeA)
	reply, _, err := (&dns.Client{Timeout: patience}).Exchange(q, srv.addr.String())
	if err != nil || reply.Rcode != dns.RcodeSuccess {
		srv.t.Errorf("DNS: got %v %v", reply, err)
	}
}

// with puts other settings into the file and in force.
func (srv *testServer) with(dir, settings string) error {
	srv.t.Helper()
	if err := os.WriteFile(filepath.Join(dir, "telltale.yaml"), []byte(settings), 0o644); err != nil {
		srv.t.Fatal(err)
	}
	return srv.app.reload()
}

// browse asks the console at an address as a browser's page does, and returns the
// status and the cookies.
func browse(t *testing.T, method, url string, body any, cookies ...*http.Cookie) (int, []*http.Cookie) {
	t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequest(method, url, bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Origin", r.URL.Scheme+"://"+r.URL.Host)
	for _, c := range cookies {
		r.AddCookie(c)
	}
	transport := &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	resp, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, resp.Cookies()
}

func listening(t *testing.T, addr string) bool {
	t.Helper()
	c, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		return false
	}
	c.Close()
	return true
}

// The console comes and goes with its settings; those that cannot be had leave what was,
// and DNS answers all the while. A session outlives a restart.
func TestTheConsoleFollowsItsSettings(t *testing.T) {
	dir := t.TempDir()
	srv := startTestServer(t, dir, netip.AddrPort{}, "")
	if urls := srv.app.consoleURLs(); len(urls) != 0 {
		t.Errorf("it answers at %q though nobody said so", urls)
	}
	first := freePort(t)
	if err := srv.with(dir, fmt.Sprintf("web: {listen: [%q]}", first)); err != nil {
		t.Fatal(err)
	}
	out, exit := srv.run("web", "link", "--json")
	var link web.Link
	if err := json.Unmarshal([]byte(out), &link); exit != 0 || err != nil || len(link.URLs) != 1 || link.URLs[0] != "http://"+first+"/#/setup/"+link.Token {
		t.Fatalf("got %d %q %v", exit, out, err)
	}
	api := "http://" + first + web.Prefix
	status, cookies := browse(t, "POST", api+"/setup", web.SetUp{Token: link.Token, Name: "anna", Passphrase: "correct horse battery"})
	if status != 201 {
		t.Fatalf("set-up: got %d", status)
	}
	if status, _ := browse(t, "GET", api+"/status", nil, cookies...); status != 200 {
		t.Errorf("logged in: got %d", status)
	}
	srv.stop()
	srv.start()
	if status, _ := browse(t, "GET", api+"/status", nil, cookies...); status != 200 {
		t.Errorf("after a restart: got %d", status)
	}
	busy, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	second := freePort(t)
	for _, wrong := range []string{
		fmt.Sprintf("web: {listen: [%q, %q]}", second, busy.Addr()),
		fmt.Sprintf("web: {listen: [%q], tls: own, certificate: none.pem, key: none.key}", second),
		fmt.Sprintf("web: {listen: [%q], path: nothing}", second),
	} {
		if err := srv.with(dir, wrong); err == nil || !strings.Contains(err.Error(), "web.") {
			t.Errorf("%s: got %v", wrong, err)
		}
		if status, _ := browse(t, "GET", api+"/status", nil, cookies...); status != 200 {
			t.Errorf("%s: the old address answers with %d", wrong, status)
		}
		if listening(t, second) {
			t.Errorf("%s: a part is in force", wrong)
		}
		srv.answersDNS()
	}
	_, port, _ := net.SplitHostPort(first)
	everywhere := "0.0.0.0:" + port // cannot be bound beside the first
	if err := srv.with(dir, fmt.Sprintf("web: {listen: [%q, %q]}", everywhere, busy.Addr())); err == nil {
		t.Error("a taken address is in force")
	}
	if status, _ := browse(t, "GET", api+"/status", nil, cookies...); status != 200 {
		t.Errorf("the old address answers with %d", status)
	}
	if err := srv.with(dir, fmt.Sprintf("web: {listen: [%q], path: /tt}", everywhere)); err != nil {
		t.Fatal(err)
	}
	if status, _ := browse(t, "GET", "http://"+first+"/tt"+web.Prefix+"/status", nil, cookies...); status != 200 {
		t.Errorf("below a path: got %d", status)
	}
	certificate := dnstest.NewCertificate(t, time.Now().Add(24*time.Hour), "telltale.test")
	for name, text := range map[string]string{"web.pem": certificate.Cert, "web.key": certificate.Key} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := srv.with(dir, fmt.Sprintf("web: {listen: [%q], tls: own, certificate: web.pem, key: web.key}", everywhere)); err != nil {
		t.Fatal(err)
	}
	status, cookies = browse(t, "POST", "https://"+first+web.Prefix+"/session", web.NewSession{Name: "anna", Passphrase: "correct horse battery"})
	if status != 200 || len(cookies) == 0 || !strings.HasPrefix(cookies[0].Name, "__Host-") || !cookies[0].Secure {
		t.Errorf("by TLS: got %d %v", status, cookies)
	}
	if err := srv.with(dir, ""); err != nil {
		t.Fatal(err)
	}
	if listening(t, first) {
		t.Error("it answers though it is turned off")
	}
	srv.answersDNS()
}

// freePort returns an address that nothing listened on a moment ago.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestAStartNeedsItsConsole(t *testing.T) {
	busy, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	dir := t.TempDir()
	settings := filepath.Join(dir, "telltale.yaml")
	text := fmt.Sprintf("listen: {dns: ['127.0.0.1:0']}\nupstreams: ['127.0.0.1:9']\nlists: {dir: lists}\ndata: {dir: data}\nidentity: {announcements: false}\nweb: {listen: [%q]}\n", busy.Addr())
	for _, d := range []string{"lists", "data"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(settings, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	var out lockedBuffer
	exit := command(context.Background(), []string{"serve", "--config", settings}, &out, &out, []string{"XDG_RUNTIME_DIR=" + dir})
	if exit != 1 || !strings.Contains(out.String(), "web.listen: ") || !strings.Contains(out.String(), busy.Addr().String()) {
		t.Errorf("exit status %d, %s", exit, out.String())
	}
}

// Of one address so many connections are open, and no more; when one ends, another may come.
func TestConnectionsOfOneClientAreBounded(t *testing.T) {
	dir := t.TempDir()
	srv := startTestServer(t, dir, netip.AddrPort{}, `web: {listen: ["127.0.0.1:0"]}`)
	at := srv.app.network.addrs()[0].String()
	var open []net.Conn
	defer func() {
		for _, c := range open {
			c.Close()
		}
	}()
	for range networkPerClient {
		c, err := net.Dial("tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, c)
	}
	one, err := net.Dial("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer one.Close()
	one.SetReadDeadline(time.Now().Add(patience))
	if n, err := one.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("one too many is served: %d %v", n, err)
	} else if e, ok := err.(net.Error); ok && e.Timeout() {
		t.Error("one too many is held")
	}
	srv.answersDNS()
	for _, c := range open {
		c.Close()
	}
	open = nil
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		c, err := net.Dial("tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
		text, _ := io.ReadAll(c)
		c.Close()
		if strings.HasPrefix(string(text), "HTTP/1.1 200") {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("nobody is served any more: %q", text)
		}
	}
}

// Where the accounts cannot be read the control socket works, and says so.
func TestBrokenAccountsAreSaid(t *testing.T) {
	dir := t.TempDir()
	srv := startTestServer(t, dir, netip.AddrPort{}, `web: {listen: ["127.0.0.1:0"]}`)
	srv.stop()
	if err := os.WriteFile(filepath.Join(dir, "data", "access.json"), []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	srv.start()
	if out, exit := srv.run("status"); exit != 1 || !strings.Contains(out, "access.json") || !strings.Contains(out, "nobody gets in") {
		t.Errorf("status: got %d %s", exit, out)
	}
	if out, exit := srv.run("web", "link"); exit != 1 || !strings.Contains(out, "access.json") {
		t.Errorf("a link: got %d %s", exit, out)
	}
	if out, exit := srv.run("token", "add", "x", "--scope", "read", "--expires", "never"); exit != 1 || !strings.Contains(out, "access.json") {
		t.Errorf("a token: got %d %s", exit, out)
	}
	if status, _ := browse(t, "GET", srv.app.consoleURLs()[0]+"api/v1/status", nil); status != 401 {
		t.Errorf("by the network: got %d", status)
	}
	srv.answersDNS()
}

func TestInstallOffersTheConsole(t *testing.T) {
	in := &installer{root: t.TempDir()}
	if err := in.write(settingsDir+"/telltale.yaml", config.Example(), 0o644); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time it is a person's own file
		if err := in.offerConsole("192.168.1.2:5380"); err != nil {
			t.Fatal(err)
		}
		cfg, err := config.Load(in.path(settingsDir+"/telltale.yaml"), nil, nil)
		if err != nil || len(cfg.Web.Listen) != 1 || cfg.Web.Listen[0].String() != "192.168.1.2:5380" {
			t.Fatalf("got %v %v", cfg, err)
		}
	}
}

// A proxy is known by its whole address, others are counted by the prefix that a host has, and
// all connections count together.
func TestConnectionsAreBounded(t *testing.T) {
	proxy, beside := netip.MustParseAddr("2001:db8::7"), netip.MustParseAddr("2001:db8::8")
	proxies := []netip.Prefix{netip.MustParsePrefix("2001:db8::7/128")}
	b := &connectionBounds{}
	for range networkPerClient {
		b.take(beside, proxies)
	}
	if b.take(netip.MustParseAddr("2001:db8::9"), proxies) {
		t.Error("another address of the host gets in")
	}
	for b.open < networkConnections {
		if !b.take(proxy, proxies) {
			t.Fatalf("the proxy is refused with %d open", b.open)
		}
	}
	if b.take(netip.MustParseAddr("192.0.2.1"), proxies) {
		t.Error("one more than may be open")
	}
	for range networkConnections - networkPerClient {
		b.release(proxy)
	}
	for range networkPerClient {
		b.release(beside)
	}
	if b.open != 0 || len(b.perClient) != 0 {
		t.Errorf("left: %d, %v", b.open, b.perClient)
	}
}
