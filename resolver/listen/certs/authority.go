package certs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"telltale/atomicfile"
	"telltale/sorting"
)

// LocalAuthority makes certificates for this machine, which clients trust that a
// person has given its root.
type LocalAuthority struct {
	// File has the root and its private key. It is made where there is none.
	File string
	// Names are names and addresses that clients use, the first one first.
	Names []string
	// Addresses returns those of this machine, which are in its certificate, too.
	// nil: none.
	Addresses func() []netip.Addr
}

const (
	rootLife = 10 * 365 * 24 * time.Hour
	leafLife = 90 * 24 * time.Hour // Apple's systems refuse more than 825 days
	// early is how long before it is made a certificate is valid: the clocks of
	// clients are not quite right.
	early = 48 * time.Hour
	// maxAddresses bounds the addresses in a certificate.
	maxAddresses = 100
	// built is a time before which a clock is not set: 2026-05-28.
	built = 1780000000
)

// privateNames and privateRanges are what a local authority may vouch for beside the
// names that it is made for, so that whoever steals its key cannot pass for any site.
// All of IPv6 is among them: a home's global addresses change, and its authority stays.
var (
	privateNames  = []string{"home.arpa", "internal", "lan", "local", "localhost", "test"}
	privateRanges = []string{"10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16", "::/0"}
)

// errClock means that no certificate can be made yet.
var errClock = errors.New("this machine's clock is not set: a certificate would not be valid")

// A root is a local authority's own certificate.
type root struct {
	certificate *x509.Certificate
	key         crypto.Signer
}

// ReadRoot returns the root in a file of a local authority, without its key.
func ReadRoot(file string) (*x509.Certificate, error) {
	r, err := readRoot(file)
	if err != nil {
		return nil, err
	}
	return r.certificate, nil
}

func readRoot(file string) (*root, error) {
	text, err := ReadSecret(file, false)
	if err != nil {
		return nil, fmt.Errorf("local authority: %w", err)
	}
	pair, err := tls.X509KeyPair(text, text)
	if err == nil && !pair.Leaf.IsCA {
		err = errors.New("it is not the certificate of an authority")
	}
	key, ok := pair.PrivateKey.(crypto.Signer)
	if err == nil && !ok {
		err = errors.New("its key cannot sign")
	}
	if err != nil {
		return nil, fmt.Errorf("local authority %s: %w: restore it, or remove it for a new one, which each client must then be given", file, err)
	}
	return &root{pair.Leaf, key}, nil
}

// makeRoot makes a root that may vouch for names, and keeps it in a file.
func makeRoot(file string, names []string, now time.Time) (*root, error) {
	if now.Unix() < built {
		return nil, errClock
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	host, _ := os.Hostname()
	template := &x509.Certificate{
		Subject:   pkix.Name{CommonName: fmt.Sprintf("Telltale on %s, made %s", host, now.Format(time.DateOnly))},
		NotBefore: now.Add(-early), NotAfter: now.Add(rootLife), KeyUsage: x509.KeyUsageCertSign,
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, PermittedDNSDomainsCritical: true, PermittedDNSDomains: slices.Clone(privateNames),
	}
	for _, r := range privateRanges {
		_, network, err := net.ParseCIDR(r)
		if err != nil {
			return nil, err
		}
		template.PermittedIPRanges = append(template.PermittedIPRanges, network)
	}
	for _, name := range names {
		if a, err := netip.ParseAddr(name); err == nil {
			template.PermittedIPRanges = append(template.PermittedIPRanges, &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(a.BitLen(), a.BitLen())})
		} else {
			template.PermittedDNSDomains = append(template.PermittedDNSDomains, strings.TrimPrefix(name, "*."))
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	text := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})...)
	if err := atomicfile.Write(file, text, 0o600); err != nil {
		return nil, fmt.Errorf("local authority: %w", err)
	}
	return readRoot(file)
}

// permits reports whether the root may vouch for a name or an address.
func (r *root) permits(name string) bool {
	if ip := net.ParseIP(name); ip != nil {
		return slices.ContainsFunc(r.certificate.PermittedIPRanges, func(n *net.IPNet) bool { return n.Contains(ip) })
	}
	return slices.ContainsFunc(r.certificate.PermittedDNSDomains, func(d string) bool { return name == d || strings.HasSuffix(name, "."+d) })
}

// leaf makes a certificate for names and addresses.
func (r *root) leaf(names []string, now time.Time) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: names[0]}, NotBefore: now.Add(-early), NotAfter: now.Add(leafLife),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true,
	}
	if end := r.certificate.NotAfter; template.NotAfter.After(end) {
		template.NotAfter = end
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
			continue
		}
		for _, n := range withStar(name) {
			if !slices.Contains(template.DNSNames, n) {
				template.DNSNames = append(template.DNSNames, n)
			}
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, r.certificate, &key.PublicKey, r.key)
	if err != nil {
		return nil, err
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der, r.certificate.Raw}, PrivateKey: key, Leaf: parsed}, nil
}

