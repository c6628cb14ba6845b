package main

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"encoding/xml"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"telltale/config"
	"telltale/resolver/listen/certs"
	"telltale/web"
)

func (cl *cli) newCertificate() *cobra.Command {
	c := cl.addJSON(&cobra.Command{
		Use:   "certificate",
		Short: "Show the certificates of encrypted DNS, and give clients what they need",
		Long: `Show the certificates by which clients of encrypted DNS know this server: for which
names and addresses, by whom, until when.

With tls.authority: local, clients must be given the root of this server's own
authority once: 'telltale certificate root' prints it, 'telltale certificate profile'
makes a profile for iPhones, iPads and Macs, which has the settings, too.`,
		Example: "  telltale certificate\n  telltale certificate root > telltale-root.pem\n  telltale certificate profile > telltale.mobileconfig",
		Args:    noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := cl.load()
			if err != nil {
				return err
			}
			return cl.showCertificates(c.Context(), cfg)
		},
	})
	c.AddCommand(cl.newCertificateRoot(), cl.newCertificateProfile())
	return c
}

func (cl *cli) showCertificates(ctx context.Context, cfg *config.Config) error {
	all, err := certificatesOf(ctx, cfg)
	if err != nil {
		return err
	}
	if cl.json {
		enc := cl.encoder()
		for i := range all {
			if err := enc.Encode(&all[i]); err != nil {
				return err
			}
		}
		return nil
	}
	if len(all) == 0 {
		fmt.Fprintln(cl.out, "There is no certificate: set tls.certificates or tls.authority.")
		return nil
	}
	for i := range all {
		c := &all[i]
		what := "Certificate"
		if c.Authority {
			what = "Local authority"
		}
		fmt.Fprintf(cl.out, "%s %s\n  for    %s\n  by     %s\n  valid  %s to %s\n", what, printable(c.File), printable(strings.Join(c.Names, ", ")), printable(c.Issuer), when(c.NotBefore), when(c.NotAfter))
		if c.Refused != "" {
			fmt.Fprintf(cl.out, "  what the file holds now is not in use: %s\n", printable(c.Refused))
		}
		if !c.Authority {
			continue
		}
		if root, err := readAuthority(cfg); err == nil {
			fmt.Fprintf(cl.out, "  SHA-256 fingerprint of its root\n         %s\n", fingerprint(root))
		}
	}
	return nil
}

// certificatesOf asks the running server, or else reads the files as the next start
// would.
func certificatesOf(ctx context.Context, cfg *config.Config) ([]web.Certificate, error) {
	var st web.Status
	err := newClient(cfg).get(ctx, "/status", &st)
	if err == nil {
		return st.Certificates, nil
	}
	if !errors.Is(err, errStopped) {
		return nil, err
	}
	all, errs := storedCertificates(cfg)
	return all, errors.Join(errs...)
}

// fingerprint is how people compare certificates.
func fingerprint(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	return strings.ReplaceAll(fmt.Sprintf("% X", sum[:]), " ", ":")
}

// readAuthority returns the root of the local authority.
func readAuthority(cfg *config.Config) (*x509.Certificate, error) {
	o := certificateOptions(cfg)
	if o.Local == nil {
		return nil, errors.New("this server has no authority of its own: set tls.authority to local, and restart it")
	}
	root, err := certs.ReadRoot(o.Local.File)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("%w: run this command as root, or as Telltale's user", err)
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%w: it is made when the server starts", err)
	}
	return root, err
}

func (cl *cli) newCertificateRoot() *cobra.Command {
	der := false
	c := &cobra.Command{
		Use:   "root",
		Short: "Print the root of the local authority, for clients to trust",
		Long: `Print the root certificate of this server's own authority in PEM, or in DER, which some
systems want. There is nothing secret in it. Its private key stays where it is.`,
		Example: "  telltale certificate root > telltale-root.pem\n  telltale certificate root --der > telltale-root.cer",
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			cfg, err := cl.load()
			if err != nil {
				return err
			}
			root, err := readAuthority(cfg)
			if err != nil {
				return err
			}
			text := root.Raw
			if !der {
				text = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Raw})
			}
			_, err = cl.out.Write(text)
			return err
		},
	}
	c.Flags().BoolVar(&der, "der", false, "in DER instead of PEM")
	return c
}

func (cl *cli) newCertificateProfile() *cobra.Command {
	var p profile
	var addresses []string
	c := &cobra.Command{
		Use:   "profile",
		Short: "Make a profile for iPhones, iPads and Macs: the settings, and the root to trust",
		Long: `Make a configuration profile (.mobileconfig) that lets an Apple device ask this server
by DNS over TLS, and which holds the root of the local authority, if there is one. It
is in force in networks that name this server as their DNS server, and nowhere else:
elsewhere this server cannot be reached. With --everywhere it always is.`,
		Example: "  telltale certificate profile > telltale.mobileconfig\n  telltale certificate profile --name dns.example --address 192.168.1.2 > telltale.mobileconfig",
		Args:    noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := cl.load()
			if err != nil {
				return err
			}
			if p.addresses, err = profileAddresses(addresses); err != nil {
				return err
			}
			all, err := certificatesOf(c.Context(), cfg)
			if err != nil {
				return err
			}
			if err := p.fill(cfg, all); err != nil {
				return err
			}
			_, err = fmt.Fprint(cl.out, p.text())
			return err
		},
	}
	c.Flags().StringVar(&p.server, "name", "", "the name that the certificate is for; unless set, its first")
	c.Flags().StringSliceVar(&addresses, "address", nil, "addresses of this server; unless set, those of this machine")
	c.Flags().BoolVar(&p.everywhere, "everywhere", false, "ask this server in every network, not only where it is the DNS server")
	return c
}

