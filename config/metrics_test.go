package config

import (
	"strings"
	"testing"
)

func TestWhereMetricsAndDnstapAre(t *testing.T) {
	for _, test := range []struct{ name, text, listen, to string }{
		{"nowhere unless set", "{}", "", ""},
		{"an address without a port", "{metrics: {listen: 127.0.0.1}}", "127.0.0.1:9530", ""},
		{"a socket", "{dnstap: {to: unix:/run/tap.sock}}", "", "unix:/run/tap.sock"},
		{"a socket as a URL", "{dnstap: {to: 'unix:///run/tap.sock'}}", "", "unix:/run/tap.sock"},
		{"a server", "{dnstap: {to: 'tcp://tap.lan:6000'}}", "", "tcp://tap.lan:6000"},
		{"a server by its address", "{dnstap: {to: 'tcp://[2001:db8::1]:6000/'}}", "", "tcp://[2001:db8::1]:6000"},
	} {
		c, err := load(t, test.text)
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		listen := ""
		if len(c.Metrics.Listen) > 0 {
			listen = c.Metrics.Listen[0].String()
		}
		if listen != test.listen || c.Dnstap.To != test.to {
			t.Errorf("%s: got %q and %q", test.name, listen, c.Dnstap.To)
		}
	}
}

func TestWhereMetricsAndDnstapCannotBe(t *testing.T) {
	const expected = "; expected unix:/PATH of a socket, or tcp://HOST:PORT"
	for _, test := range []struct{ name, text, want string }{
		{"a path that depends on a directory", "{dnstap: {to: unix:tap.sock}}", `dnstap.to: found "unix:tap.sock"` + expected},
		{"a directory", "{dnstap: {to: unix:/run/}}", `dnstap.to: found "unix:/run/"` + expected},
		{"no port", "{dnstap: {to: 'tcp://tap.lan'}}", `dnstap.to: found "tcp://tap.lan"` + expected},
		{"UDP", "{dnstap: {to: 'udp://tap.lan:6000'}}", `dnstap.to: found "udp://tap.lan:6000"` + expected},
		{"a user", "{dnstap: {to: 'tcp://me@tap.lan:6000'}}", `dnstap.to: found "tcp://***@tap.lan:6000"` + expected},
		{"a name to listen on", "{metrics: {listen: localhost}}", `metrics.listen[0]: found "localhost"; expected ADDRESS:PORT such as 192.0.2.1:9530`},
		{"the port of the API", "{web: {listen: '127.0.0.1:9530'}, metrics: {listen: '127.0.0.1:9530'}}", `web.listen[0]: found "127.0.0.1:9530", which metrics.listen has; expected another port`},
		{"the port of DNS", "{listen: {dns: '127.0.0.1:53'}, metrics: {listen: '127.0.0.1:53'}}", `metrics.listen[0]: found "127.0.0.1:53" a second time, first as listen.dns[0]`},
	} {
		if _, err := load(t, test.text); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %q", test.name, err, test.want)
		}
	}
}

func FuzzDnstap(f *testing.F) {
	for _, seed := range []string{"unix:/run/tap.sock", "unix:///a", "tcp://a:1", "tcp://[::1]:1", "tcp:///:1", "unix://"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		to, ok := parseDnstap(text)
		if !ok {
			return
		}
		if again, ok := parseDnstap(to); !ok || again != to {
			t.Errorf("%q is read as %q, and that as %q, %v", text, to, again, ok)
		}
		path, isUnix := strings.CutPrefix(to, "unix:")
		if isUnix != strings.HasPrefix(path, "/") {
			t.Errorf("%q is read as %q", text, to)
		}
	})
}
