//go:build e2e

package acme

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"telltale/resolver/dnstest"
)

// pebble is the authority of Let's Encrypt for tests.
const pebble = "github.com/letsencrypt/pebble/v2/cmd/pebble@v2.10.3"

// startPebble builds and starts pebble, which asks the DNS server at an address. It
// returns the URL of its directory, and what reaches it.
func startPebble(t *testing.T, dnsServer string) (directory string, transport http.RoundTripper) {
	t.Helper()
	dir := t.TempDir()
	build := exec.Command("go", "install", "-trimpath", pebble) // as the program is, whose standard library is compiled already
	build.Env = append(os.Environ(), "GOBIN="+dir, "GOFLAGS=-mod=mod")
	build.Dir = dir
	if out, err := build.CombinedOutput(); err != nil {
		t.Skipf("pebble cannot be built here: %v\n%s", err, out)
	}
	c := dnstest.NewCertificate(t, time.Now().Add(24*time.Hour), "127.0.0.1")
	certificate, key := c.Files(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	settings, err := json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress": addr, "certificate": certificate, "privateKey": key, "httpPort": 1, "tlsPort": 1,
		"profiles": map[string]any{"default": map[string]any{"description": "for tests", "validityPeriod": 7776000}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "pebble.json")
	if err := os.WriteFile(file, settings, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(dir, "pebble"), "-config", file, "-dnsserver", dnsServer)
	cmd.Env = append(os.Environ(), "PEBBLE_VA_NOSLEEP=1", "PEBBLE_WFE_NONCEREJECT=20")
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		log.Close()
		if text, _ := os.ReadFile(log.Name()); t.Failed() {
			t.Logf("pebble said:\n%s", text)
		}
	})
	directory = fmt.Sprintf("https://%s/dir", addr)
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: c.Roots}}
	t.Cleanup(tr.CloseIdleConnections)
	dnstest.WaitFor(t, func() bool {
		r, err := (&http.Client{Transport: tr}).Get(directory)
		if err == nil {
			r.Body.Close()
		}
		return err == nil
	}, func() string { return "pebble does not answer" })
	return directory, tr
}

// A certificate for a name and all below it is had of a real authority, by updates of
// a zone and by a program; and renewed when its time has come.
func TestE2EACertificateOfPebble(t *testing.T) {
	z := startZone(t)
	directory, transport := startPebble(t, z.addr.String())
	hook := filepath.Join(t.TempDir(), "hook")
	if err := os.WriteFile(hook, []byte("#!/bin/sh\necho \"$@\" >> "+z.hooked+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, solver := range map[string]Solver{"update": Update{Servers: []netip.AddrPort{z.addr}, Key: z.key}, "hook": Hook{hook}} {
		t.Run(name, func(t *testing.T) {
			o := Options{
				Directory: directory, Names: []string{"dns.example", "*.dns.example"}, Email: "somebody@dns.example", Dir: filepath.Join(t.TempDir(), "acme"),
				Solver: solver, Transport: transport, Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
			}
			c := New(o)
			if why := c.due(); why == "" {
				t.Fatal("there is no certificate, and none is due")
			}
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan struct{})
			go func() { c.Run(ctx); close(done) }()
			// One in five requests is rejected by chance, and each rejection in a row costs a longer pause.
			for end := time.Now().Add(3 * time.Minute); c.due() != "" && c.Err() == nil; time.Sleep(10 * time.Millisecond) {
				if time.Now().After(end) {
					t.Fatal("no certificate: ", c.due())
				}
			}
			cancel()
			<-done
			if err := c.Err(); err != nil {
				t.Fatal(err)
			}
			file := CertificateFile(o.Dir)
			first, err := tls.LoadX509KeyPair(file, file)
			if err != nil {
				t.Fatal(err)
			}
			if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("%v, %v: want mode 0600", info, err)
			}
			if !slices.Contains(first.Leaf.DNSNames, "*.dns.example") || len(first.Certificate) < 2 {
				t.Errorf("for %v, a chain of %d", first.Leaf.DNSNames, len(first.Certificate))
			}
			if left := z.records(); len(left) != 0 {
				t.Errorf("left behind: %v", left)
			}
			o.Now = func() time.Time { return first.Leaf.NotAfter.Add(-20 * 24 * time.Hour) }
			late := New(o)
			if why := late.due(); why == "" {
				t.Fatal("20 days are left, and no certificate is due")
			}
			if err := late.get(t.Context()); err != nil { // by the account there is
				t.Fatal(err)
			}
			if second, err := tls.LoadX509KeyPair(file, file); err != nil || second.Leaf.Equal(first.Leaf) {
				t.Errorf("the certificate is the same: %v", err)
			}
		})
	}
	z.silent.Store(true) // updates are taken, and nobody can see them
	c := New(Options{Directory: directory, Names: []string{"other.dns.example"}, Dir: t.TempDir(), Solver: Update{Servers: []netip.AddrPort{z.addr}, Key: z.key}, Transport: transport})
	if err := c.get(t.Context()); err == nil {
		t.Error("a certificate without a proof")
	} else {
		t.Log(err)
	}
}
