package listen

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"io"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"telltale/dnswire"
	"telltale/resolver/packets"
)

// Whatever a path says, a client id is a label in lower case, and nothing but the path of
// DNS over HTTPS has one.
func FuzzIDOfPath(f *testing.F) {
	for _, path := range []string{"/dns-query", "/dns-query/", "/dns-query/Phone", "/dns-query/../etc", "/dns-query/a/b", "/", "", "/dns-query//", "/dns-query/é"} {
		f.Add(path)
	}
	f.Fuzz(func(t *testing.T, path string) {
		id, ok := idOfPath(path)
		if !ok {
			if id != "" {
				t.Errorf("%q: an id %q without a path", path, id)
			}
			return
		}
		if rest := strings.TrimPrefix(path, "/dns-query"); rest == path || strings.ToLower(strings.TrimPrefix(rest, "/")) != id {
			t.Errorf("%q: id %q", path, id)
		}
		if id != "" && (len(id) > MaxClientID || strings.ContainsAny(id, "/.%\\ ABC") || id[0] == '-' || id[len(id)-1] == '-') {
			t.Errorf("%q: id %q is no label", path, id)
		}
	})
}

// What is read from X-Forwarded-For is an address that no trusted proxy has, as far as
// there is one, and never one to the left of such.
func FuzzClientBehindAProxy(f *testing.F) {
	for _, text := range []string{"192.168.1.7", "192.168.1.7, 10.0.0.1", "x, 192.168.1.7", "[fd00::1]:443,10.0.0.2", "", ",", "10.0.0.1", "::ffff:1.2.3.4", "1.2.3.4%eth0"} {
		f.Add(text)
	}
	w := &web{l: &Listeners{options: Options{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}}}
	c := &requester{place: place{isProxy: true}}
	f.Fuzz(func(t *testing.T, text string) {
		client, ok := w.clientOf(netip.MustParseAddrPort("10.0.0.9:5000"), text, c)
		if !ok {
			return
		}
		a := client.Addr()
		if !a.IsValid() || a.Zone() != "" || a.Is4In6() {
			t.Fatalf("%q: %v", text, a)
		}
		hops := strings.Split(text, ",")
		for i := len(hops) - 1; i >= 0; i-- { // the slow twin: from the right, the first that is no proxy's
			hop, ok := forwardedAddr(strings.TrimSpace(hops[i]))
			if !ok {
				t.Fatalf("%q: %v, though something behind it is no address", text, a)
			}
			if !w.l.isTrustedProxy(hop) || i == 0 {
				if hop != a {
					t.Fatalf("%q: %v, want %v", text, a, hop)
				}
				return
			}
		}
	})
}

// A GET holds exactly the octets of which its text is the base64url.
func FuzzQueryOfURL(f *testing.F) {
	for _, query := range []string{"dns=AAABAAABAAAAAAAAA3d3dwdleGFtcGxlA2NvbQAAAQAB", "dns=AA==", "dns=", "", "dns=AA&dns=AA", "dns=%41%41", "dns=A\nA", "x=1"} {
		f.Add(query)
	}
	f.Fuzz(func(t *testing.T, query string) {
		packet, why := queryOfURL(query, nil)
		values, err := url.ParseQuery(query)
		if text, ok := dnsOf(query); ok != (err == nil && len(values["dns"]) == 1) || ok && text != values.Get("dns") {
			t.Errorf("%q: dns is %q, %v; url.ParseQuery says %q, %v", query, text, ok, values["dns"], err)
		}
		if why != nil {
			if len(packet) != 0 {
				t.Errorf("%q: %x though %s", query, packet, why.text)
			}
			return
		}
		if err != nil || len(packet) > packets.MaxSize || base64.RawURLEncoding.EncodeToString(packet) != values.Get("dns") {
			t.Errorf("%q: %x, %v", query, packet, err)
		}
	})
}

// A stream of DNS over QUIC is one query, whole and nothing else.
func FuzzReadQuery(f *testing.F) {
	good := append(binary.BigEndian.AppendUint16(nil, 12), make([]byte, 12)...)
	for _, stream := range [][]byte{good, good[:5], append(bytes.Clone(good), 0), {0, 0}, nil, {0xff, 0xff, 1}} {
		f.Add(stream)
	}
	f.Fuzz(func(t *testing.T, stream []byte) {
		packet, err := readQuery(bytes.NewReader(stream))
		if err != nil {
			if !errors.Is(err, errProtocol) && !errors.Is(err, io.EOF) {
				t.Errorf("%x: %v", stream, err)
			}
			return
		}
		if !bytes.Equal(packet, stream[2:]) || int(binary.BigEndian.Uint16(stream)) != len(packet) || len(packet) < dnswire.HeaderLen || packet[0]|packet[1] != 0 {
			t.Errorf("%x is read as %x", stream, packet)
		}
	})
}
