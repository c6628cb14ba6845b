package dnswire

import (
	"strconv"
	"strings"
)

// Record types this server gives a meaning of its own (IANA DNS parameters).
const (
	TypeA      = 1
	TypeNS     = 2
	TypeCNAME  = 5
	TypeSOA    = 6
	TypePTR    = 12
	TypeHINFO  = 13
	TypeMX     = 15
	TypeTXT    = 16
	TypeAAAA   = 28
	TypeSRV    = 33
	TypeDNAME  = 39
	TypeOPT    = 41
	TypeDS     = 43
	TypeRRSIG  = 46
	TypeDNSKEY = 48
	TypeSVCB   = 64
	TypeHTTPS  = 65
	TypeNXNAME = 128
	TypeTKEY   = 249
	TypeTSIG   = 250
	TypeIXFR   = 251
	TypeAXFR   = 252
	TypeMAILB  = 253
	TypeMAILA  = 254
	TypeANY    = 255
)

// ClassIN is the Internet class.
const ClassIN = 1

// Response codes (RFC 1035, 4.1.1; RFC 6891, 9).
const (
	Success  = 0
	FormErr  = 1
	ServFail = 2
	NXDomain = 3
	NotImp   = 4
	Refused  = 5
	BadVers  = 16
)

var typeNames = map[uint16]string{
	1: "A", 2: "NS", 3: "MD", 4: "MF", 5: "CNAME", 6: "SOA", 7: "MB", 8: "MG", 9: "MR", 10: "NULL", 11: "WKS", 12: "PTR",
	13: "HINFO", 14: "MINFO", 15: "MX", 16: "TXT", 17: "RP", 18: "AFSDB", 19: "X25", 20: "ISDN", 21: "RT", 24: "SIG",
	25: "KEY", 26: "PX", 27: "GPOS", 28: "AAAA", 29: "LOC", 30: "NXT", 33: "SRV", 35: "NAPTR", 36: "KX", 37: "CERT",
	39: "DNAME", 41: "OPT", 42: "APL", 43: "DS", 44: "SSHFP", 45: "IPSECKEY", 46: "RRSIG", 47: "NSEC", 48: "DNSKEY",
	49: "DHCID", 50: "NSEC3", 51: "NSEC3PARAM", 52: "TLSA", 53: "SMIMEA", 55: "HIP", 59: "CDS", 60: "CDNSKEY",
	61: "OPENPGPKEY", 62: "CSYNC", 63: "ZONEMD", 64: "SVCB", 65: "HTTPS", 99: "SPF", 104: "NID", 105: "L32", 106: "L64",
	107: "LP", 108: "EUI48", 109: "EUI64", 128: "NXNAME", 249: "TKEY", 250: "TSIG", 251: "IXFR", 252: "AXFR", 253: "MAILB", 254: "MAILA",
	255: "ANY", 256: "URI", 257: "CAA", 258: "AVC", 260: "AMTRELAY", 261: "RESINFO", 32768: "TA", 32769: "DLV",
}

var typesByName = func() map[string]uint16 {
	m := make(map[string]uint16, len(typeNames))
	for t, s := range typeNames {
		m[s] = t
	}
	return m
}()

// TypeString returns the mnemonic of a record type, or TYPE123 (RFC 3597, 5).
func TypeString(t uint16) string {
	if s, ok := typeNames[t]; ok {
		return s
	}
	return "TYPE" + strconv.Itoa(int(t))
}

// ParseType reads what TypeString writes, in any case.
func ParseType(s string) (t uint16, ok bool) {
	s = strings.ToUpper(s)
	if t, ok = typesByName[s]; ok {
		return t, true
	}
	digits, found := strings.CutPrefix(s, "TYPE")
	n, err := strconv.ParseUint(digits, 10, 16)
	return uint16(n), found && err == nil
}

// RcodeString returns the mnemonic of a response code, or RCODE12.
func RcodeString(rcode uint8) string {
	switch rcode {
	case Success:
		return "NOERROR"
	case FormErr:
		return "FORMERR"
	case ServFail:
		return "SERVFAIL"
	case NXDomain:
		return "NXDOMAIN"
	case NotImp:
		return "NOTIMP"
	case Refused:
		return "REFUSED"
	case BadVers:
		return "BADVERS"
	}
	return "RCODE" + strconv.Itoa(int(rcode))
}
