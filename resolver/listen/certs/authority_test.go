package certs

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"telltale/resolver/dnstest"
)

// A machine is one whose clock and addresses a test sets.
type machine struct {
	now   atomic.Pointer[time.Time]
	addrs atomic.Pointer[[]netip.Addr]
}

func newMachine(now time.Time, addrs ...string) *machine {
	m := &machine{}
	m.now.Store(&now)
	m.move(addrs...)
	return m
}

func (m *machine) move(texts ...string) {
	var addrs []netip.Addr
	for _, text := range texts {
		addrs = append(addrs, netip.MustParseAddr(text))
	}
	m.addrs.Store(&addrs)
}

func (m *machine) after(d time.Duration) {
	now := m.now.Load().Add(d)
	m.now.Store(&now)
}

func (m *machine) options(file string, names ...string) Options {
	return Options{
		Now:   func() time.Time { return *m.now.Load() },
		Local: &LocalAuthority{File: file, Names: names, Addresses: func() []netip.Addr { return slices.Clone(*m.addrs.Load()) }},
	}
}

// trusts reports why a client with the root does not believe in a server's name.
func trusts(root *x509.Certificate, c *tls.Certificate, server string, now time.Time) error {
	roots := x509.NewCertPool()
	roots.AddCert(root)
	_, err := c.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: server, CurrentTime: now})
	return err
}

func TestALocalAuthority(t *testing.T) {
	dnstest.CheckLeaks(t)
	file := filepath.Join(t.TempDir(), "authority.pem")
	m := newMachine(time.Now(), "127.0.0.1", "192.168.1.2", "2001:db8::2", "203.0.113.9")
	s, text := open(t, m.options(file, "dns.example", "198.51.100.7"))
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v: want a file of mode 0600", info, err)
	}
	root, err := ReadRoot(file)
	if err != nil {
		t.Fatal(err)
	}
	leaf := func() *tls.Certificate { return (*s.inForce.Load())[0] }
	for name, want := range map[string]bool{
		"dns.example": true, "127.0.0.1": true, "192.168.1.2": true, "2001:db8::2": true, "198.51.100.7": true,
		"203.0.113.9":   false, // of this machine, and anybody's: only settings may name it
		"other.example": false, "192.168.1.3": false,
	} {
		if err := trusts(root, leaf(), name, *m.now.Load()); (err == nil) != want {
			t.Errorf("%s: %v, want it trusted: %v", name, err, want)
		}
	}
	if got := greeted(t, s.Config(), "127.0.0.1").DNSNames[0]; got != "dns.example" {
		t.Errorf("shown is the certificate of %s", got)
	}

	m.move("192.168.1.3")
	dnstest.WaitFor(t, func() bool { return trusts(root, leaf(), "192.168.1.3", *m.now.Load()) == nil }, func() string { return "the new address is not in the certificate" })
	if trusts(root, leaf(), "192.168.1.2", *m.now.Load()) == nil {
		t.Error("the old address still is")
	}
	before := leaf()
	s.look()
	if leaf() != before {
		t.Error("a new certificate, and nothing has changed")
	}
	m.after(leafLife*2/3 + time.Hour)
	s.look()
	if now := *m.now.Load(); leaf() == before || trusts(root, leaf(), "dns.example", now.Add(leafLife-time.Hour)) != nil {
		t.Error("the certificate is not renewed when a third of its time is left")
	}
	if text.String() == "" || strings.Contains(text.String(), "WARN") {
		t.Errorf("said: %s", text.String())
	}
	m.after(rootLife - 300*24*time.Hour)
	s.look()
	if st := s.Status(); len(st) != 2 || !st[1].Authority || st[1].Trouble(*m.now.Load()) != "is about to end" || !strings.Contains(text.String(), "the local authority is about to end") {
		t.Errorf("%+v; said: %s", st, text.String())
	}
	s.Close()

	again, _ := open(t, m.options(file, "dns.example"))
	if root2, err := ReadRoot(file); err != nil || !root2.Equal(root) {
		t.Errorf("another start makes another root: %v", err)
	}
	again.Close()
	if _, err := Open(m.options(file, "dns.example", "other.example")); err == nil || !strings.Contains(err.Error(), "may not vouch for it") {
		t.Errorf("a name that came later: %v", err)
	}
}

