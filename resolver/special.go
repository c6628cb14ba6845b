package resolver

import (
	"bytes"

	"telltale/blocklists"
	"telltale/dnswire"
	"telltale/resolver/upstream"
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

// A Special is what the server makes of a name by itself, whatever lists say.
type Special struct {
	Rule  blocklists.RuleID // the built-in rule that decides; 0 where none does
	Reply SpecialReply
}

// A SpecialReply is how a special name is answered.
type SpecialReply uint8

const (
	NotSpecial  SpecialReply = iota // a name like any other
	NameError                       // NXDOMAIN
	NoData                          // it is there, and has nothing of the type
	Loopback                        // this machine: 127.0.0.1, ::1, and the name localhost for them
	Health                          // what a health check asks for
	PrivateOnly                     // a name like any other, but no public upstream is to hear of it
	Designated                      // by which encrypted transports this server can be asked
	IPv4Only                        // by what clients find the prefix of DNS64
)

// String returns the reply as explain shows it.
func (r SpecialReply) String() string {
	switch r {
	case NotSpecial:
		return ""
	case NameError:
		return "nxdomain"
	case NoData:
		return "nodata"
	case Loopback:
		return "loopback"
	case Health:
		return "health"
	case PrivateOnly:
		return "private"
	case Designated:
		return "designated"
	case IPv4Only:
		return "dns64"
	}
	return "unknown"
}

// SpecialOf says what the server makes of a question by itself. Lists is what
// lists decide of it: a local record of the user's own is stronger than what we
// would make up for a private zone, and weaker than names that are never real.
// Private says whether there is an upstream with a private address to ask, and
// forwarded which zones have servers of their own for the device: the user wants those asked.
func SpecialOf(name *dnswire.Name, qtype uint16, lists blocklists.Action, o *Settings, private bool, forwarded upstream.DeviceZones) Special {
	local := lists == blocklists.Answer
	switch tld := name.Suffix(1); {
	case bytes.Equal(tld, wireLocalhost):
		return Special{blocklists.SpecialLocalhost, Loopback}
	case bytes.Equal(tld, wireInvalid):
		if bytes.Equal(name.Wire(), wireHealth) && qtype == dnswire.TypeTXT {
			return Special{blocklists.SpecialServer, Health}
		}
		return Special{blocklists.SpecialInvalid, NameError}
	case bytes.Equal(tld, wireOnion):
		return Special{blocklists.SpecialOnion, NameError}
	case bytes.Equal(tld, wireAlt):
		return Special{blocklists.SpecialAlt, NameError}
	case local:
		return Special{}
	case bytes.Equal(tld, wireTest) && !o.ForwardTest && forwarded.Find(name) == nil:
		return Special{blocklists.SpecialTest, NameError}
	case bytes.Equal(tld, wireLocal) && !o.ForwardLocal && forwarded.Find(name) == nil:
		return Special{blocklists.SpecialLocal, NameError}
	case bytes.Equal(tld, wireArpa):
		if o.DNS64.IsOn() && isIPv4Only(name) {
			return Special{blocklists.SpecialIPv4Only, IPv4Only}
		}
		return specialOfArpa(name, qtype, lists, o, private, forwarded)
	case isCanary(name.Wire()) && !o.ForwardCanaries:
		return Special{blocklists.SpecialCanary, NameError}
	}
	return Special{}
}

// isOrdinary reports, for nearly every name, that SpecialOf has nothing to say of it,
// whatever else that would look at.
func isOrdinary(name *dnswire.Name) bool {
	switch string(name.Suffix(1)) {
	case "\x09localhost\x00", "\x07invalid\x00", "\x05onion\x00", "\x03alt\x00", "\x04test\x00", "\x05local\x00", "\x04arpa\x00":
		return false
	}
	return !isCanary(name.Wire())
}

// specialOfArpa is SpecialOf for resolver.arpa (RFC 9462, 8.2), home.arpa
// (RFC 8375) and the reverse zones of private addresses (RFC 6303), which do not
// exist where nobody private can be asked and they are not forwarded.
func specialOfArpa(name *dnswire.Name, qtype uint16, lists blocklists.Action, o *Settings, private bool, forwarded upstream.DeviceZones) Special {
	rule := blocklists.SpecialPrivateReverse
	switch {
	case bytes.Equal(name.Suffix(2), wireResolverArpa):
		if o.Designated && isDiscovery(name, qtype) {
			return Special{blocklists.SpecialResolverArpa, Designated}
		}
		return Special{blocklists.SpecialResolverArpa, NoData}
	case bytes.Equal(name.Suffix(2), wireHomeArpa):
		rule = blocklists.SpecialHomeArpa
	case !isPrivateReverse(name):
		return Special{}
	}
	switch {
	case lists == blocklists.Block:
		return Special{}
	case qtype == dnswire.TypePTR && isLocalhostReverse(name):
		return Special{blocklists.SpecialLocalhost, Loopback}
	case forwarded.Find(name) != nil:
		return Special{}
	case private:
		return Special{Reply: PrivateOnly}
	}
	return Special{rule, NameError}
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
