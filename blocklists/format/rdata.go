package format

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"net/netip"
	"strconv"
	"strings"

	"telltale/dnswire"
	"telltale/sorting"
)

var (
	errFields  = errors.New("has the wrong number of fields: write it as in a zone file")
	errAddress = errors.New("has no address of its family: write one")
	errNumber  = errors.New("has a number out of range: write 0 to 65535")
	errType    = errors.New("is of a type that cannot be written here: A, AAAA, CNAME, PTR, NS, TXT, MX, SRV, HTTPS and SVCB can")
)

// appendRDATA appends the RDATA of a record in presentation form (RFC 1035, 5;
// RFC 2782; RFC 9460). Relative names are completed by origin; the fields of TXT
// are its strings, without quotes.
func appendRDATA(dst []byte, t uint16, fields []string, origin string) ([]byte, error) {
	switch t {
	case dnswire.TypeA, dnswire.TypeAAAA:
		if len(fields) != 1 {
			return nil, errFields
		}
		a, err := netip.ParseAddr(fields[0])
		if err != nil || a.Zone() != "" || a.Is4() != (t == dnswire.TypeA) {
			return nil, errAddress
		}
		return append(dst, a.AsSlice()...), nil
	case dnswire.TypeCNAME, dnswire.TypePTR, dnswire.TypeNS, dnswire.TypeMX, dnswire.TypeSRV:
		return appendFields(dst, fields, nameField(t), origin)
	case dnswire.TypeTXT:
		if len(fields) == 0 {
			return nil, errFields
		}
		for _, s := range fields {
			for len(s) > 255 {
				dst = append(append(dst, 255), s[:255]...)
				s = s[255:]
			}
			dst = append(append(dst, byte(len(s))), s...)
		}
		return dst, nil
	case dnswire.TypeHTTPS, dnswire.TypeSVCB:
		if len(fields) < 2 {
			return nil, errFields
		}
		dst, err := appendFields(dst, fields[:2], nameField(t), origin)
		if err != nil {
			return nil, err
		}
		return appendParams(dst, fields[2:])
	}
	return nil, errType
}

// nameField returns which field of a record's data is a name; -1 for none.
func nameField(t uint16) int {
	switch t {
	case dnswire.TypeCNAME, dnswire.TypePTR, dnswire.TypeNS:
		return 0
	case dnswire.TypeMX, dnswire.TypeHTTPS, dnswire.TypeSVCB:
		return 1
	case dnswire.TypeSRV:
		return 3
	}
	return -1
}

// appendFields appends so many 16-bit numbers and then a name.
func appendFields(dst []byte, fields []string, numbers int, origin string) ([]byte, error) {
	if len(fields) != numbers+1 {
		return nil, errFields
	}
	for _, s := range fields[:numbers] {
		n, err := strconv.ParseUint(s, 10, 16)
		if err != nil {
			return nil, errNumber
		}
		dst = binary.BigEndian.AppendUint16(dst, uint16(n))
	}
	return dnswire.AppendName(dst, absolute(fields[numbers], origin))
}

// absolute completes a relative name; without an origin it is taken as it is.
func absolute(name, origin string) string {
	switch {
	case strings.HasSuffix(name, ".") || origin == "":
		return name
	case name == "@":
		return origin
	case origin == ".":
		return name + "."
	}
	return name + "." + origin
}

// appendParams appends SvcParams in the order of their keys (RFC 9460, 2.2).
func appendParams(dst []byte, fields []string) ([]byte, error) {
	type param struct {
		key   uint16
		value []byte
	}
	var params []param
	for _, f := range fields {
		key, value, _ := strings.Cut(f, "=")
		k, v, err := svcParam(key, strings.Trim(value, `"`))
		if err != nil {
			return nil, err
		}
		params = append(params, param{k, v})
	}
	sorting.By(params, func(a, b param) int { return int(a.key) - int(b.key) })
	for i, kv := range params {
		if i > 0 && params[i-1].key == kv.key {
			return nil, errors.New("names a parameter twice: leave one out")
		}
		dst = binary.BigEndian.AppendUint16(dst, kv.key)
		dst = binary.BigEndian.AppendUint16(dst, uint16(len(kv.value)))
		dst = append(dst, kv.value...)
	}
	return dst, nil
}

// svcParam reads one parameter (RFC 9460, 7; RFC 9461, 5 for dohpath).
func svcParam(key, value string) (k uint16, v []byte, err error) {
	switch key {
	case "alpn":
		for id := range strings.SplitSeq(value, ",") {
			if id == "" || len(id) > 255 {
				return 0, nil, errors.New("has an empty or long alpn: write alpn=h2,h3")
			}
			v = append(append(v, byte(len(id))), id...)
		}
		return 1, v, nil
	case "no-default-alpn":
		return 2, nil, nil
	case "port":
		n, err := strconv.ParseUint(value, 10, 16)
		if err != nil {
			return 0, nil, errNumber
		}
		return 3, binary.BigEndian.AppendUint16(nil, uint16(n)), nil
	case "ipv4hint", "ipv6hint":
		k = 4
		if key == "ipv6hint" {
			k = 6
		}
		for s := range strings.SplitSeq(value, ",") {
			a, err := netip.ParseAddr(s)
			if err != nil || a.Zone() != "" || a.Is4() != (k == 4) {
				return 0, nil, errAddress
			}
			v = append(v, a.AsSlice()...)
		}
		return k, v, nil
	case "ech":
		v, err := base64.StdEncoding.DecodeString(value)
		if err != nil {
			return 0, nil, errors.New("has an ech that is not base64: write it as in a zone file")
		}
		return 5, v, nil
	case "dohpath":
		return 7, []byte(value), nil
	}
	return 0, nil, errors.New("has the unknown parameter " + printable(key) + ": alpn, no-default-alpn, port, ipv4hint, ipv6hint, ech and dohpath are known")
}
