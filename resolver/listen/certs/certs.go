// Package certs has the certificates by which clients know this server: read from
// files, and read again when the files change, or made by an authority of its own; and
// chosen for each client.
package certs

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"telltale/watch"
)

// Options are what a Source needs.
type Options struct {
	// Files are the certificates, the one for clients that name no server first.
	Files []Files
	// Local is an authority of this server's own; nil for none. Its certificate goes
	// behind those of files.
	Local *LocalAuthority
	// Poll is the time between two looks at the files where no event tells of a
	// change; zero for that of package watch.
	Poll   time.Duration
	Logger *slog.Logger
	Now    func() time.Time
}

// A Source has the certificates in force. Any goroutine may use it.
type Source struct {
	options Options
	inForce atomic.Pointer[[]*tls.Certificate] // none is nil; their order is that of options.Files, then that of options.Local

	stop    context.CancelFunc
	running sync.WaitGroup

	mu    sync.Mutex
	pairs []pair     // one for each of options.Files
	local *authority // nil for none
}

// A pair is what is known of one certificate and its files.
type pair struct {
	files   Files
	read    contents // in force
	err     error    // why what the files hold now is not in force
	refused contents // what err is about
	warned  time.Time
	parsed  *tls.Certificate
}

// Open reads all certificates, and follows their files until Close. It fails where
// one cannot be used.
func Open(o Options) (*Source, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &Source{options: o}
	var errs []error
	for _, f := range o.Files {
		p := pair{files: f}
		var err error
		if p.read, p.parsed, err = f.load(); errors.Is(err, ErrLater) {
			p.err, err = err, nil
		}
		errs = append(errs, err)
		s.pairs = append(s.pairs, p)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if o.Local != nil {
		var err error
		if s.local, err = openAuthority(*o.Local, o.Now()); err != nil {
			return nil, err
		}
		s.local.look(o.Now(), o.Logger)
	}
	s.swapLocked()
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	if len(o.Files) > 0 || o.Local != nil {
		s.running.Go(func() { watch.Run(ctx, watch.Options{Poll: o.Poll}, s.paths, s.look) })
	}
	return s, nil
}

// Close ends the following of files. What is in force stays so.
func (s *Source) Close() {
	s.stop()
	s.running.Wait()
}

// Config returns the settings of a TLS server that speaks the given protocols of
// ALPN, the one it likes best first. A client that names none of them but others is
// refused; one that names nothing is served. Each has keys of its own for sessions
// that are resumed.
func (s *Source) Config(protocols ...string) *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: protocols, GetCertificate: s.choose}
}

var errNone = errors.New("no certificate")

// choose returns the first certificate that is good for the server that a client
// names, and that the client can check. A client that names none knows an address:
// for it a certificate with the address goes before others.
func (s *Source) choose(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	all := *s.inForce.Load()
	if len(all) == 0 {
		return nil, errNone
	}
	if hello.ServerName == "" && hello.Conn != nil {
		if at, ok := hello.Conn.LocalAddr().(interface{ AddrPort() netip.AddrPort }); ok {
			ip := net.IP(at.AddrPort().Addr().Unmap().AsSlice())
			for _, c := range all {
				if slices.ContainsFunc(c.Leaf.IPAddresses, ip.Equal) && hello.SupportsCertificate(c) == nil {
					return c, nil
				}
			}
		}
	}
	for _, c := range all {
		if hello.SupportsCertificate(c) == nil {
			return c, nil
		}
	}
	return all[0], nil // the client says what it thinks of it
}

// IsFor reports whether a certificate in force is for a name or address.
func (s *Source) IsFor(host string) bool {
	return slices.ContainsFunc(*s.inForce.Load(), func(c *tls.Certificate) bool { return c.Leaf.VerifyHostname(host) == nil })
}

// A Status says how one certificate does.
type Status struct {
	Files     Files
	Names     []string // of servers, and addresses
	Issuer    string
	NotBefore time.Time
	NotAfter  time.Time
	Authority bool  // it is the local authority itself, which clients are given
	Err       error // why what its files hold now is not in force; nil where it is
}

