//go:build e2e

package alert

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The names of these tests' servers: what they need is installed by .ci/tools.
func need(t *testing.T, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			if os.Getenv("CI") != "" {
				t.Fatalf("no %s: .ci/tools installs it", p)
			}
			t.Skipf("no %s", p)
		}
	}
}

// certify writes a certificate for localhost and its key, and returns who trusts it.
func certify(t *testing.T, dir string) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	of := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, of, of, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	made, _ := x509.ParseCertificate(der)
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"cert.pem": {Type: "CERTIFICATE", Bytes: der}, "key.pem": {Type: "PRIVATE KEY", Bytes: raw}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	pool := x509.NewCertPool()
	pool.AddCert(made)
	return &tls.Config{RootCAs: pool}
}

// port is one that is free.
func port(t *testing.T) int {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port
}

// run starts a program until the returned function is called, or the test ends, and waits
// until it takes connections.
func run(t *testing.T, at int, program string, args ...string) (end func()) {
	t.Helper()
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(program, args...)
	c.Stdout, c.Stderr = out, out
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	ended := false
	end = func() {
		if !ended {
			ended = true
			c.Process.Kill()
			c.Wait()
			out.Close()
		}
	}
	t.Cleanup(end)
	for limit := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", at))
		if err == nil {
			conn.Close()
			return end
		}
		if time.Now().After(limit) {
			said, _ := os.ReadFile(out.Name())
			t.Fatalf("%s does not listen:\n%s", program, said)
		}
	}
}

func mosquitto(t *testing.T, dir string, plain, secure int) (end func()) {
	t.Helper()
	passwords, conf := filepath.Join(dir, "passwords"), filepath.Join(dir, "mosquitto.conf")
	if out, err := exec.Command("mosquitto_passwd", "-b", "-c", passwords, "telltale", "horse").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	user := ""
	if os.Getuid() == 0 { // else it becomes another user, who cannot read this directory
		user = "user root\n"
	}
	text := fmt.Sprintf("%sallow_anonymous false\npassword_file %s\nlistener %d 127.0.0.1\nlistener %d 127.0.0.1\ncertfile %s\nkeyfile %s\n", user, passwords, plain, secure, filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"))
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return run(t, secure, "mosquitto", "-c", conf)
}

// A real mosquitto takes alerts, with and without TLS, and what it retains is what Home
// Assistant reads; it refuses another password, and may go away.
func TestE2EMosquittoTakesAlerts(t *testing.T) {
	need(t, "mosquitto", "mosquitto_passwd", "mosquitto_sub")
	dir := t.TempDir()
	trust := certify(t, dir)
	plain, secure := port(t), port(t)
	end := mosquitto(t, dir, plain, secure)
	way := testWay()
	way.TLS = trust
	sub := exec.Command("mosquitto_sub", "-p", fmt.Sprint(plain), "-u", "telltale", "-P", "horse", "-t", "#", "-q", "1", "-F", "%r %t %p")
	lines, err := sub.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := sub.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sub.Process.Kill(); sub.Wait() })
	got := make(chan string, 100)
	go func() {
		defer close(got)
		for s := bufio.NewScanner(lines); s.Scan(); {
			got <- s.Text()
		}
	}()
	o := MQTT{Topic: "telltale", Discovery: "homeassistant", Node: "attic", User: "telltale", PasswordFile: secretIn(t, "horse\n")}
	send := func(server string) error {
		o.Server = server
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		return NewMQTT(o, way).Send(ctx, testMessage())
	}
	// The subscription may not be there yet at the first: then it is sent again.
	for _, server := range []string{fmt.Sprintf("mqtt://127.0.0.1:%d", plain), fmt.Sprintf("mqtts://localhost:%d", secure)} {
		seen := ""
		for tries := 0; strings.Count(seen, "telltale/alert {") < 2 && tries < 20; tries++ {
			if err := send(server); err != nil {
				t.Fatalf("%s: %v", server, err)
			}
			for waited := false; !waited && strings.Count(seen, "telltale/alert {") < 2; {
				select {
				case line := <-got:
					seen += line + "\n"
				case <-time.After(time.Second):
					waited = true
				}
			}
		}
		if strings.Count(seen, `telltale/alert {"event_type":"first-lookup"`) < 2 {
			t.Fatalf("%s: got\n%s", server, seen)
		}
	}
	kept, err := exec.Command("mosquitto_sub", "-p", fmt.Sprint(plain), "-u", "telltale", "-P", "horse", "-t", "#", "--retained-only", "-C", "3", "-W", "20", "-F", "%r %t %p").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, kept)
	}
	for _, want := range []string{"1 homeassistant/event/telltale_attic/alert/config {", "1 homeassistant/sensor/telltale_attic/last_alert/config {", `1 telltale/last {"state":"Zoë's phone asked for x.example`} {
		if !strings.Contains(string(kept), want) {
			t.Errorf("retained is\n%s\nwant %q in it", kept, want)
		}
	}
	if strings.Contains(string(kept), "telltale/alert {") {
		t.Errorf("an event is retained:\n%s", kept)
	}
	o.PasswordFile = secretIn(t, "donkey")
	if err := send(fmt.Sprintf("mqtt://127.0.0.1:%d", plain)); err == nil || !strings.Contains(err.Error(), "refuses the connection") || strings.Contains(err.Error(), "donkey") {
		t.Errorf("with another password: %v", err)
	}
	way.TLS = nil
	if err := send(fmt.Sprintf("mqtts://localhost:%d", secure)); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("with a certificate of nobody: %v", err)
	}
	end()
	if err := send(fmt.Sprintf("mqtt://127.0.0.1:%d", plain)); err == nil {
		t.Error("nobody has taken it, and no error came")
	}
	mosquitto(t, dir, plain, secure)
	o.PasswordFile = secretIn(t, "horse")
	if err := send(fmt.Sprintf("mqtt://127.0.0.1:%d", plain)); err != nil {
		t.Errorf("when it is back: %v", err)
	}
}

