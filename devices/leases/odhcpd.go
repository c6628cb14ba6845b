package leases

import (
	"net/netip"
	"strings"
)

// odhcpd reads the state file of OpenWrt's odhcpd: a hosts file, in whose comments the
// leases are. Such a comment has the interface, the DUID or MAC, the IAID or "ipv4", the
// host name, the time of expiry (-1 for never, 0 for expired), what was assigned, its
// length, and the addresses.
type odhcpd struct{}

func (odhcpd) looksLike(line string) bool {
	f := strings.Fields(line)
	return len(f) >= 8 && f[0] == "#" && octets(f[2]) != nil && (f[3] == "ipv4" || isHex(f[3]))
}

func isHex(text string) bool {
	return text != "" && len(text) <= 8 && strings.Trim(text, "0123456789abcdef") == ""
}

func (odhcpd) read(text string, r *reading) {
	r.each(text, func(number int, line string) {
		if line[0] != '#' {
			return // the hosts file's lines say nothing that its comments do not
		}
		f := strings.Fields(line)
		if len(f) < 8 || octets(f[2]) == nil {
			r.bad(number)
			return
		}
		l := Lease{Host: r.host(strings.TrimPrefix(f[4], `broken\x20`))}
		valid := f[5] == "-1"
		if until, ok := seconds(f[5]); ok && f[5] != "0" {
			l.Until, valid = until, true
		}
		id := octets(f[2])
		if f[3] == "ipv4" {
			l.MAC = parseMAC(colons(f[2]))
		} else {
			l.duid = string(id)
		}
		r.understood = true
		if !valid {
			return
		}
		for _, text := range f[8:] {
			p, err := netip.ParsePrefix(text)
			switch {
			case err != nil:
				r.bad(number)
			case p.IsSingleIP():
				l.Addr = p.Addr()
				r.set(l)
			}
		}
	})
}

// colons puts colons between the octets of hexadecimal digits.
func colons(digits string) string {
	var b strings.Builder
	for i := 0; i+2 <= len(digits); i += 2 {
		if i > 0 {
			b.WriteByte(':')
		}
		b.WriteString(digits[i : i+2])
	}
	return b.String()
}
