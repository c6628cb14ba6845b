package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"telltale/config"
	"telltale/resolver/listen/certs"
	"telltale/resolver/listen/certs/acme"
	"telltale/web"
)

// authorityFile has the root of the local authority and its key, in data.dir.
const authorityFile = "authority.pem"

// acmeDir has the account and the certificate that an authority gave.
func acmeDir(cfg *config.Config) string { return filepath.Join(cfg.Data.Dir, "acme") }

func agent() string { return "telltale/" + buildVersion() }

// acmeSolver is how names are proven. transport reaches servers that take records by HTTP.
func acmeSolver(cfg *config.Config, transport http.RoundTripper) (acme.Solver, error) {
	if file := cfg.TLS.ACME.AcmeDNS; file != "" {
		accounts, err := acme.ReadAcmeDNS(file)
		s := acme.AcmeDNS{Accounts: accounts, Transport: transport, Agent: agent()}
		if name := s.Lacks(cfg.TLS.ACME.Names); err == nil && name != "" {
			err = fmt.Errorf("%s has no account for %s: register one, and let _acme-challenge of the name be an alias of its fulldomain", file, name)
		}
		return s, err
	}
	if hook := cfg.TLS.ACME.Hook; hook != "" {
		_, err := exec.LookPath(hook)
		return acme.Hook{Program: hook}, err
	}
	key, err := acme.ReadTSIGKey(cfg.TLS.ACME.UpdateKey)
	return acme.Update{Servers: cfg.TLS.ACME.UpdateServers, Key: key}, err
}

// openACME prepares to get a certificate, where the settings say so.
func (a *app) openACME(cfg *config.Config) error {
	s := &cfg.TLS.ACME
	if small || s.Directory == "" {
		return nil
	}
	transport := &http.Transport{DialContext: a.dial, DisableKeepAlives: true}
	solver, err := acmeSolver(cfg, transport)
	if err != nil {
		return fmt.Errorf("tls.acme: %w", err)
	}
	a.acme = acme.New(acme.Options{
		Directory: s.Directory, Names: s.Names, Email: s.Email, Dir: acmeDir(cfg), Solver: solver, Wait: s.Wait,
		Transport: transport, Agent: agent(), Logger: a.logger,
	})
	return nil
}

