package main

import (
	"errors"
	"io/fs"
	"net/netip"
	"path/filepath"
	"strings"
	"time"

	"telltale/config"
	"telltale/resolver/listen/certs"
	"telltale/web"
)

// authorityFile has the root of the local authority and its key, in data.dir.
const authorityFile = "authority.pem"

// certificateOptions are the certificates of encrypted transports.
func certificateOptions(cfg *config.Config) certs.Options {
	var o certs.Options
	for _, c := range cfg.TLS.Certificates {
		o.Files = append(o.Files, certs.Files{Certificate: c.Certificate, Key: c.Key})
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
	for _, f := range o.Files {
		st, err := f.Check()
		if err != nil {
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
	a.certificates, err = certs.Open(o)
	return err
}

func (a *app) certificateStatus() []web.Certificate {
	all := []web.Certificate{}
	if a.certificates == nil {
		return all
	}
	for _, st := range a.certificates.Status() {
		all = append(all, certificateOf(&st))
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
			d.say("wrong", "tls", "%v", err)
		}
	}
	now := time.Now()
	for i := range running {
		c := &running[i]
		of := "the certificate " + c.File + " for " + strings.Join(c.Names, ", ")
		if c.Authority {
			of = "the local authority " + c.File
		}
		st := certs.Status{NotBefore: c.NotBefore, NotAfter: c.NotAfter, Authority: c.Authority}
		switch trouble := st.Trouble(now); {
		case c.Refused != "":
			d.say("wrong", "tls", "what %s holds now is not in use, the certificate from before is, until %s: %s", c.File, when(c.NotAfter), c.Refused)
		case trouble != "" && now.After(c.NotBefore) && now.Before(c.NotAfter):
			d.say("warning", "tls", "%s %s: on %s", of, trouble, when(c.NotAfter))
		case trouble != "":
			d.say("wrong", "tls", "%s %s (it is valid from %s until %s): clients that check it get no answers by TLS", of, trouble, when(c.NotBefore), when(c.NotAfter))
		default:
			d.say("ok", "tls", "%s is valid until %s", of, when(c.NotAfter))
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
