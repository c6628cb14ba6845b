package config

import (
	"encoding/base64"
	"fmt"
	"math"
	"net"
	"net/netip"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"golang.org/x/net/idna"
)

// Bytes is an amount of memory or disk.
type Bytes int64

var byteUnits = []struct {
	name string
	size Bytes
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40},
	{"kB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"B", 1},
}

// String returns b in the largest unit that needs no fraction: "64MB", "1GiB".
func (b Bytes) String() string {
	best, factor := "", Bytes(0)
	for _, u := range byteUnits[:len(byteUnits)-1] {
		if b != 0 && b%u.size == 0 && u.size > factor {
			best, factor = u.name, u.size
		}
	}
	if factor == 0 {
		return strconv.FormatInt(int64(b), 10)
	}
	return strconv.FormatInt(int64(b/factor), 10) + best
}

func parseBytes(text string) (Bytes, bool) {
	number, factor := text, Bytes(1)
	for _, u := range byteUnits {
		if n := len(text) - len(u.name); n > 0 && strings.EqualFold(text[n:], u.name) {
			number, factor = strings.TrimSpace(text[:n]), u.size
			break
		}
	}
	if n, err := strconv.ParseInt(number, 10, 64); err == nil {
		return Bytes(n) * factor, n >= 0 && n <= math.MaxInt64/int64(factor)
	}
	f, err := strconv.ParseFloat(number, 64)
	if err != nil || strings.ContainsAny(number, "xXpPeEnN_") || f < 0 || f*float64(factor) >= math.MaxInt64 {
		return 0, false
	}
	return Bytes(f * float64(factor)), true
}

// parseDuration reads a Go duration in which "d" is 24 hours.
func parseDuration(text string) (time.Duration, bool) {
	const day = 24 * time.Hour
	var days time.Duration
	if number, rest, ok := strings.Cut(text, "d"); ok {
		n, err := strconv.ParseUint(number, 10, 31)
		if err != nil || n > uint64(math.MaxInt64/day) {
			return 0, false
		}
		days, text = time.Duration(n)*day, rest
		if rest == "" {
			return days, true
		}
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 || days > math.MaxInt64-d || strings.HasPrefix(text, "+") {
		return 0, false
	}
	return days + d, true
}

func parseBool(text string) (value, ok bool) {
	switch strings.ToLower(text) {
	case "true", "yes", "on":
		return true, true
	case "false", "no", "off":
		return false, true
	}
	return false, false
}

func parseObserve(text string) (Observe, bool) {
	if on, ok := parseBool(text); ok {
		return Observe{On: on}, true
	}
	if until, err := time.Parse(time.RFC3339, text); err == nil {
		return Observe{On: true, Until: until}, true
	}
	until, err := time.ParseInLocation(time.DateOnly, text, time.Local)
	return Observe{On: true, Until: until}, err == nil
}

// parseAddrPort reads ADDRESS:PORT; port is for an address alone.
func parseAddrPort(text string, port uint16) (netip.AddrPort, bool) {
	if a, err := netip.ParseAddrPort(text); err == nil {
		return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()), true
	}
	a, ok := parseAddr(strings.TrimSuffix(strings.TrimPrefix(text, "["), "]"))
	return netip.AddrPortFrom(a, port), ok
}

func parseAddr(text string) (netip.Addr, bool) {
	a, err := netip.ParseAddr(text)
	return a.Unmap(), err == nil
}

// parsePrefix reads ADDRESS/BITS; an address alone is all its bits.
func parsePrefix(text string) (netip.Prefix, bool) {
	if a, ok := parseAddr(text); ok && a.Zone() == "" {
		return netip.PrefixFrom(a, a.BitLen()), true
	}
	p, err := netip.ParsePrefix(text)
	if err != nil || p.Addr().Is4In6() {
		return netip.Prefix{}, false
	}
	return p.Masked(), true
}

// parseNAT64 takes the prefix of a translator (RFC 6052, 2.2), or a word for one.
func parseNAT64(text string) (string, bool) {
	if word := strings.ToLower(text); word == "auto" {
		return word, true
	}
	if on, ok := parseBool(text); ok && !on {
		return "off", true
	}
	p, err := netip.ParsePrefix(text)
	if err != nil || !p.Addr().Is6() || p.Addr().Is4In6() || p != p.Masked() || p.Addr().As16()[8] != 0 {
		return "", false
	}
	return p.String(), slices.Contains([]int{32, 40, 48, 56, 64, 96}, p.Bits())
}

