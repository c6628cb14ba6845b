package main

import (
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
	} {
		c.c.File, c.c.Names = "c.pem", []string{"dns.example", "192.0.2.1"}
		d := &doctor{}
		d.certificates(&config.Config{}, []web.Certificate{c.c})
		if len(d.findings) != 1 || d.findings[0].State != c.state || !strings.Contains(d.findings[0].Says, c.says) {
			t.Errorf("%+v: got %+v, want %s, %q", c.c, d.findings, c.state, c.says)
		}
	}
}
