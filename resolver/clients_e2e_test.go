//go:build e2e

package resolver

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"telltale/querylog"
	"telltale/resolver/dnstest"
)

// clientServer is a server for the programs of others, and the files that they trust it by.
func clientServer(t *testing.T, o Options, text string) (s *encrypted, ca string) {
	t.Helper()
	s = startEncrypted(t, o, dnstest.Start(t, zone(t, text)))
	ca = filepath.Join(t.TempDir(), "ca.pem")
	for _, st := range s.certificates.Status() {
		text, err := os.ReadFile(st.Files.Certificate)
		if err == nil {
			err = os.WriteFile(ca, text, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return s, ca
}

// runClient runs a program of others, which is skipped where it is not there.
func runClient(t *testing.T, name string, args ...string) (out string, err error) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skipf("skipped: there is no %s", name)
	}
	b, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	return string(b), err
}

// kdig asks by each transport, and the log has which one it was.
func TestE2EKdig(t *testing.T) {
	s, ca := clientServer(t, Options{}, "www.example. 300 A 192.0.2.1")
	n := 0
	for _, c := range []struct {
		fact      string
		addr      netip.AddrPort
		args      []string
		transport querylog.Transport
		id        string
	}{
		{"UDP", s.Addrs()[0], []string{"+notcp"}, querylog.UDP, ""},
		{"TCP", s.Addrs()[0], []string{"+tcp"}, querylog.TCP, ""},
		{"TLS", s.TLSAddrs()[0], []string{"+tls-hostname=dns.example"}, querylog.TLS, ""},
		{"TLS with an id", s.TLSAddrs()[0], []string{"+tls-hostname=phone.dns.example", "+tls-sni=phone.dns.example"}, querylog.TLS, "phone"},
		{"HTTPS by POST", s.HTTPSAddrs()[0], []string{"+https", "+tls-hostname=dns.example"}, querylog.HTTPS, ""},
		{"HTTPS by GET", s.HTTPSAddrs()[0], []string{"+https", "+https-get", "+tls-hostname=dns.example"}, querylog.HTTPS, ""},
		{"HTTPS with an id", s.HTTPSAddrs()[0], []string{"+https=/dns-query/phone", "+tls-hostname=dns.example"}, querylog.HTTPS, "phone"},
		{"HTTPS with padding", s.HTTPSAddrs()[0], []string{"+https", "+padding=128", "+tls-hostname=dns.example"}, querylog.HTTPS, ""},
		{"QUIC", s.QUICAddrs()[0], []string{"+quic", "+tls-hostname=dns.example"}, querylog.QUIC, ""},
	} {
		if c.transport >= querylog.TLS {
			c.args = append(c.args, "+tls-ca="+ca)
		}
		args := append([]string{"@" + c.addr.Addr().String(), "-p", fmt.Sprint(c.addr.Port()), "+timeout=20", "+retry=0"}, append(c.args, "www.example.", "A")...)
		out, err := runClient(t, "kdig", args...)
		if c.transport == querylog.QUIC && strings.Contains(out, "(TCP)") {
			t.Logf("%s: this kdig does not speak it: %s", c.fact, out)
			continue
		}
		if err != nil || !strings.Contains(out, "192.0.2.1") {
			t.Errorf("%s: %v\n%s", c.fact, err, out)
			continue
		}
		n++
		if row := s.recorded.last(t, n); row.Transport != c.transport || row.ClientID != c.id {
			t.Errorf("%s: logged %v %q", c.fact, row.Transport, row.ClientID)
		}
		if c.fact == "HTTPS with padding" && !strings.Contains(out, "468 B") {
			t.Errorf("%s: no padded reply:\n%s", c.fact, out)
		}
	}
	if n < 8 {
		t.Errorf("%d ways were tried, want 8 and more", n)
	}
}

// curl resolves a web server's name by HTTPS, and fetches from it.
func TestE2ECurlByDoH(t *testing.T) {
	s, ca := clientServer(t, Options{}, "web.example. 300 A 127.0.0.1")
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "here") }))
	defer web.Close()
	_, port, _ := net.SplitHostPort(web.Listener.Addr().String())
	doh := s.HTTPSAddrs()[0].Port()
	out, err := runClient(t, "curl", "--silent", "--show-error", "--max-time", "30", "--noproxy", "*", "--cacert", ca,
		"--resolve", fmt.Sprintf("dns.example:%d:127.0.0.1", doh), "--doh-url", fmt.Sprintf("https://dns.example:%d/dns-query/laptop", doh), "http://web.example:"+port+"/")
	if err != nil || out != "here" {
		t.Fatalf("%v: %s", err, out)
	}
	if row := s.recorded.last(t, 1); row.Transport != querylog.HTTPS || row.ClientID != "laptop" || row.name != "web.example." {
		t.Errorf("logged %+v", row)
	}
}

