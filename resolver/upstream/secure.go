package upstream

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// A Pin is the SHA-256 of a certificate's public key (SPKI, RFC 7858, 4.2) or, in a DNS
// stamp, of the signed part of a certificate (TBSCertificate, RFC 5280, 4.1).
type Pin struct {
	Certificate bool // of the signed part
	Sum         [sha256.Size]byte
}

// KeyPin returns the pin of a certificate's public key.
func KeyPin(c *x509.Certificate) Pin {
	return Pin{Sum: sha256.Sum256(c.RawSubjectPublicKeyInfo)}
}

func (p Pin) fits(c *x509.Certificate) bool {
	if p.Certificate {
		return p.Sum == sha256.Sum256(c.RawTBSCertificate)
	}
	return p == KeyPin(c)
}

// errPin means that a server has a valid certificate, but no pin fits.
var errPin = errors.New("no pin fits")

// tlsConfig returns how a server is spoken to by TLS, for a protocol: its certificate must be
// valid for its name, or for its address where it has none (RFC 8310, the strict profile).
// There is no way to do without.
func (u *Client) tlsConfig(s Server, protocol string) *tls.Config {
	config := &tls.Config{
		ServerName:         s.tlsName(),
		RootCAs:            u.roots,
		MinVersion:         tls.VersionTLS12,
		NextProtos:         []string{protocol},
		ClientSessionCache: tls.NewLRUClientSessionCache(2),
		Time:               u.now,
	}
	if len(s.Pins) > 0 {
		config.InsecureSkipVerify = true // checkPins does what that leaves out
		config.VerifyConnection = func(cs tls.ConnectionState) error { return u.checkPins(&s, cs.PeerCertificates) }
	}
	return config
}

// checkPins checks the certificates of a server with pins. One of the server's own public
// key is enough: who has that key is the server, whatever else its certificate says (RFC 7858,
// 4.2). Every other pin asks for a valid certificate, too, with which it must be.
func (u *Client) checkPins(s *Server, presented []*x509.Certificate) error {
	leaf := presented[0]
	if slices.Contains(s.Pins, KeyPin(leaf)) {
		return nil
	}
	options := x509.VerifyOptions{DNSName: s.tlsName(), Roots: u.roots, CurrentTime: u.now(), Intermediates: x509.NewCertPool()}
	for _, c := range presented[1:] {
		options.Intermediates.AddCert(c)
	}
	chains, err := leaf.Verify(options)
	if err != nil && !slices.ContainsFunc(s.Pins, func(p Pin) bool { return p.Certificate }) {
		err = fmt.Errorf("%w, and the certificate is not valid: %w", errPin, err)
	}
	if err != nil {
		return &tls.CertificateVerificationError{UnverifiedCertificates: presented, Err: err}
	}
	for _, chain := range chains {
		for _, c := range chain {
			if slices.ContainsFunc(s.Pins, func(p Pin) bool { return p.fits(c) }) {
				return nil
			}
		}
	}
	return &tls.CertificateVerificationError{UnverifiedCertificates: presented, Err: errPin}
}

// A handshakeError means that there is a server, but no TLS with it.
type handshakeError struct{ err error }

func (e *handshakeError) Error() string { return e.err.Error() }
func (e *handshakeError) Unwrap() error { return e.err }

// isCertificate reports whether it is for the server's certificate.
func (e *handshakeError) isCertificate() bool {
	var bad *tls.CertificateVerificationError
	return errors.As(e.err, &bad)
}

// describeProblem says what is wrong with a server that is nowhere, that there is no TLS with,
// or whose HTTP responses are no answers, and what to do; empty for everything else.
func describeProblem(err error) string {
	var failed *httpError
	if errors.As(err, &failed) {
		return failed.why + ": check the path of its URL, or ask who runs the server"
	}
	var nowhere *unknownNameError
	if errors.As(err, &nowhere) {
		return nowhere.Error()
	}
	var handshake *handshakeError
	if !errors.As(err, &handshake) {
		return ""
	}
	if errors.Is(err, errNoHTTP2) {
		return "offers no HTTP/2: check its address and port, or ask it by TLS, as tls://, if it answers by that"
	}
	if !handshake.isCertificate() {
		return fmt.Sprintf("offers no TLS that can be used (%v): check its address and port, which is 853 for DNS over TLS or QUIC and 443 for HTTPS", handshake.err)
	}
	var host x509.HostnameError
	var unknown x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.Is(err, errPin):
		return "has none of the keys or certificates that the settings name by pins or a stamp" + ownPin(err) +
			": ask who runs the server whether that is right, and only then change the settings"
	case errors.As(err, &host):
		return fmt.Sprintf("has a certificate for %s and not for %s: write the name that it has behind #, as in tls://ADDRESS#NAME",
			certificateNames(host.Certificate), host.Host)
	case errors.As(err, &unknown):
		return "has a certificate of an authority that this machine does not trust: install the package ca-certificates, or that authority, and start Telltale again"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired && invalid.Cert != nil:
		return fmt.Sprintf("has a certificate that is valid from %s to %s only: check this machine's clock, or ask who runs the server for a new one",
			invalid.Cert.NotBefore.UTC().Format(time.DateOnly), invalid.Cert.NotAfter.UTC().Format(time.DateOnly))
	}
	return fmt.Sprintf("has a certificate that is not valid (%v): ask who runs the server for a new one", err)
}

// ownPin says which pin would fit the server's own key.
func ownPin(err error) string {
	var bad *tls.CertificateVerificationError
	if !errors.As(err, &bad) || len(bad.UnverifiedCertificates) == 0 {
		return ""
	}
	own := KeyPin(bad.UnverifiedCertificates[0])
	return " (its own key is sha256/" + base64.StdEncoding.EncodeToString(own.Sum[:]) + ")"
}

// certificateNames returns the first names and addresses of a certificate.
func certificateNames(c *x509.Certificate) string {
	names := append([]string(nil), c.DNSNames...)
	for _, a := range c.IPAddresses {
		names = append(names, a.String())
	}
	if len(names) > 4 {
		names = append(names[:4], "others")
	}
	if len(names) == 0 {
		return "no name"
	}
	return strings.Join(names, ", ")
}