func parseMAC(text string) (string, bool) {
	mac, err := net.ParseMAC(text)
	if err != nil || len(mac) != 6 || mac[0]&1 != 0 { // a group address is nobody's
		return "", false
	}
	return mac.String(), true
}

// parseID returns a client id in lower case: a DNS label.
func parseID(text string) (string, bool) {
	bad := strings.ContainsFunc(text, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-'
	})
	return strings.ToLower(text), !bad && text != "" && len(text) <= 63 && text[0] != '-' && text[len(text)-1] != '-'
}

// parseDomain returns a domain in lower case A-labels without trailing dot; "." is
// the root.
func parseDomain(text string) (string, bool) {
	if text == "." {
		return text, true
	}
	name, err := idna.Lookup.ToASCII(strings.TrimSuffix(text, "."))
	if err != nil || name == "" || len(name) > 253 {
		return "", false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 {
			return "", false
		}
	}
	_, err = netip.ParseAddr(name)
	return strings.ToLower(name), err != nil
}

// parseWildcard takes a name, or "*." and one for the names one below it.
func parseWildcard(text string) (string, bool) {
	name, isWildcard := strings.CutPrefix(text, "*.")
	value, ok := parseDomain(name)
	if isWildcard {
		value = "*." + value
	}
	return value, ok && name != "."
}

func parseURL(text string) (string, bool) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Hostname() == "" || u.User != nil {
		return "", false
	}
	return text, u.Scheme == "https" || u.Scheme == "http"
}

// parseServerURL takes a scheme, a name or an address, and a port, which may be left out.
func parseServerURL(text string, schemes ...string) (string, bool) {
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "" {
		return "", false
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return "", false
		}
	}
	return u.Scheme + "://" + u.Host, slices.Contains(schemes, u.Scheme)
}

// parseDnstap takes where a program takes dnstap: unix:PATH, with a path that does not depend
// on a directory, or tcp://HOST:PORT.
func parseDnstap(text string) (string, bool) {
	if path, isUnix := strings.CutPrefix(text, "unix:"); isUnix {
		path = strings.TrimPrefix(path, "//")
		return "unix:" + path, strings.HasPrefix(path, "/") && !strings.HasSuffix(path, "/") && !strings.ContainsRune(path, 0)
	}
	value, ok := parseServerURL(text, "tcp")
	_, port, err := net.SplitHostPort(strings.TrimPrefix(value, "tcp://"))
	return value, ok && err == nil && port != ""
}

// parseKey takes a public key of minisign: the letters "Ed", its id of 8 octets and
// 32 octets of Ed25519.
func parseKey(text string) (string, bool) {
	key, err := base64.StdEncoding.DecodeString(text)
	return text, err == nil && len(key) == 2+8+32 && string(key[:2]) == "Ed"
}

// parseName takes what can stand in a line of output and in a file name.
func parseName(text string) (string, bool) {
	printable := func(r rune) bool { return unicode.IsPrint(r) && r != '/' && r != '\\' && r != unicode.ReplacementChar }
	bad := strings.ContainsFunc(text, func(r rune) bool { return !printable(r) })
	return text, text != "" && len(text) <= 100 && !bad && text == strings.TrimSpace(text) && text[0] != '.'
}

// parsePlain takes a text for showing.
func parsePlain(text string) (string, bool) {
	bad := strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar })
	return text, len(text) <= 1000 && !bad
}