// profileAddresses reads addresses, or returns those of this machine.
func profileAddresses(texts []string) (addrs []netip.Addr, err error) {
	for _, text := range texts {
		a, err := netip.ParseAddr(text)
		if err != nil {
			return nil, fmt.Errorf("--address: found %q; expected an address such as 192.168.1.2", text)
		}
		addrs = append(addrs, a)
	}
	if len(texts) == 0 {
		addrs = slices.DeleteFunc(certs.MachineAddresses(), netip.Addr.IsLoopback)
	}
	if len(addrs) == 0 {
		return nil, errors.New("this machine has no address that others could use: say it with --address")
	}
	return addrs, nil
}

// A profile is what an Apple device needs to ask this server.
type profile struct {
	server     string
	addresses  []netip.Addr
	everywhere bool
	root       *x509.Certificate // nil where clients trust the certificate already
}

// fill finds the name that a certificate is for, and whether a root goes with it.
func (p *profile) fill(cfg *config.Config, all []web.Certificate) error {
	for i := range all {
		for _, name := range all[i].Names {
			if _, err := netip.ParseAddr(name); err != nil && !strings.HasPrefix(name, "*.") && !all[i].Authority && p.server == "" {
				p.server = name
			}
		}
	}
	if p.server == "" || strings.HasPrefix(p.server, "*") {
		return errors.New("no certificate is for a name that a client could use: say it with --name")
	}
	if cfg.TLS.Authority != config.LocalAuthority {
		return nil
	}
	var err error
	p.root, err = readAuthority(cfg)
	return err
}

// uuid makes an identifier of a part of the profile: the same each time, so that a
// profile that is installed again replaces itself.
func (p *profile) uuid(part string) string {
	sum := sha256.Sum256([]byte(part + "\n" + p.server))
	sum[6], sum[8] = sum[6]&0x0f|0x80, sum[8]&0x3f|0x80 // version 8 (RFC 9562, 5.8)
	return strings.ToUpper(fmt.Sprintf("%x-%x-%x-%x-%x", sum[:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16]))
}

// text writes the profile (Apple: "Device Management", DNSSettings).
func (p *profile) text() string {
	var b strings.Builder
	b.WriteString(xml.Header + `<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0"><dict>
<key>PayloadContent</key><array>
`)
	if p.root != nil {
		b.WriteString("<dict>\n")
		p.payload(&b, "com.apple.security.root", "root", "Root of "+p.server)
		fmt.Fprintf(&b, "<key>PayloadContent</key><data>%s</data>\n</dict>\n", base64.StdEncoding.EncodeToString(p.root.Raw))
	}
	b.WriteString("<dict>\n")
	p.payload(&b, "com.apple.dnsSettings.managed", "dns", "DNS over TLS by "+p.server)
	fmt.Fprintf(&b, "<key>DNSSettings</key><dict>\n<key>DNSProtocol</key><string>TLS</string>\n<key>ServerName</key>%s\n<key>ServerAddresses</key>", plistString(p.server))
	p.writeAddresses(&b)
	b.WriteString("</dict>\n")
	if !p.everywhere {
		b.WriteString("<key>OnDemandRules</key><array>\n<dict><key>Action</key><string>Connect</string><key>DNSServerAddressMatch</key>")
		p.writeAddresses(&b)
		b.WriteString("</dict>\n<dict><key>Action</key><string>Disconnect</string></dict>\n</array>\n")
	}
	b.WriteString("</dict>\n</array>\n")
	p.payload(&b, "Configuration", "profile", "Telltale: "+p.server)
	b.WriteString("</dict></plist>\n")
	return b.String()
}

// payload writes the keys that each part has.
func (p *profile) payload(b *strings.Builder, typ, part, name string) {
	fmt.Fprintf(b, "<key>PayloadType</key>%s\n<key>PayloadVersion</key><integer>1</integer>\n<key>PayloadIdentifier</key>%s\n<key>PayloadUUID</key>%s\n<key>PayloadDisplayName</key>%s\n",
		plistString(typ), plistString("telltale."+p.server+"."+part), plistString(p.uuid(part)), plistString(name))
}

func (p *profile) writeAddresses(b *strings.Builder) {
	b.WriteString("<array>")
	for _, a := range p.addresses {
		b.WriteString(plistString(a.String()))
	}
	b.WriteString("</array>\n")
}

func plistString(text string) string {
	var b strings.Builder
	xml.EscapeText(&b, []byte(text))
	return "<string>" + b.String() + "</string>"
}
