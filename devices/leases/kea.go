package leases

import (
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// kea reads the memfile of Kea, for IPv4 and IPv6: a table whose first line names the
// columns. Kea appends to it, so that of several lines of an address the last one holds. It
// reads what Kea's control socket says, too.
type kea struct{}

func (kea) looksLike(line string) bool {
	return strings.HasPrefix(line, "address,hwaddr,") || strings.HasPrefix(line, "address,duid,")
}

const (
	keaActive   = "0"          // of the column state: assigned
	keaPrefix   = "2"          // of the column lease_type: a delegated prefix
	keaInfinite = "4294967295" // of the column valid_lifetime
	keaOfDUID   = "2"          // of the column hwaddr_source: the MAC in the DUID
)

func (k kea) read(text string, r *reading) {
	if strings.HasPrefix(text, "{") { // of the control socket
		k.readPage(text, r)
		return
	}
	var columns map[string]int
	r.each(text, func(number int, line string) {
		cells := strings.Split(line, ",")
		if columns == nil || cells[0] == "address" {
			if !k.looksLike(line) {
				r.bad(number)
				return
			}
			columns, r.understood = map[string]int{}, true
			for i, name := range cells {
				columns[name] = i
			}
			return
		}
		cell := func(name string) string {
			if i, ok := columns[name]; ok && i < len(cells) {
				return cells[i]
			}
			return ""
		}
		addr, err := netip.ParseAddr(cell("address"))
		expire, isTime := seconds(cell("expire"))
		lifetime, numeric := strconv.ParseUint(cell("valid_lifetime"), 10, 32)
		if err != nil || !isTime || numeric != nil {
			r.bad(number)
			return
		}
		if state := cell("state"); lifetime == 0 || state != "" && state != keaActive {
			r.end(addr)
			return
		}
		if cell("lease_type") == keaPrefix {
			return
		}
		l := Lease{
			Addr: addr, MAC: parseMAC(cell("hwaddr")), Host: r.host(keaText(cell("hostname"))),
			From: expire.Add(-time.Duration(lifetime) * time.Second), Until: expire,
		}
		if cell("valid_lifetime") == keaInfinite {
			l.From, l.Until = time.Time{}, time.Time{}
		}
		if addr.Is4() {
			r.client(octets(cell("client_id")), l.MAC)
		} else {
			duid, source := octets(cell("duid")), cell("hwaddr_source")
			l.ofDUID(duid, source == keaOfDUID || source == "" && l.MAC == macOfDUID(string(duid)), r)
		}
		r.set(l)
	})
}

// keaText returns the text of a cell, in which a comma is written as &#x2c.
func keaText(cell string) string {
	var b strings.Builder
	for {
		before, after, found := strings.Cut(cell, "&#x")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		cell = after
		if len(after) < 2 {
			continue
		}
		if c, err := strconv.ParseUint(after[:2], 16, 8); err == nil {
			b.WriteByte(byte(c))
			cell = after[2:]
		}
	}
}
