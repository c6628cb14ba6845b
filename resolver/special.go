package resolver

import (
	"bytes"

	"telltale/blocklists"
	"telltale/dnswire"
)

// Names answered here whatever the lists say, as wire suffixes (RFC 6761 and
// the registry it made).
var (
	wireLocalhost    = []byte("\x09localhost\x00")
	wireInvalid      = []byte("\x07invalid\x00")
	wireOnion        = []byte("\x05onion\x00")
	wireAlt          = []byte("\x03alt\x00")
	wireTest         = []byte("\x04test\x00")
	wireLocal        = []byte("\x05local\x00")
	wireArpa         = []byte("\x04arpa\x00")
	wireHomeArpa     = []byte("\x04home\x04arpa\x00")
	wireResolverArpa = []byte("\x08resolver\x04arpa\x00")
	wireReverse4     = []byte("\x011\x010\x010\x03127\x07in-addr\x04arpa\x00")
	wireHealth       = []byte("\x06health\x08telltale\x07invalid\x00")
	wireFirefox      = []byte("\x13use-application-dns\x03net\x00")
	wireRelay        = []byte("\x04mask\x06icloud\x03com\x00")
	wireRelayH2      = []byte("\x07mask-h2\x06icloud\x03com\x00")
)

// HealthName is the name of ours that needs no upstream: TXT of it is answered
// by any Telltale.
const HealthName = "health.telltale.invalid"

// answerSpecial appends the reply to a name that has a meaning of its own, and
// sets the verdict to say so.
func (s *Server) answerSpecial(dst []byte, q *query) (reply []byte, ok bool) {
	if q.Type == dnswire.TypeHINFO && s.upstreams.isProbe(q.Name.Wire()) {
		return s.negative(dst, q, blocklists.SpecialServer, dnswire.NXDomain), true
	}
	// A local record of the user's own is stronger than what we would make up
	// for a private zone, and weaker than the names below that are never real.
	local := q.verdict.Action == blocklists.Answer
	set := s.settings.Load()
	switch tld := q.Name.Suffix(1); {
	case bytes.Equal(tld, wireLocalhost):
		return s.loopback(dst, q), true
	case bytes.Equal(tld, wireInvalid):
		if bytes.Equal(q.Name.Wire(), wireHealth) && q.Type == dnswire.TypeTXT {
			return s.health(dst, q), true
		}
		return s.negative(dst, q, blocklists.SpecialInvalid, dnswire.NXDomain), true
	case bytes.Equal(tld, wireOnion):
		return s.negative(dst, q, blocklists.SpecialOnion, dnswire.NXDomain), true
	case bytes.Equal(tld, wireAlt):
		return s.negative(dst, q, blocklists.SpecialAlt, dnswire.NXDomain), true
	case local:
		return dst, false
	case bytes.Equal(tld, wireTest) && !set.ForwardTest:
		return s.negative(dst, q, blocklists.SpecialTest, dnswire.NXDomain), true
	case bytes.Equal(tld, wireLocal) && !set.ForwardLocal:
		return s.negative(dst, q, blocklists.SpecialLocal, dnswire.NXDomain), true
	case bytes.Equal(tld, wireArpa):
		return s.arpa(dst, q)
	case isCanary(q.Name.Wire()) && !set.ForwardCanaries:
		return s.negative(dst, q, blocklists.SpecialCanary, dnswire.NXDomain), true
	}
	return dst, false
}

// arpa answers resolver.arpa (RFC 9462, 8.2) and, where there is nobody private
// to ask, home.arpa (RFC 8375) and the reverse zones of private addresses
// (RFC 6303). With somebody to ask it only marks the query.
func (s *Server) arpa(dst []byte, q *query) (reply []byte, ok bool) {
	rule := blocklists.SpecialPrivateReverse
	switch {
	case bytes.Equal(q.Name.Suffix(2), wireResolverArpa):
		return s.negative(dst, q, blocklists.SpecialResolverArpa, dnswire.Success), true
	case bytes.Equal(q.Name.Suffix(2), wireHomeArpa):
		rule = blocklists.SpecialHomeArpa
	case !isPrivateReverse(&q.Name):
		return dst, false
	}
	if q.verdict.Action == blocklists.Block {
		return dst, false
	}
	if q.Type == dnswire.TypePTR && isLocalhostReverse(&q.Name) {
		return s.loopback(dst, q), true
	}
	if s.upstreams.hasPrivate() {
		q.private = true
		return dst, false
	}
	return s.negative(dst, q, rule, dnswire.NXDomain), true
}

func isCanary(wire []byte) bool {
	switch len(wire) {
	case len(wireFirefox):
		return bytes.Equal(wire, wireFirefox)
	case len(wireRelay):
		return bytes.Equal(wire, wireRelay)
	case len(wireRelayH2):
		return bytes.Equal(wire, wireRelayH2)
	}
	return false
}

// isLocalhostReverse reports whether n is the reverse name of 127.0.0.1 or ::1.
func isLocalhostReverse(n *dnswire.Name) bool {
	return bytes.Equal(n.Wire(), wireReverse4) || n.Labels() == 34 && n.Wire()[1] == '1' && isPrivateReverse(n)
}

