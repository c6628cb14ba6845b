package certs

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"telltale/resolver/dnstest"
)

// write makes a certificate of its own for names, and its files.
func write(t *testing.T, dir, name string, until time.Duration, names ...string) Files {
	t.Helper()
	certificate, key := pems(t, until, names...)
	f := Files{Certificate: filepath.Join(dir, name+".pem"), Key: filepath.Join(dir, name+".key")}
	put(t, f.Key, key)
	put(t, f.Certificate, certificate)
	return f
}

// put replaces a file as programs do that renew certificates.
func put(t *testing.T, file string, text []byte) {
	t.Helper()
	if err := os.WriteFile(file+".new", text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
}

func pems(t *testing.T, until time.Duration, names ...string) (certificate, key []byte) {
	t.Helper()
	c := dnstest.NewCertificate(t, time.Now().Add(until), names...)
	return []byte(c.Cert), []byte(c.Key)
}

// days is a time in which nothing is to be said of a test's certificate.
const days = 5 * 24 * time.Hour

// said is what a logger wrote. Any goroutine may use it.
type said struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *said) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(b)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

func open(t *testing.T, o Options) (*Source, *said) {
	t.Helper()
	text := &said{}
	o.Logger, o.Poll = slog.New(slog.NewTextHandler(text, nil)), 50*time.Millisecond
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s, text
}

// greeted returns the certificate that a client gets that names a server.
func greeted(t *testing.T, config *tls.Config, server string) *x509.Certificate {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		tls.Server(c, config).Handshake()
	}()
	c, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{ServerName: server, InsecureSkipVerify: true, NextProtos: config.NextProtos})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0]
}

func TestACertificateIsChosenByNameAndAddress(t *testing.T) {
	dnstest.CheckLeaks(t)
	dir := t.TempDir()
	s, _ := open(t, Options{Files: []Files{
		write(t, dir, "first", days, "dns.example"),
		write(t, dir, "wild", days, "*.dns.example"),
		write(t, dir, "address", days, "other.example", "127.0.0.1"),
	}})
	config := s.Config("dot")
	for server, want := range map[string]string{
		"dns.example": "dns.example", "phone.dns.example": "*.dns.example", "other.example": "other.example",
		"unknown.example": "dns.example", "a.b.dns.example": "dns.example",
		"127.0.0.1": "other.example", // no name is sent for an address
	} {
		if got := greeted(t, config, server).DNSNames[0]; got != want {
			t.Errorf("for %s: the certificate of %s, want that of %s", server, got, want)
		}
	}
}

func TestAChangedCertificateIsUsed(t *testing.T) {
	dnstest.CheckLeaks(t)
	dir := t.TempDir()
	f := write(t, dir, "c", days, "old.example")
	s, _ := open(t, Options{Files: []Files{f}})
	config := s.Config()
	write(t, dir, "c", days, "new.example")
	dnstest.WaitFor(t, func() bool { return greeted(t, config, "x.example").DNSNames[0] == "new.example" }, func() string { return "the old certificate is still in use" })
	if st := s.Status(); len(st) != 1 || st[0].Err != nil || st[0].Names[0] != "new.example" {
		t.Errorf("%+v", st)
	}
}

