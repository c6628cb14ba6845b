package leases

import (
	"encoding/hex"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

const maxHost = 63 // octets of a shown name

// Shown returns text as it may be shown: without what is not printable, and not too
// long.
func Shown(text string) string {
	var b strings.Builder
	for _, r := range text {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			continue
		}
		if b.Len()+utf8.RuneLen(r) > maxHost {
			break
		}
		b.WriteRune(r)
	}
	return strings.TrimSpace(b.String())
}

// host returns a client's host name as it may be shown, without its domain. What it returns
// it returns as it is when it is given it.
func (r *reading) host(text string) string {
	text = strings.TrimRight(strings.TrimSpace(text), ". ")
	name, said := strings.TrimRight(Shown(text), ". "), text
	if _, err := netip.ParseAddr(name); err == nil {
		return ""
	}
	if first, _, _ := strings.Cut(name, "."); !strings.Contains(first, " ") { // else it is no domain name
		name = first
		said, _, _ = strings.Cut(text, ".")
	}
	if name != said {
		r.Cleaned++
	}
	switch name {
	case "*", "-", "?":
		return ""
	}
	if _, err := netip.ParseAddr(name); err == nil {
		return ""
	}
	return name
}

// HostName returns a name that a device gives itself as it may be shown, without its
// domain.
func HostName(text string) string { return new(reading).host(text) }

// parseMAC returns a MAC as leases have it. "" is none.
func parseMAC(text string) string {
	hw, err := net.ParseMAC(text)
	if err != nil || len(hw) != 6 && len(hw) != 8 {
		return ""
	}
	return hw.String()
}

// octets reads hexadecimal digits, with colons between the octets or without.
func octets(text string) []byte {
	if len(text) > 3*300 {
		return nil
	}
	b, err := hex.DecodeString(strings.ReplaceAll(text, ":", ""))
	if err != nil {
		return nil
	}
	return b
}

// macOfDUID returns the MAC that a DUID was made of: DUID-LLT and DUID-LL on Ethernet
// (RFC 8415, 11.2 and 11.4).
func macOfDUID(duid string) string {
	const ethernet = "\x00\x01"
	switch {
	case len(duid) == 14 && duid[:4] == "\x00\x01"+ethernet:
		return net.HardwareAddr(duid[8:]).String()
	case len(duid) == 10 && duid[:4] == "\x00\x03"+ethernet:
		return net.HardwareAddr(duid[4:]).String()
	}
	return ""
}

// seconds returns the time a number of seconds after 1970; false where text is none, or
// one that no lease has.
func seconds(text string) (time.Time, bool) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 || n > 1<<40 {
		return time.Time{}, false
	}
	return time.Unix(n, 0), true
}

// each calls f with every line of text that is complete and not blank, and with its
// number. What stands behind the last line end is being written.
func (r *reading) each(text string, f func(number int, line string)) {
	text = strings.TrimPrefix(text, "\ufeff")
	for number := 1; text != ""; number++ {
		line, rest, complete := strings.Cut(text, "\n")
		text = rest
		if line = strings.TrimRight(line, "\r"); strings.TrimSpace(line) == "" {
			continue
		}
		if !complete {
			r.Incomplete = true
			return
		}
		f(number, line)
	}
}
