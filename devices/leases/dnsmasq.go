package leases

import (
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// dnsmasq reads the file of dnsmasq. A line has the time of expiry, the MAC or the IAID,
// the address, the host name and the client id or DUID; a line "duid" with the server's
// own stands before the leases of IPv6. Later versions have lines "vendorclass" and
// "agent-info" at the end.
type dnsmasq struct{}

// leastTime tells a time from a length: dnsmasq that was built for machines without a
// clock (HAVE_BROKEN_RTC) writes how long leases last, and not until when.
const leastTime = 1 << 30 // 2004

func (dnsmasq) looksLike(line string) bool {
	f := strings.Fields(line)
	if len(f) == 2 && f[0] == "duid" {
		return octets(f[1]) != nil
	}
	if len(f) < 4 {
		return false
	}
	_, isTime := seconds(f[0])
	_, err := netip.ParseAddr(f[2])
	return isTime && err == nil
}

func (dnsmasq) read(text string, r *reading) {
	r.each(text, func(number int, line string) {
		f := strings.Fields(line)
		switch {
		case len(f) == 2 && f[0] == "duid":
			r.understood = true
			return
		case len(f) == 3 && (f[0] == "vendorclass" || f[0] == "agent-info"):
			r.dnsmasqExtra(f)
			return
		case len(f) < 5:
			r.bad(number)
			return
		}
		expiry, isTime := seconds(f[0])
		addr, err := netip.ParseAddr(f[2])
		if !isTime || err != nil {
			r.bad(number)
			return
		}
		// A host name never has a space; the client id is the last field.
		l := Lease{Addr: addr, Host: r.host(f[3]), Until: expiry}
		if expiry.Unix() < leastTime {
			l.Until = time.Time{}
		}
		id := octets(f[len(f)-1])
		if addr.Is4() {
			if l.MAC = parseMAC(strings.TrimPrefix(f[1], "01-")); l.MAC == "" && !strings.Contains(f[1], "-") {
				r.bad(number)
				return
			}
			r.client(id, l.MAC)
		} else {
			if _, err := strconv.ParseUint(strings.TrimPrefix(f[1], "T"), 10, 32); err != nil {
				r.bad(number)
				return
			}
			l.duid = string(id)
		}
		r.set(l)
	})
}

// dnsmasqExtra takes what is said of a lease behind all of them.
func (r *reading) dnsmasqExtra(f []string) {
	addr, err := netip.ParseAddr(f[1])
	at, known := r.place[addr]
	if err == nil && known && f[0] == "vendorclass" {
		r.Leases[at].Class = Shown(string(octets(f[2])))
	}
}