// parse reads text into the scalar at v. When it cannot, it returns what was
// expected, and the word that was probably meant.
func parse(text string, s *setting, v reflect.Value) (ok bool, expected, near string) {
	if len(s.words) > 0 {
		word := strings.ToLower(text)
		if !slices.Contains(s.words, word) {
			return false, oneOf(s.words), nearest(word, s.words)
		}
		v.SetString(word)
		return true, "", ""
	}
	switch p := v.Addr().Interface().(type) {
	case *bool:
		*p, ok = parseBool(text)
		return ok, "true or false", ""
	case *int:
		n, err := strconv.ParseInt(text, 10, 32)
		*p = int(n)
		return err == nil, "a whole number", ""
	case *time.Duration:
		*p, ok = parseDuration(text)
		return ok, "a duration such as 10s, 24h or 365d", ""
	case *Bytes:
		*p, ok = parseBytes(text)
		return ok, "a size such as 64MB or 1GiB", ""
	case *Observe:
		*p, ok = parseObserve(text)
		return ok, "true, false, or until when, such as 2026-12-31 or 2026-12-31T20:00:00Z", ""
	case *Schedule:
		*p, expected = parseSchedule(text)
		return expected == "", expected, ""
	case *Recurrence:
		*p, expected = parseRecurrence(text)
		return expected == "", expected, ""
	case *netip.AddrPort:
		port := s.port()
		*p, ok = parseAddrPort(text, port)
		return ok, fmt.Sprintf("ADDRESS:PORT such as 192.0.2.1:%d or [2001:db8::1]:%[1]d", port), ""
	case *ServerAddress:
		*p, expected = parseServerAddress(text)
		return expected == "", expected, ""
	case *Pin:
		*p, ok = parsePin(text)
		return ok, "sha256/ and the SHA-256 of a public key in base64, as in sha256/ and 44 characters", ""
	case *netip.Addr:
		*p, ok = parseAddr(text)
		return ok, "an address such as 192.0.2.1 or 2001:db8::1", ""
	case *netip.Prefix:
		*p, ok = parsePrefix(text)
		return ok, "a prefix such as 192.0.2.0/24 or 2001:db8::/32", ""
	case *string:
		*p, ok, expected = parseText(text, s)
		return ok, expected, ""
	}
	panic(fmt.Sprintf("config: no way to read a %s", v.Type())) // a new type in Config: the tests find it
}

func parseText(text string, s *setting) (value string, ok bool, expected string) {
	switch {
	case s.is("mac"):
		value, ok = parseMAC(text)
		return value, ok, "a MAC such as 02:00:5e:10:00:01"
	case s.is("id"):
		value, ok = parseID(text)
		return value, ok, "a client id: at most 63 letters, digits and hyphens, no hyphen first or last"
	case s.is("domain"):
		value, ok = parseDomain(text)
		return value, ok, "a domain such as plex.direct"
	case s.is("wildcard"):
		value, ok = parseWildcard(text)
		return value, ok, "a name such as dns.example, or *.dns.example"
	case s.is("server"):
		if a, isAddr := parseAddr(text); isAddr && a.Zone() == "" {
			return a.String(), true, ""
		}
		value, ok = parseWildcard(text)
		return value, ok, "a name such as dns.example, *.dns.example for the names one below, or an address such as 192.0.2.1"
	case s.is("zone"):
		value, ok = parseZone(text)
		return value, ok, "a domain such as lan, or a prefix such as 192.168.1.0/24"
	case s.is("nat64"):
		value, ok = parseNAT64(text)
		return value, ok, "off, auto, or an IPv6 prefix of 32, 40, 48, 56, 64 or 96 bits such as 64:ff9b::/96"
	case s.is("url"):
		value, ok = parseURL(text)
		return value, ok, "an http or https URL without a user and password"
	case s.is("center"):
		value, ok = parseCenter(text)
		return value, ok, fmt.Sprintf("https://HOST:PORT, such as https://192.168.1.2:%d", CenterPort)
	case s.is("mqtt"):
		value, ok = parseServerURL(text, "mqtt", "mqtts")
		return value, ok, "mqtts://NAME:8883, or mqtt://NAME:1883 without encryption"
	case s.is("smtp"):
		value, ok = parseServerURL(text, "smtp", "smtps")
		return value, ok, "smtps://NAME:465, or smtp://NAME:587, which begins in clear"
	case s.is("dnstap"):
		value, ok = parseDnstap(text)
		return value, ok, "unix:/PATH of a socket, or tcp://HOST:PORT"
	case s.is("minisign"):
		value, ok = parseKey(text)
		return value, ok, "a public key of minisign: the line of 56 letters from the file that ends in .pub"
	case s.is("name"):
		value, ok = parseName(text)
		return value, ok, "a name of at most 100 bytes without slashes"
	case s.is("path"):
		return text, text != "" && !strings.ContainsRune(text, 0), "a path"
	}
	value, ok = parsePlain(text)
	return value, ok, "printable text of at most 1000 bytes"
}
