//go:build e2e

package resolver

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"telltale/querylog"
	"telltale/resolver/dnstest"
)

// Chromium with secure DNS set to Telltale resolves through it, and by nothing else.
func TestE2EChromiumBySecureDNS(t *testing.T) {
	program, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("skipped: there is no chromium")
	}
	s := startEncrypted(t, Options{}, dnstest.Start(t, zone(t, "web.example. 300 A 127.0.0.1")))
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "<p>here it is</p>") }))
	defer web.Close()
	_, port, _ := net.SplitHostPort(web.Listener.Addr().String())
	dir := t.TempDir()
	state, err := json.Marshal(map[string]any{"dns_over_https": map[string]string{
		"mode": "secure", "templates": fmt.Sprintf("https://127.0.0.1:%d/dns-query/chromium{?dns}", s.HTTPSAddrs()[0].Port()),
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "Local State"), state, 0o600); err != nil {
		t.Fatal(err)
	}
	certificate, err := s.certificates.Config().GetCertificate(&tls.ClientHelloInfo{SupportedVersions: []uint16{tls.VersionTLS13}})
	if err != nil {
		t.Fatal(err)
	}
	pin := sha256.Sum256(certificate.Leaf.RawSubjectPublicKeyInfo)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	browser := exec.CommandContext(ctx, program, "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--no-proxy-server", "--disable-background-networking",
		"--user-data-dir="+dir, "--ignore-certificate-errors-spki-list="+base64.StdEncoding.EncodeToString(pin[:]), "--timeout=20000", "--dump-dom", "http://web.example:"+port+"/")
	out, err := browser.CombinedOutput()
	if !strings.Contains(string(out), "here it is") {
		t.Fatalf("%v: %s", err, out)
	}
	s.recorded.mu.Lock()
	defer s.recorded.mu.Unlock()
	found := false
	for _, row := range s.recorded.rows {
		found = found || row.name == "web.example." && row.Transport == querylog.HTTPS && row.ClientID == "chromium"
	}
	if !found {
		t.Errorf("not in the log: %+v", s.recorded.rows)
	}
}
