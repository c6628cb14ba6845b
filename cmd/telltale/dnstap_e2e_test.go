//go:build e2e

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"telltale/resolver/dnstest"
)

// Programs of others take dnstap: fstrm_capture of its authors writes it to a file, which
// dnstap-ldns reads.
func TestE2EDnstapIsTakenByItsAuthors(t *testing.T) {
	t.Parallel()
	for _, program := range []string{"fstrm_capture", "dnstap-ldns"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("no %s (Debian: fstrm-bin, dnstap-ldns)", program)
		}
	}
	dir := t.TempDir()
	socket, file := filepath.Join(dir, "tap.sock"), filepath.Join(dir, "tap")
	var said lockedBuffer
	capture := exec.Command("fstrm_capture", "-t", "protobuf:dnstap.Dnstap", "-u", socket, "-w", file, "-dddd")
	capture.Stdout, capture.Stderr = &said, &said
	if err := capture.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- capture.Wait() }()
	defer capture.Process.Kill()
	metrics, settings := freeAddress(t), filepath.Join(dir, "telltale.yaml")
	writeFile(t, filepath.Join(dir, "lists", "ads.txt"), "#@ vendor=Acme tier=telemetry source=https://example.org\nads.example\n")
	writeFile(t, settings, "listen: {dns: [\"127.0.0.1:0\"]}\ndnstap: {to: \"unix:"+socket+"\"}\nmetrics: {listen: \""+metrics+"\"}\n")
	up := dnstest.Start(t, dnstest.AnswerA("192.0.2.1"))
	p := startProcess(t, dir, nil, "--config", settings, "--upstreams", up.Addr.String())
	counted := func(text string) {
		t.Helper()
		for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
			_, page := fetched(t, "http://"+metrics+"/metrics")
			if strings.Contains(page, text) {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("never %s:\n%s\n%s", text, p.errs.String(), said.String())
			}
		}
	}
	counted("telltale_dnstap_connected 1\n")
	for _, name := range []string{"ads.example.", "www.example."} {
		if err := p.ask(name); err != nil {
			t.Fatal(err)
		}
	}
	counted("telltale_dnstap_messages_total 4\n")
	p.stop()
	capture.Process.Signal(syscall.SIGTERM)
	select {
	case <-ended:
	case <-time.After(patience):
		t.Fatalf("fstrm_capture does not end:\n%s", said.String())
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("dnstap-ldns", "-y", "-r", file).CombinedOutput()
	if err != nil {
		t.Fatalf("dnstap-ldns: %v\n%s\nof %q", err, out, text)
	}
	for _, want := range []string{"CLIENT_QUERY", "CLIENT_RESPONSE", "ads.example.", "www.example.", "192.0.2.1", "UDP", `query_address: "127.0.0.1"`, `identity: "test"`} {
		if !strings.Contains(string(out), want) {
			t.Errorf("dnstap-ldns has no %s in\n%s\nfstrm_capture said\n%s", want, out, said.String())
		}
	}
	for _, want := range []string{`"verdict":"block"`, `"vendor":"Acme"`, `"verdict":"pass"`} { // of extra, which it does not print
		if !strings.Contains(string(text), want) {
			t.Errorf("the file has no %s", want)
		}
	}
}