// withStar returns a name and those one below it, ID.NAME, which have a client id in them.
func withStar(name string) []string {
	if strings.HasPrefix(name, "*.") {
		return []string{name}
	}
	return []string{name, "*." + name}
}

// authority is a local authority at work. The Source's lock guards it.
type authority struct {
	options LocalAuthority
	root    *root            // nil until the clock is set
	leaf    *tls.Certificate // the same
	names   []string         // that leaf is for
	waited  bool             // it was said that there is none yet
	warned  time.Time
}

// Check returns how the root does that is there, or why it cannot be used.
func (o *LocalAuthority) Check() (Status, error) {
	r, err := readRoot(o.File)
	if err != nil {
		return Status{}, err
	}
	a := &authority{options: *o, root: r}
	return a.rootStatus(), a.check()
}

// openAuthority reads or makes the root. It fails where that may not vouch for what
// the settings name.
func openAuthority(o LocalAuthority, now time.Time) (*authority, error) {
	a := &authority{options: o}
	r, err := readRoot(o.File)
	if errors.Is(err, fs.ErrNotExist) {
		r, err = makeRoot(o.File, o.Names, now)
	}
	if errors.Is(err, errClock) {
		return a, nil
	}
	if err != nil {
		return nil, err
	}
	a.root = r
	return a, a.check()
}

// check returns why the root may not vouch for what the settings name.
func (a *authority) check() error {
	for _, name := range a.options.Names {
		if !a.root.permits(name) {
			return fmt.Errorf("local authority %s: it was made when tls.names did not have %s, and may not vouch for it: take that out, or remove the file for a new one, which each client must then be given", a.options.File, name)
		}
	}
	return nil
}

// look makes a new certificate where the addresses have changed, or a third of the
// time is left.
func (a *authority) look(now time.Time, logger *slog.Logger) {
	if a.root == nil {
		made, err := openAuthority(a.options, now)
		if err != nil {
			logger.Error("there is no local authority", "error", err)
			return
		}
		if a.root = made.root; a.root == nil {
			if !a.waited {
				logger.Warn("the local authority waits for the clock", "error", errClock)
			}
			a.waited = true
			return
		}
	}
	names := a.current()
	if a.leaf != nil && slices.Equal(names, a.names) && now.Before(a.leaf.Leaf.NotAfter.Add(-leafLife/3)) && now.After(a.leaf.Leaf.NotBefore) {
		return
	}
	leaf, err := a.root.leaf(names, now)
	if err != nil {
		logger.Error("the local authority cannot make a certificate", "error", err)
		return
	}
	a.leaf, a.names = leaf, names
	logger.Info("the local authority has made a certificate", "names", names, "valid_until", leaf.Leaf.NotAfter)
}

// current returns what the certificate is to be for: the names of the settings, and
// the addresses that this machine has now.
func (a *authority) current() []string {
	names := slices.Clone(a.options.Names)
	if a.options.Addresses == nil {
		return names
	}
	addrs := a.options.Addresses()
	sorting.By(addrs, netip.Addr.Compare)
	for _, addr := range addrs {
		if text := addr.Unmap().WithZone("").String(); len(names) < maxAddresses && !slices.Contains(names, text) && a.root.permits(text) {
			names = append(names, text)
		}
	}
	return names
}

// warn says once a day that clients will need another root.
func (a *authority) warn(now time.Time, logger *slog.Logger) {
	if a.root == nil {
		return
	}
	st := a.rootStatus()
	if text := st.Trouble(now); text != "" && (a.warned.IsZero() || now.Sub(a.warned).Abs() >= warnEvery) {
		a.warned = now
		logger.Warn("the local authority "+text+": remove its file for a new one at the next start, and give that to each client", "file", a.options.File, "valid_until", st.NotAfter)
	}
}

func (a *authority) rootStatus() Status {
	return Status{
		Files: Files{Certificate: a.options.File}, Authority: true, Names: []string{a.root.certificate.Subject.CommonName}, Issuer: a.root.certificate.Subject.CommonName,
		NotBefore: a.root.certificate.NotBefore, NotAfter: a.root.certificate.NotAfter,
	}
}

// MachineAddresses returns the addresses of this machine that clients may use.
func MachineAddresses() []netip.Addr {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	var addrs []netip.Addr
	for _, a := range all {
		p, err := netip.ParsePrefix(a.String())
		if err == nil && !p.Addr().IsLinkLocalUnicast() && !p.Addr().IsMulticast() {
			addrs = append(addrs, p.Addr())
		}
	}
	return addrs
}