// What is wrong with changed files is said once, and the certificate in use stays
// until they are right again.
func TestABadCertificateKeepsTheOldOne(t *testing.T) {
	dnstest.CheckLeaks(t)
	certificate, key := pems(t, days, "new.example")
	_, other := pems(t, days, "other.example")
	for name, c := range map[string]struct {
		change func(f Files)
		want   string
	}{
		"no PEM":              {func(f Files) { put(t, f.Certificate, []byte("<html>")) }, "c.pem: no PEM in it"},
		"cut off":             {func(f Files) { put(t, f.Certificate, certificate[:len(certificate)/2]) }, "c.pem: no PEM in it"},
		"empty":               {func(f Files) { put(t, f.Certificate, nil) }, "c.pem: no PEM in it"},
		"key for certificate": {func(f Files) { put(t, f.Certificate, key) }, "c.pem: it holds a PRIVATE KEY and no certificate"},
		"another's key":       {func(f Files) { put(t, f.Key, other) }, "private key does not match public key"},
		"no key":              {func(f Files) { os.Remove(f.Key) }, "private key: stat"},
		"a directory":         {func(f Files) { os.Symlink(filepath.Dir(f.Key), f.Key+".new"); os.Rename(f.Key+".new", f.Key) }, "c.key: not a file"},
		"readable by others":  {func(f Files) { os.Chmod(f.Key, 0o644) }, "its mode is 0644, so that others can read or change it: run chmod 0600"},
		"writable by a group": {func(f Files) { os.Chmod(f.Key, 0o660) }, "its mode is 0660"},
		"too large":           {func(f Files) { put(t, f.Certificate, make([]byte, maxFile+1)) }, "more than 1048576 octets"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			f := write(t, dir, "c", days, "old.example")
			s, text := open(t, Options{Files: []Files{f}})
			c.change(f)
			dnstest.WaitFor(t, func() bool { return strings.Contains(text.String(), "the one in use stays") }, func() string { return "nothing is said" })
			if st := s.Status()[0]; st.Err == nil || !strings.Contains(st.Err.Error(), c.want) {
				t.Errorf("%v, want %q", st.Err, c.want)
			}
			if got := greeted(t, s.Config(), "x.example").DNSNames[0]; got != "old.example" {
				t.Errorf("the certificate of %s is in use", got)
			}
			s.look()
			if n := strings.Count(text.String(), "the one in use stays"); n != 1 {
				t.Errorf("said %d times", n)
			}
			if _, err := Open(Options{Files: []Files{f}}); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("a start: %v, want %q", err, c.want)
			}
			os.RemoveAll(f.Key)
			write(t, dir, "c", days, "right.example")
			dnstest.WaitFor(t, func() bool { return s.Status()[0].Err == nil && s.Status()[0].Names[0] == "right.example" }, func() string { return "the right certificate is not in use" })
		})
	}
}

func TestACertificateThatEndsIsSaid(t *testing.T) {
	dnstest.CheckLeaks(t)
	for want, until := range map[string]time.Duration{"has ended": -time.Hour, "is about to end": 24 * time.Hour, "": days} {
		s, text := open(t, Options{Files: []Files{write(t, t.TempDir(), "c", until, "dns.example")}})
		s.look()
		if got := strings.Count(text.String(), "a certificate "+want); want != "" && got != 1 || want == "" && text.String() != "" {
			t.Errorf("%q said %d times: %s", want, got, text.String())
		}
		s.Close()
	}
}

func TestAClientOfOtherProtocolsIsRefused(t *testing.T) {
	dnstest.CheckLeaks(t)
	s, _ := open(t, Options{Files: []Files{write(t, t.TempDir(), "c", days, "dns.example")}})
	for _, c := range []struct {
		config *tls.Config
		served bool
	}{
		{&tls.Config{}, true},
		{&tls.Config{NextProtos: []string{"dot"}}, true},
		{&tls.Config{NextProtos: []string{"http/1.0"}}, false},
		{&tls.Config{MaxVersion: tls.VersionTLS12}, true},
		{&tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, false},
	} {
		ours, theirs := net.Pipe()
		c.config.InsecureSkipVerify = true
		var server sync.WaitGroup
		server.Go(func() { tls.Server(ours, s.Config("dot")).Handshake(); ours.Close() })
		err := tls.Client(theirs, c.config).Handshake()
		theirs.Close()
		server.Wait()
		if (err == nil) != c.served {
			t.Errorf("%+v: %v", c.config.NextProtos, err)
		}
	}
}

// A certificate may come after the start.
func TestACertificateMayComeLater(t *testing.T) {
	dnstest.CheckLeaks(t)
	f := Files{Later: true}
	dir := t.TempDir()
	f.Certificate, f.Key = filepath.Join(dir, "c.pem"), filepath.Join(dir, "c.pem")
	s, _ := open(t, Options{Files: []Files{write(t, dir, "other", days, "other.example"), f}})
	if st := s.Status(); len(st) != 2 || st[1].Err == nil || len(*s.inForce.Load()) != 1 {
		t.Errorf("%+v", st)
	}
	certificate, key := pems(t, days, "dns.example")
	put(t, f.Certificate, append(certificate, key...))
	dnstest.WaitFor(t, func() bool { return greeted(t, s.Config(), "dns.example").DNSNames[0] == "dns.example" }, func() string { return "it is not in use" })
	if st := s.Status(); st[1].Err != nil {
		t.Errorf("%+v", st[1])
	}
}