// dial connects to a host whose name our own upstreams resolve: this may be the only
// DNS that this machine has.
func (a *app) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return new(net.Dialer).DialContext(ctx, network, address)
	}
	addrs, err := a.server.Lookup(ctx, host)
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, addr := range addrs {
		conn, err := (&net.Dialer{Timeout: 10 * time.Second}).DialContext(ctx, network, net.JoinHostPort(addr.String(), port))
		if err == nil {
			return conn, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// certificateOptions are the certificates of encrypted transports.
func certificateOptions(cfg *config.Config) certs.Options {
	var o certs.Options
	for _, c := range cfg.TLS.Certificates {
		o.Files = append(o.Files, certs.Files{Certificate: c.Certificate, Key: c.Key})
	}
	if cfg.TLS.ACME.Directory != "" {
		file := acme.CertificateFile(acmeDir(cfg))
		o.Files = append(o.Files, certs.Files{Certificate: file, Key: file, Later: true})
	}
	if cfg.TLS.Authority == config.LocalAuthority {
		o.Local = &certs.LocalAuthority{File: filepath.Join(cfg.Data.Dir, authorityFile), Names: cfg.TLS.Names, Addresses: certs.MachineAddresses}
	}
	return o
}

// certificateMistakes returns why a start would refuse certificates.
func certificateMistakes(cfg *config.Config) error {
	_, errs := storedCertificates(cfg)
	return errors.Join(errs...)
}

// storedCertificates returns the certificates that the next start will read, and what
// it would refuse.
func storedCertificates(cfg *config.Config) (all []web.Certificate, errs []error) {
	o := certificateOptions(cfg)
	if !small && cfg.TLS.ACME.Directory != "" {
		if _, err := acmeSolver(cfg, nil); err != nil {
			errs = append(errs, fmt.Errorf("tls.acme: %w", err))
		}
	}
	for _, f := range o.Files {
		st, err := f.Check()
		if err != nil && !errors.Is(err, certs.ErrLater) {
			errs = append(errs, err)
			continue
		}
		all = append(all, certificateOf(&st))
	}
	if o.Local == nil {
		return all, errs
	}
	st, err := o.Local.Check()
	switch {
	case err == nil:
		all = append(all, certificateOf(&st))
	case !errors.Is(err, fs.ErrNotExist): // it will be made
		errs = append(errs, err)
	}
	return all, errs
}

// openCertificates reads the certificates, where there are any.
func (a *app) openCertificates(cfg *config.Config) (err error) {
	o := certificateOptions(cfg)
	if len(o.Files) == 0 && o.Local == nil {
		return nil
	}
	o.Logger = a.logger
	if a.certificates, err = certs.Open(o); err != nil {
		return err
	}
	for _, name := range namesWithout(cfg, a.certificateStatus()) {
		a.logger.Warn("no certificate is for a name of tls.names: clients that use it get no answers", "name", name)
	}
	return nil
}

// namesWithout returns those of tls.names, where the settings have any, that no certificate is
// for; none while a certificate is yet to come.
func namesWithout(cfg *config.Config, all []web.Certificate) (names []string) {
	if len(cfg.TLS.Names) == 1 && cfg.TLS.Names[0] == config.ServerName {
		return nil
	}
	for i := range all {
		if c := &all[i]; c.Authority || c.NotAfter.IsZero() { // the local authority's is for all of them
			return nil
		}
	}
	for _, name := range cfg.TLS.Names {
		if !slices.ContainsFunc(all, func(c web.Certificate) bool {
			return slices.ContainsFunc(c.Names, func(of string) bool { return isOfCertificate(name, of) })
		}) {
			names = append(names, name)
		}
	}
	return names
}

// isOfCertificate reports whether one name of a certificate is good for a name or address, as
// clients compare them: a star stands for one label (RFC 6125, 6.4.3).
func isOfCertificate(name, of string) bool {
	_, parent, _ := strings.Cut(name, ".")
	above, isStar := strings.CutPrefix(of, "*.")
	_, err := netip.ParseAddr(name)
	return strings.EqualFold(name, of) || isStar && err != nil && strings.EqualFold(parent, above)
}

func (a *app) certificateStatus() []web.Certificate {
	all := []web.Certificate{}
	if a.certificates == nil {
		return all
	}
	for _, st := range a.certificates.Status() {
		c := certificateOf(&st)
		if !small && st.Files.Later && a.acme != nil && a.acme.Err() != nil {
			c.NotRenewed = a.acme.Err().Error()
		}
		all = append(all, c)
	}
	return all
}

func certificateOf(st *certs.Status) web.Certificate {
	c := web.Certificate{File: st.Files.Certificate, Names: st.Names, Issuer: st.Issuer, NotBefore: st.NotBefore.UTC(), NotAfter: st.NotAfter.UTC(), Authority: st.Authority}
	if st.Err != nil {
		c.Refused = st.Err.Error()
	}
	return c
}

// certificates says how the certificates do: those of the running server, or those
// that the next start will read.
func (d *doctor) certificates(cfg *config.Config, running []web.Certificate) {
	if running == nil {
		var errs []error
		running, errs = storedCertificates(cfg)
		for _, err := range errs {
			d.finds(stateWrong, "tls-unread", "", err.Error(), "set tls.certificates to files that belong together (docs/encrypted.md)")
		}
	}
	if len(running) > 0 {
		for _, name := range namesWithout(cfg, running) {
			d.finds(stateWarning, "tls-names", name, fmt.Sprintf("no certificate is for %s, which tls.names has: clients that use the name get no answers", name),
				"take it out of tls.names, or add a certificate for it to tls.certificates (docs/encrypted.md)")
		}
	}
	now := time.Now()
	for i := range running {
		c := &running[i]
		of := "the certificate " + c.File + " for " + strings.Join(c.Names, ", ")
		if c.Authority {
			of = "the local authority " + c.File
		}
		finds := func(state, code, format string, args ...any) {
			d.finds(state, code, c.File, fmt.Sprintf(format, args...), "give it one that is valid (docs/encrypted.md); a new file is in use within seconds")
		}
		st := certs.Status{NotBefore: c.NotBefore, NotAfter: c.NotAfter, Authority: c.Authority}
		switch trouble := st.Trouble(now); {
		case c.NotAfter.IsZero():
			finds(stateWarning, "tls-none", "%s: %s %s", c.File, c.Refused, c.NotRenewed)
		case c.NotRenewed != "":
			finds(stateWarning, "tls-not-renewed", "%s is valid until %s, and cannot be renewed: %s", of, when(c.NotAfter), c.NotRenewed)
		case c.Refused != "":
			finds(stateWrong, "tls-refused", "what %s holds now is not in use, the certificate from before is, until %s: %s", c.File, when(c.NotAfter), c.Refused)
		case trouble != "" && now.After(c.NotBefore) && now.Before(c.NotAfter):
			finds(stateWarning, "tls-ends", "%s %s: on %s", of, trouble, when(c.NotAfter))
		case trouble != "":
			finds(stateWrong, "tls-invalid", "%s %s (it is valid from %s until %s): clients that check it get no answers by TLS", of, trouble, when(c.NotBefore), when(c.NotAfter))
		default:
			d.says("tls", "%s is valid until %s", of, when(c.NotAfter))
		}
	}
}

// listensOn returns the addresses that are answered on, those of encrypted transports
// as URLs.
func (a *app) listensOn() []string {
	all := []string{}
	for _, addr := range a.server.Addrs() {
		all = append(all, addr.String())
	}
	all = appendURLs(all, "tls", a.server.TLSAddrs())
	all = appendURLs(all, "quic", a.server.QUICAddrs())
	all = appendURLs(all, "https", a.server.HTTPSAddrs())
	return appendURLs(all, "http", a.server.HTTPAddrs())
}

func appendURLs(all []string, scheme string, addrs []netip.AddrPort) []string {
	for _, addr := range addrs {
		all = append(all, scheme+"://"+addr.String())
	}
	return all
}
