package main

import (
	"crypto/x509"
	"encoding/xml"
	"io"
	"net/netip"
	"strings"
	"testing"
	"time"

	"telltale/config"
	"telltale/web"
)

func TestDoctorSaysHowCertificatesDo(t *testing.T) {
	now := time.Now()
	day := func(n int) time.Time { return now.AddDate(0, 0, n) }
	for _, c := range []struct {
		c           web.Certificate
		state, says string
	}{
		{web.Certificate{NotBefore: day(-10), NotAfter: day(80)}, "ok", "the certificate c.pem for dns.example, 192.0.2.1 is valid until"},
		{web.Certificate{NotBefore: day(-80), NotAfter: day(10)}, "warning", "is about to end: on"},
		{web.Certificate{NotBefore: day(-1), NotAfter: day(5)}, "ok", "is valid until"}, // a short one
		{web.Certificate{NotBefore: day(-5), NotAfter: day(1)}, "warning", "is about to end: on"},
		{web.Certificate{NotBefore: day(-90), NotAfter: day(-1)}, "wrong", "has ended (it is valid from"},
		{web.Certificate{NotBefore: day(1), NotAfter: day(90)}, "wrong", "is not valid yet"},
		{web.Certificate{NotBefore: day(-10), NotAfter: day(80), Refused: "no PEM in it"}, "wrong", "what c.pem holds now is not in use"},
		{web.Certificate{NotBefore: day(-10), NotAfter: day(80), NotRenewed: "the authority is silent"}, "warning", "cannot be renewed: the authority is silent"},
		{web.Certificate{Refused: "there is no certificate yet"}, "warning", "c.pem: there is no certificate yet"},
	} {
		c.c.File, c.c.Names = "c.pem", []string{"dns.example", "192.0.2.1"}
		d := &doctor{}
		d.certificates(&config.Config{}, []web.Certificate{c.c})
		if len(d.findings) != 1 || d.findings[0].State != c.state || !strings.Contains(d.findings[0].Says, c.says) {
			t.Errorf("%+v: got %+v, want %s, %q", c.c, d.findings, c.state, c.says)
		}
	}
}

func TestDoctorSaysWhichNameHasNoCertificate(t *testing.T) {
	now := time.Now()
	valid := func(names ...string) web.Certificate {
		return web.Certificate{File: "c.pem", Names: names, NotBefore: now.AddDate(0, 0, -1), NotAfter: now.AddDate(0, 0, 89)}
	}
	local, later := valid("telltale.home.arpa"), web.Certificate{File: "acme.pem"}
	local.Authority = true
	for _, c := range []struct {
		what  string
		names []string
		all   []web.Certificate
		want  string
	}{
		{"each has one", []string{"dns.example", "*.dns.example", "192.0.2.1"}, []web.Certificate{valid("DNS.example", "192.0.2.1"), valid("*.dns.example")}, ""},
		{"a star stands for a label", []string{"dns.example", "a.b.example", "example"}, []web.Certificate{valid("*.example")}, "a.b.example example"},
		{"a star is asked for", []string{"*.dns.example"}, []web.Certificate{valid("dns.example", "*.example")}, "*.dns.example"},
		{"an address", []string{"192.0.2.2"}, []web.Certificate{valid("192.0.2.1", "*.0.2.2")}, "192.0.2.2"},
		{"the settings have no names", []string{config.ServerName}, []web.Certificate{valid("dns.example")}, ""},
		{"the local authority", []string{"dns.example"}, []web.Certificate{local}, ""},
		{"one is yet to come", []string{"dns.example"}, []web.Certificate{valid("a.example"), later}, ""},
		{"nothing is encrypted", []string{"dns.example"}, []web.Certificate{}, ""},
	} {
		d := &doctor{}
		d.certificates(&config.Config{TLS: config.TLS{Names: c.names}}, c.all)
		var got []string
		for _, f := range d.findings {
			if f.Code == "tls-names" {
				got = append(got, f.Subject)
			}
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: got %q, want %q", c.what, got, c.want)
		}
	}
}

// A profile is a property list as Apple's systems read it.
func TestAProfileIsAPropertyList(t *testing.T) {
	p := profile{server: "<dns&example>", addresses: []netip.Addr{netip.MustParseAddr("192.168.1.2"), netip.MustParseAddr("fd00::2")}}
	plain := p.text()
	p.everywhere, p.root = true, &x509.Certificate{Raw: []byte("root")}
	for _, text := range []string{plain, p.text()} {
		d := xml.NewDecoder(strings.NewReader(text))
		key := ""
		values := map[string]string{}
		for {
			token, err := d.Token()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatalf("%v in\n%s", err, text)
			}
			if c, ok := token.(xml.CharData); ok && strings.TrimSpace(string(c)) != "" {
				if name := strings.TrimSpace(string(c)); key == "" {
					key = name
				} else {
					values[key] += name + " "
				}
			}
			if e, ok := token.(xml.StartElement); ok && e.Name.Local == "key" {
				key = ""
			}
		}
		if values["ServerName"] != "<dns&example> " || values["ServerAddresses"] != "192.168.1.2 fd00::2 " || !strings.HasSuffix(values["PayloadType"], "Configuration ") {
			t.Errorf("%v", values)
		}
		if text == plain != (values["DNSServerAddressMatch"] == "192.168.1.2 fd00::2 ") || text == plain != (values["Action"] == "Connect Disconnect ") {
			t.Errorf("rules %q for %q", values["Action"], values["DNSServerAddressMatch"])
		}
		if text != plain && values["PayloadContent"] != "cm9vdA== " {
			t.Errorf("root %q", values["PayloadContent"])
		}
	}
	if first, again := p.uuid("dns"), p.uuid("dns"); first == p.uuid("root") || first != again || len(first) != 36 {
		t.Errorf("%s, %s", p.uuid("dns"), p.uuid("root"))
	}
}