// loopback answers localhost and all below it (RFC 6761, 6.3), and its reverse.
func (s *Server) loopback(dst []byte, q *query) []byte {
	q.ttl = s.decideSpecial(q, blocklists.SpecialLocalhost)
	cookie := s.cookies.answer(q)
	r := dnswire.Begin(dst, &q.Question, dnswire.Success)
	switch q.Type {
	case dnswire.TypeA:
		r.Answer(dnswire.TypeA, q.ttl, []byte{127, 0, 0, 1})
	case dnswire.TypeAAAA:
		r.Answer(dnswire.TypeAAAA, q.ttl, []byte{15: 1})
	case dnswire.TypePTR:
		if bytes.Equal(q.Name.Suffix(1), wireArpa) {
			r.Answer(dnswire.TypePTR, q.ttl, wireLocalhost)
			break
		}
		fallthrough
	default:
		r.SOA(q.ttl)
	}
	return r.End(cookie, dnswire.EDE{})
}

// health answers the question by which a health check knows this server.
func (s *Server) health(dst []byte, q *query) []byte {
	q.ttl = s.decideSpecial(q, blocklists.SpecialServer)
	r := dnswire.Begin(dst, &q.Question, dnswire.Success)
	r.Answer(dnswire.TypeTXT, 0, s.healthText)
	return r.End(s.cookies.answer(q), dnswire.EDE{})
}

// negative answers NXDOMAIN or NODATA by a built-in rule.
func (s *Server) negative(dst []byte, q *query, rule blocklists.RuleID, rcode uint16) []byte {
	q.ttl = s.decideSpecial(q, rule)
	return dnswire.AppendNegative(dst, &q.Question, rcode, q.ttl, s.cookies.answer(q), dnswire.EDE{})
}

// decideSpecial makes rule the deciding one, and returns the TTL to serve. What
// the lists attribute the name to stays.
func (s *Server) decideSpecial(q *query, rule blocklists.RuleID) uint32 {
	q.verdict.Policy, q.verdict.Rule, q.verdict.Action = q.policy, rule, blocklists.Answer
	return q.policy.TTL()
}

// isPrivateReverse reports whether n lies in a reverse zone that must not be
// asked of the public (RFC 6303, 4; RFC 6761, 6.1; RFC 7793).
func isPrivateReverse(n *dnswire.Name) bool {
	const arpa = 2 // in-addr.arpa, ip6.arpa
	l := n.Labels()
	zone := n.Suffix(arpa)
	switch {
	case l < arpa+1:
		return false
	case bytes.Equal(zone, []byte("\x07in-addr\x04arpa\x00")):
		a, ok := reverseOctet(n, arpa+1)
		if !ok {
			return false
		}
		b, hasB := reverseOctet(n, arpa+2)
		c, hasC := reverseOctet(n, arpa+3)
		switch {
		case a == 0, a == 10, a == 127:
			return true
		case a == 255:
			d, hasD := reverseOctet(n, arpa+4)
			return hasB && b == 255 && hasC && c == 255 && hasD && d == 255
		case a == 172:
			return hasB && b >= 16 && b <= 31
		case a == 192:
			return hasB && (b == 168 || b == 0 && hasC && c == 2)
		case a == 169:
			return hasB && b == 254
		case a == 100:
			return hasB && b >= 64 && b <= 127
		case a == 198:
			return hasB && b == 51 && hasC && c == 100
		case a == 203:
			return hasB && b == 0 && hasC && c == 113
		}
	case bytes.Equal(zone, []byte("\x03ip6\x04arpa\x00")):
		x, ok := reverseNibble(n, arpa+1)
		y, hasY := reverseNibble(n, arpa+2)
		z, hasZ := reverseNibble(n, arpa+3)
		switch {
		case !ok:
			return false
		case x == 0xf:
			// fc00::/7 and fe80::/10
			return hasY && (y == 0xc || y == 0xd || y == 0xe && hasZ && z >= 8 && z <= 0xb)
		case x == 0:
			return l == arpa+32 && isLoopbackReverse(n)
		case x == 2:
			return bytes.HasSuffix(n.Wire(), []byte("\x018\x01b\x01d\x010\x011\x010\x010\x012\x03ip6\x04arpa\x00"))
		}
	}
	return false
}

// isLoopbackReverse reports whether n is the reverse name of :: or ::1.
func isLoopbackReverse(n *dnswire.Name) bool {
	w := n.Wire()
	if w[1] != '0' && w[1] != '1' {
		return false
	}
	for i := range 31 {
		if w[2+2*i] != 1 || w[3+2*i] != '0' {
			return false
		}
	}
	return true
}

// reverseOctet reads the k-th label from the right as a decimal octet.
func reverseOctet(n *dnswire.Name, k int) (v int, ok bool) {
	if n.Labels() < k {
		return 0, false
	}
	label := n.Suffix(k)
	label = label[1 : 1+label[0]]
	if len(label) > 3 {
		return 0, false
	}
	for _, c := range label {
		if c < '0' || c > '9' {
			return 0, false
		}
		v = v*10 + int(c-'0')
	}
	return v, v < 256
}

// reverseNibble reads the k-th label from the right as a hexadecimal digit.
func reverseNibble(n *dnswire.Name, k int) (v int, ok bool) {
	if n.Labels() < k {
		return 0, false
	}
	label := n.Suffix(k)
	if label[0] != 1 {
		return 0, false
	}
	v = bytes.IndexByte([]byte("0123456789abcdef"), label[1])
	return v, v >= 0
}