// h2load and nghttp, which speak HTTP/2 by nghttp2, get an answer to each of many requests,
// by GET and POST, with small windows too.
func TestE2EManyRequestsByHTTP2(t *testing.T) {
	s, _ := clientServer(t, Options{}, "www.example. 300 A 192.0.2.1")
	at := fmt.Sprintf("https://127.0.0.1:%d/dns-query", s.HTTPSAddrs()[0].Port())
	query := packetOf(t, "www.example.", 1)
	body := filepath.Join(t.TempDir(), "query")
	if err := os.WriteFile(body, query, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{at + "?dns=" + inURL(query)},
		{"-H", "content-type: application/dns-message", "-d", body, at},
		{"-w", "1", "-W", "1", at + "?dns=" + inURL(query)}, // windows of one octet, which are given anew
		{"--header-table-size=0", at + "?dns=" + inURL(query)},
	} {
		out, err := runClient(t, "h2load", append([]string{"-n", "3000", "-c", "5", "-m", "60"}, args...)...)
		if err != nil || !strings.Contains(out, "3000 succeeded, 0 failed, 0 errored, 0 timeout") {
			t.Errorf("%v: %v\n%s", args, err, out)
		}
	}
	out, err := runClient(t, "nghttp", "-v", "-n", "-m", "5", "-p", "7", "--no-dep", at+"?dns="+inURL(query))
	if err != nil || strings.Count(out, ":status: 200") != 5 || strings.Contains(out, "RST_STREAM") {
		t.Errorf("nghttp: %v\n%s", err, out)
	}
}

// Behind nginx the log has the client's address, and a client cannot say another.
func TestE2EBehindNginx(t *testing.T) {
	if _, err := exec.LookPath("nginx"); err != nil {
		t.Skip("skipped: there is no nginx")
	}
	s := startEncrypted(t, Options{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}}, dnstest.Start(t, zone(t, "www.example. 300 A 192.0.2.1")))
	c := dnstest.NewCertificate(t, time.Now().Add(24*time.Hour), serverName)
	certificate, key := c.Files(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := listener.Addr().String()
	listener.Close()
	dir := t.TempDir()
	config := filepath.Join(dir, "nginx.conf")
	text := fmt.Sprintf(`daemon off; pid %[1]s/pid; error_log stderr; worker_processes 1; %[5]s
events {}
http {
  access_log off; client_body_temp_path %[1]s; proxy_temp_path %[1]s; fastcgi_temp_path %[1]s; uwsgi_temp_path %[1]s; scgi_temp_path %[1]s;
  server {
    listen %[2]s ssl http2;
    ssl_certificate %[3]s; ssl_certificate_key %[4]s;
    location /dns-query {
      proxy_pass http://%[6]s;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    }
  }
}
`, dir, at, certificate, key, map[bool]string{true: "user root;"}[os.Getuid() == 0], s.HTTPAddrs()[0])
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	nginx := exec.Command("nginx", "-c", config, "-p", dir)
	nginx.Stderr = os.Stderr
	if err := nginx.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nginx.Process.Signal(os.Interrupt); nginx.Wait() })
	dnstest.WaitFor(t, func() bool {
		conn, err := net.Dial("tcp", at)
		if err == nil {
			conn.Close()
		}
		return err == nil
	}, says("nginx listens"))
	ca := filepath.Join(dir, "ca.pem")
	os.WriteFile(ca, []byte(c.Cert), 0o644)
	host, port, _ := net.SplitHostPort(at)
	out, err := runClient(t, "kdig", "@"+host, "-p", port, "-b", "127.0.0.9", "+https=/dns-query/phone", "+tls-ca="+ca, "+tls-hostname="+serverName, "+timeout=20", "www.example.", "A")
	if err != nil || !strings.Contains(out, "192.0.2.1") {
		t.Fatalf("%v\n%s", err, out)
	}
	if row := s.recorded.last(t, 1); row.Client.String() != "127.0.0.9" || row.Transport != querylog.HTTPS || row.ClientID != "phone" {
		t.Errorf("logged %+v, want the client behind nginx", row)
	}
	_, portNumber, _ := net.SplitHostPort(at)
	out, err = runClient(t, "curl", "--silent", "--show-error", "--max-time", "30", "--interface", "127.0.0.8", "--cacert", ca, "--resolve", serverName+":"+portNumber+":127.0.0.1",
		"-H", "X-Forwarded-For: 192.168.1.77", "-o", "/dev/null", "-w", "%{http_code} %{http_version}",
		"https://"+serverName+":"+portNumber+"/dns-query?dns="+inURL(packetOf(t, "www.example.", 1)))
	if err != nil || out != "200 2" {
		t.Errorf("curl: %v: %s", err, out)
	}
	if row := s.recorded.last(t, 2); row.Client.String() != "127.0.0.8" {
		t.Errorf("logged %v, want the address that nginx saw", row.Client)
	}
}
