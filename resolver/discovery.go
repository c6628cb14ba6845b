package resolver

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"

	"telltale/blocklists"
	"telltale/dnswire"
	"telltale/resolver/listen"
)

// Discovery of Designated Resolvers (RFC 9462): a client that knows the address of this
// server asks for the encrypted transports it has. It checks the certificate that it
// gets there against that address, or against the name that is told here.

// wireDesignated is the name that such a client asks for (RFC 9462, 4).
var wireDesignated = []byte("\x04_dns\x08resolver\x04arpa\x00")

// A designation is a way to ask this server, as SVCB has it (RFC 9460, 9461).
type designation struct {
	alpn  []string
	ports []netip.AddrPort // that answer it
	usual uint16           // the port that need not be said
	path  string           // of DNS over HTTPS
}

// designations returns the encrypted ways to ask this server, the one to prefer first.
func (s *Server) designations() []designation {
	web := []string{"h2"}
	if listen.SpeaksQUIC {
		web = append(web, "h3")
	}
	all := []designation{
		{alpn: web, ports: s.HTTPSAddrs(), usual: 443, path: "/dns-query{?dns}"},
		{alpn: []string{"doq"}, ports: s.QUICAddrs(), usual: 853},
		{alpn: []string{"dot"}, ports: s.TLSAddrs(), usual: 853},
	}
	return slices.DeleteFunc(all, func(d designation) bool { return len(d.ports) == 0 })
}

// isDiscovery reports whether a question is for the encrypted ways to ask a server.
func isDiscovery(name *dnswire.Name, qtype uint16) bool {
	return qtype == dnswire.TypeSVCB && bytes.Equal(name.Wire(), wireDesignated)
}

// designate appends the reply that says by which encrypted transports this server can be
// asked: at the address where q came to, as far as that is known. It returns false where
// there is none, or no name that a certificate is for.
func (s *Server) designate(dst []byte, q *query) (reply []byte, ok bool) {
	name, all := s.certifiedName(), s.designations()
	if name == nil || len(all) == 0 {
		return dst, false
	}
	q.ttl = s.decideSpecial(q, blocklists.SpecialResolverArpa)
	r := dnswire.Begin(dst, &q.Question, dnswire.Success)
	var room [512]byte
	for i, d := range all {
		r.Answer(dnswire.TypeSVCB, q.ttl, d.append(room[:0], uint16(i+1), name, s.addressOf(q, d.ports)))
	}
	return r.End(s.cookies.answer(q), dnswire.EDE{}), true
}

// certifiedName returns the first name of this server that one of its certificates is
// for, in wire form; nil for none.
func (s *Server) certifiedName() []byte {
	for _, text := range s.names {
		var n dnswire.Name
		if _, err := netip.ParseAddr(text); err == nil || strings.HasPrefix(text, "*.") || s.certificates == nil || !s.certificates.IsFor(text) {
			continue
		}
		if n.Set(text) == nil {
			return bytes.Clone(n.Wire())
		}
	}
	return nil
}

// addressOf returns the address at which a client that sent q may ask one of ports; the
// zero Addr where that is not known.
func (s *Server) addressOf(q *query, ports []netip.AddrPort) netip.Addr {
	if local := q.path.Local; local.IsValid() && q.arrival == nil {
		return local.WithZone("")
	}
	for _, at := range ports {
		if a := at.Addr(); !a.IsUnspecified() && a.Is4() == q.path.Client.Addr().Is4() {
			return a
		}
	}
	return netip.Addr{}
}

// Keys of SVCB (RFC 9460, 14.3.2; RFC 9461, 5).
const (
	svcbALPN    = 1
	svcbPort    = 3
	svcbHint4   = 4
	svcbHint6   = 6
	svcbDoHPath = 7
)

// append appends d as the data of a record.
func (d *designation) append(dst []byte, priority uint16, target []byte, addr netip.Addr) []byte {
	dst = append(binary.BigEndian.AppendUint16(dst, priority), target...)
	var ids []byte
	for _, id := range d.alpn {
		ids = append(append(ids, byte(len(id))), id...)
	}
	dst = appendParameter(dst, svcbALPN, ids)
	if port := d.ports[0].Port(); port != d.usual {
		dst = appendParameter(dst, svcbPort, binary.BigEndian.AppendUint16(nil, port))
	}
	if addr.Is4() {
		dst = appendParameter(dst, svcbHint4, addr.AsSlice())
	}
	if addr.Is6() {
		dst = appendParameter(dst, svcbHint6, addr.AsSlice())
	}
	if d.path != "" {
		dst = appendParameter(dst, svcbDoHPath, []byte(d.path))
	}
	return dst
}

func appendParameter(dst []byte, key uint16, value []byte) []byte {
	dst = binary.BigEndian.AppendUint16(dst, key)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(value)))
	return append(dst, value...)
}