// Status returns how each certificate does.
func (s *Source) Status() []Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]Status, 0, len(s.pairs))
	for i := range s.pairs {
		p := &s.pairs[i]
		var st Status
		if p.parsed != nil {
			st = statusOf(p.parsed.Leaf)
		}
		st.Files, st.Err = p.files, p.err
		all = append(all, st)
	}
	if s.local != nil && s.local.leaf != nil {
		st := statusOf(s.local.leaf.Leaf)
		st.Files.Certificate = s.local.options.File
		all = append(all, st, s.local.rootStatus())
	}
	return all
}

func statusOf(leaf *x509.Certificate) Status {
	st := Status{Names: slices.Clone(leaf.DNSNames), NotBefore: leaf.NotBefore, NotAfter: leaf.NotAfter}
	for _, ip := range leaf.IPAddresses {
		st.Names = append(st.Names, ip.String())
	}
	st.Issuer = cmp.Or(leaf.Issuer.CommonName, leaf.Issuer.String())
	return st
}

// paths returns what is followed.
func (s *Source) paths() []string {
	var all []string
	for _, f := range s.options.Files {
		all = append(all, f.Certificate, f.Key)
	}
	return all
}

// look puts in force what has changed.
func (s *Source) look() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.pairs {
		s.pairs[i].look(s.options.Logger)
		if s.pairs[i].parsed != nil {
			s.pairs[i].warn(s.options.Now(), s.options.Logger)
		}
	}
	if s.local != nil {
		s.local.look(s.options.Now(), s.options.Logger)
		s.local.warn(s.options.Now(), s.options.Logger)
	}
	s.swapLocked()
}

func (s *Source) swapLocked() {
	all := make([]*tls.Certificate, 0, len(s.pairs))
	for i := range s.pairs {
		if s.pairs[i].parsed != nil {
			all = append(all, s.pairs[i].parsed)
		}
	}
	if s.local != nil && s.local.leaf != nil {
		all = append(all, s.local.leaf)
	}
	s.inForce.Store(&all)
}

// look reads the files again. What cannot be used is said once, and what was in
// force stays.
func (p *pair) look(logger *slog.Logger) {
	read, parsed, err := p.files.load()
	switch {
	case p.parsed == nil && errors.Is(err, ErrLater):
	case p.parsed == nil && err != nil:
		if p.err.Error() != err.Error() {
			logger.Error("a certificate is not used", "error", err)
		}
		p.err = err
	case err != nil:
		if p.err == nil || p.refused != read || p.err.Error() != err.Error() {
			logger.Error("a changed certificate is not used: the one in use stays", "error", err, "valid_until", p.parsed.Leaf.NotAfter)
		}
		p.err, p.refused = err, read
	case read == p.read:
		if p.err != nil {
			logger.Info("a certificate's files hold again what is in use", "file", p.files.Certificate)
		}
		p.err = nil
	default:
		p.read, p.parsed, p.err, p.warned = read, parsed, nil, time.Time{}
		logger.Info("a changed certificate is in use", "file", p.files.Certificate, "valid_until", parsed.Leaf.NotAfter)
	}
}

// warnEvery is the time between two warnings of the same certificate.
const warnEvery = 24 * time.Hour

// warn says once a day that a certificate is about to end, or has ended.
func (p *pair) warn(now time.Time, logger *slog.Logger) {
	st := statusOf(p.parsed.Leaf)
	text := st.Trouble(now)
	if text == "" || !p.warned.IsZero() && now.Sub(p.warned).Abs() < warnEvery {
		return
	}
	p.warned = now
	logger.Warn("a certificate "+text+": clients that check it get no answers by TLS", "file", p.files.Certificate, "valid_until", p.parsed.Leaf.NotAfter)
}

// Trouble says what a person should know of a certificate's time; "" for nothing. It
// is about to end when a fifth of its time is left, or two weeks where that is less; a
// year, where each client must be given another.
func (st *Status) Trouble(now time.Time) string {
	most := 14 * 24 * time.Hour
	if st.Authority {
		most = 365 * 24 * time.Hour
	}
	switch soon := min(most, st.NotAfter.Sub(st.NotBefore)/5); {
	case now.After(st.NotAfter):
		return "has ended"
	case now.Before(st.NotBefore):
		return "is not valid yet"
	case st.NotAfter.Sub(now) < soon:
		return "is about to end"
	}
	return ""
}
