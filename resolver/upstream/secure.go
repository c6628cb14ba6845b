package upstream

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"time"
)

// tlsConfig returns how a server is spoken to by TLS: its certificate must be valid
// for its name, or for its address where it has none (RFC 8310, the strict profile).
// There is no way to do without.
func (u *Client) tlsConfig(s Server) *tls.Config {
	name := s.Name
	if name == "" {
		name = s.Addr.Addr().Unmap().WithZone("").String()
	}
	return &tls.Config{
		ServerName:         name,
		RootCAs:            u.roots,
		MinVersion:         tls.VersionTLS12,
		NextProtos:         []string{"dot"},
		ClientSessionCache: tls.NewLRUClientSessionCache(2),
		Time:               u.now,
	}
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

// describeProblem says what is wrong with a server that there is no TLS with, and
// what to do; empty for everything else.
func describeProblem(err error) string {
	var handshake *handshakeError
	if !errors.As(err, &handshake) {
		return ""
	}
	if !handshake.isCertificate() {
		return fmt.Sprintf("offers no TLS that can be used (%v): check its address and port, which is 853 for DNS over TLS", handshake.err)
	}
	var host x509.HostnameError
	var unknown x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	switch {
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