// mailSink takes mail by STARTTLS and a password, or by TLS from the start, and writes each to a file.
const mailSink = `
import asyncio, ssl, sys
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult
port, tls, directory = int(sys.argv[1]), sys.argv[2], sys.argv[3]
context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
context.load_cert_chain(directory + "/cert.pem", directory + "/key.pem")
count = 0
class Sink:
    async def handle_DATA(self, server, session, envelope):
        global count
        count += 1
        with open("%s/mail-%s-%d" % (directory, tls, count), "wb") as f:
            f.write(("X-From: %s\r\nX-To: %s\r\n" % (envelope.mail_from, ",".join(envelope.rcpt_tos))).encode() + envelope.original_content)
        return "250 taken"
def check(server, session, envelope, mechanism, data):
    good = data.login == b"telltale" and data.password == b"horse"
    return AuthResult(success=good, handled=False)
options = dict(authenticator=check, auth_required=True)
class Mine(Controller):
    def factory(self):
        if tls == "starttls":
            return SMTP(self.handler, tls_context=context, require_starttls=True, hostname="localhost", **options)
        return SMTP(self.handler, hostname="localhost", auth_require_tls=False, **options)
Mine(Sink(), hostname="127.0.0.1", port=port, **(dict(ssl_context=context) if tls == "tls" else {})).start()
asyncio.new_event_loop().run_forever()
`

// A real server of mail takes alerts by STARTTLS and by TLS with a password, and refuses another one.
func TestE2EAMailServerTakesAlerts(t *testing.T) {
	need(t, "python3", "aiosmtpd")
	dir := t.TempDir()
	way := testWay()
	way.TLS = certify(t, dir)
	script := filepath.Join(dir, "sink.py")
	if err := os.WriteFile(script, []byte(mailSink), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, f := range []struct{ scheme, tls string }{{"smtp", "starttls"}, {"smtps", "tls"}} {
		at := port(t)
		run(t, at, "/usr/bin/python3", script, fmt.Sprint(at), f.tls, dir)
		o := SMTP{Server: fmt.Sprintf("%s://localhost:%d", f.scheme, at), From: "telltale@example.org", To: []string{"b@example.org", "c@example.org"}, User: "telltale", PasswordFile: secretIn(t, "donkey")}
		ctx, cancel := context.WithTimeout(t.Context(), 25*time.Second)
		defer cancel()
		if err := NewSMTP(o, way).Send(ctx, testMessage()); err == nil || !strings.Contains(err.Error(), "535") || strings.Contains(err.Error(), "donkey") {
			t.Errorf("%s with another password: %v", f.tls, err)
		}
		o.PasswordFile = secretIn(t, "horse")
		if err := NewSMTP(o, way).Send(ctx, testMessage()); err != nil {
			t.Fatalf("%s: %v", f.tls, err)
		}
		text, err := os.ReadFile(filepath.Join(dir, "mail-"+f.tls+"-1"))
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"X-From: telltale@example.org\r\nX-To: b@example.org,c@example.org\r\n", "Subject: Telltale: 2 alerts\r\n", "Auto-Submitted: auto-generated\r\n", "tv asked for x.example", "Zo=C3=AB's phone asked"} {
			if !strings.Contains(string(text), want) {
				t.Errorf("%s: got\n%s\nwant %q in it", f.tls, text, want)
			}
		}
		stranger := way
		stranger.TLS = nil
		if err := NewSMTP(o, stranger).Send(ctx, testMessage()); err == nil || !strings.Contains(err.Error(), "certificate") {
			t.Errorf("%s with a certificate of nobody: %v", f.tls, err)
		}
	}
}