// A name with a star is vouched for as it is, and once.
func TestALocalAuthorityVouchesForStars(t *testing.T) {
	now := time.Now()
	r, err := makeRoot(filepath.Join(t.TempDir(), "a.pem"), []string{"*.dns.example"}, now)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		names []string
		want  string // in the certificate
	}{
		{[]string{"*.dns.example"}, "*.dns.example"},
		{[]string{"dns.example", "*.dns.example"}, "dns.example *.dns.example"},
		{[]string{"*.dns.example", "dns.example", "192.168.1.2"}, "*.dns.example dns.example"},
	} {
		c, err := r.leaf(test.names, now)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(c.Leaf.DNSNames, " "); got != test.want || !r.permits(test.names[0]) {
			t.Errorf("%v: the certificate is for %s, want %s; permitted: %v", test.names, got, test.want, r.permits(test.names[0]))
		}
		if err := trusts(r.certificate, c, "phone.dns.example", now); err != nil {
			t.Errorf("%v: %v", test.names, err)
		}
		if err := trusts(r.certificate, c, "dns.example", now); (err == nil) != slices.Contains(test.names, "dns.example") {
			t.Errorf("%v: dns.example itself: %v", test.names, err)
		}
	}
}

// Whoever steals the key cannot pass for any site.
func TestALocalAuthorityIsConstrained(t *testing.T) {
	now := time.Now()
	r, err := makeRoot(filepath.Join(t.TempDir(), "a.pem"), []string{"dns.example"}, now)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{
		"dns.example": true, "phone.dns.example": true, "telltale.home.arpa": true, "nas.lan": true, "192.168.1.2": true, "fd00::1": true,
		"www.example": false, "www.example.com": false, "notdns.example": false, "lan.example": false, "1.1.1.1": false, "192.0.2.1": false,
	} {
		c, err := r.leaf([]string{name}, now)
		if err != nil {
			t.Fatal(err)
		}
		if err := trusts(r.certificate, c, name, now); (err == nil) != want || r.permits(name) != want {
			t.Errorf("%s: %v, permitted %v, want %v", name, err, r.permits(name), want)
		}
	}
}

// A small machine has no clock of its own: it is set some time after the start.
func TestALocalAuthorityWaitsForTheClock(t *testing.T) {
	dnstest.CheckLeaks(t)
	file := filepath.Join(t.TempDir(), "authority.pem")
	m := newMachine(time.Unix(1000, 0), "127.0.0.1")
	s, text := open(t, m.options(file, "dns.example"))
	s.look()
	if _, err := os.Stat(file); err == nil || len(*s.inForce.Load()) != 0 || strings.Count(text.String(), "waits for the clock") != 1 {
		t.Errorf("%v; said: %s", err, text.String())
	}
	if _, err := s.choose(&tls.ClientHelloInfo{}); err == nil {
		t.Error("a certificate of 1970")
	}
	m.after(time.Since(time.Unix(1000, 0)))
	dnstest.WaitFor(t, func() bool { return len(*s.inForce.Load()) == 1 }, func() string { return "no certificate, and the clock is set" })
	// And back, as a clock may go that was set wrongly.
	m.after(-30 * 24 * time.Hour)
	s.look()
	if leaf := (*s.inForce.Load())[0].Leaf; leaf.NotBefore.After(*m.now.Load()) {
		t.Errorf("valid from %v, and it is %v", leaf.NotBefore, *m.now.Load())
	}
}

func TestABadAuthorityEndsAStart(t *testing.T) {
	m := newMachine(time.Now())
	for want, change := range map[string]func(file string){
		"its mode is 0640":                          func(file string) { os.Chmod(file, 0o640) },
		"failed to find any PEM data":               func(file string) { put(t, file, []byte("x")) },
		"restore it, or remove it":                  func(file string) { put(t, file, nil) },
		"it is not the certificate of an authority": func(file string) { r, _ := readRoot(file); put(t, file, leafPEM(t, r)) },
	} {
		file := filepath.Join(t.TempDir(), "authority.pem")
		if _, err := makeRoot(file, []string{"dns.example"}, time.Now()); err != nil {
			t.Fatal(err)
		}
		change(file)
		if _, err := Open(m.options(file, "dns.example")); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// leafPEM returns a certificate of r with its key, as a file holds them.
func leafPEM(t *testing.T, r *root) []byte {
	t.Helper()
	leaf, err := r.leaf([]string{"dns.example"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(leaf.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Leaf.Raw}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})...)
}

func TestAddressesOfThisMachine(t *testing.T) {
	all := MachineAddresses()
	if !slices.Contains(all, netip.MustParseAddr("127.0.0.1")) {
		t.Errorf("%v, want 127.0.0.1 among them", all)
	}
	for _, a := range all {
		if a.IsLinkLocalUnicast() || a.Is4In6() || net.ParseIP(a.String()) == nil {
			t.Errorf("%v is of no use in a certificate", a)
		}
	}
}
