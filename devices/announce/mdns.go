package announce

import (
	"encoding/binary"
	"net/netip"
	"strconv"
	"strings"

	"telltale/devices/leases"
	"telltale/dnswire"
)

// ParseMDNS reads a packet of multicast DNS. Queries say nothing: what stands in them is
// what somebody looks for, or has heard from others.
func ParseMDNS(packet []byte) (m Message, err error) {
	if len(packet) < dnswire.HeaderLen || len(packet) > MaxPacket {
		return Message{}, ErrMalformed
	}
	const response, opcodeAndRcode = 0x8000, 0x780f
	if flags := binary.BigEndian.Uint16(packet[2:]); flags&response == 0 || flags&opcodeAndRcode != 0 {
		return Message{}, nil // RFC 6762, 18.3 and 18.11
	}
	count := func(at int) int { return int(binary.BigEndian.Uint16(packet[at:])) }
	var flat [dnswire.MaxName]byte
	off := dnswire.HeaderLen
	if count(4) > maxQuestions {
		return Message{}, ErrMalformed
	}
	for range count(4) {
		if _, off, err = dnswire.Flatten(packet, off, &flat); err != nil || off+4 > len(packet) {
			return Message{}, ErrMalformed
		}
		off += 4
	}
	records := count(6) + count(8) + count(10)
	for range min(records, maxRecords) { // what stands behind is not read
		size, at, err := dnswire.Flatten(packet, off, &flat)
		if err != nil || at+10 > len(packet) {
			return Message{}, ErrMalformed
		}
		r := record{packet: packet, typ: binary.BigEndian.Uint16(packet[at:]), data: at + 10}
		class, ttl := binary.BigEndian.Uint16(packet[at+2:]), binary.BigEndian.Uint32(packet[at+4:])
		if off = r.data + count(at+8); off > len(packet) {
			return Message{}, ErrMalformed
		}
		r.end = off
		const unique = 0x8000 // RFC 6762, 10.2
		if class&^unique != dnswire.ClassIN || ttl == 0 {
			continue
		}
		switch r.typ {
		case dnswire.TypeA, dnswire.TypeAAAA, dnswire.TypePTR, dnswire.TypeSRV, dnswire.TypeTXT:
			r.owner = labelsOf(flat[:size])
			m.take(&r)
		}
	}
	return m, nil
}

// A record is one of a packet.
type record struct {
	packet    []byte
	owner     []string // labels
	typ       uint16
	data, end int
}

// take adds what a record says. Records of data that cannot be read say nothing.
func (m *Message) take(r *record) {
	switch r.typ {
	case dnswire.TypeA, dnswire.TypeAAAA:
		addr, ok := netip.AddrFromSlice(r.packet[r.data:r.end])
		if name := hostOf(r.owner); ok && addr.Is4() == (r.typ == dnswire.TypeA) && name != "" && len(m.Hosts) < maxHosts {
			m.Hosts = append(m.Hosts, Host{name, addr.Unmap()})
		}
	case dnswire.TypePTR:
		m.addService(r.pointer())
	case dnswire.TypeSRV:
		m.addService(serviceOfInstance(r.owner))
	case dnswire.TypeTXT:
		m.takeText(r)
	}
}

// addService adds a type of services. _device-info is none: it is the name under which a
// model stands.
func (m *Message) addService(service string) {
	if service != deviceInfo {
		add(&m.Services, service, maxServices)
	}
}

// pointer returns the type of the services that a PTR record leads to: its owner, or, where
// the owner is the name under which all types are found (RFC 6763, 9), what it leads to.
func (r *record) pointer() string {
	if len(r.owner) != 4 || r.owner[0] != "_services" || serviceOf(r.owner[1:]) != "_dns-sd._udp" {
		return serviceOf(r.owner)
	}
	var flat [dnswire.MaxName]byte
	size, end, err := dnswire.Flatten(r.packet, r.data, &flat)
	if err != nil || end != r.end {
		return ""
	}
	return serviceOf(labelsOf(flat[:size]))
}

const (
	deviceInfo = "_device-info._tcp"
	homeKit    = "_hap._tcp"
)

// keysOf returns under which keys the TXT record of an instance of a service has the model
// of the device, and what people call it; "" for none. docs/decisions/announcements.md has the sources.
func keysOf(service string) (model, name string) {
	switch service {
	case deviceInfo, "_airplay._tcp":
		return "model", ""
	case "_companion-link._tcp":
		return "rpMd", ""
	case "_ipp._tcp", "_ipps._tcp", "_printer._tcp", "_pdl-datastream._tcp", "_scanner._tcp", "_uscan._tcp", "_uscans._tcp":
		return "ty", ""
	case "_raop._tcp":
		return "am", ""
	case "_googlecast._tcp":
		return "md", "fn"
	case homeKit:
		return "md", ""
	}
	return "", ""
}

// takeText adds what the TXT record of an instance says (RFC 6763, 6).
func (m *Message) takeText(r *record) {
	service := serviceOfInstance(r.owner)
	m.addService(service)
	model, name := keysOf(service)
	if model == "" {
		return
	}
	for data := r.packet[r.data:r.end]; len(data) > 0; {
		n := 1 + int(data[0])
		if n > len(data) {
			return
		}
		key, value, _ := strings.Cut(string(data[1:n]), "=")
		switch data = data[n:]; {
		case strings.EqualFold(key, model):
			add(&m.Models, value, maxModels)
		case service == homeKit && strings.EqualFold(key, "ci"):
			if _, err := strconv.ParseUint(value, 10, 8); err == nil { // HomeKit's number for a kind of accessory
				add(&m.Models, "HomeKit category "+value, maxModels)
			}
		case name != "" && strings.EqualFold(key, name):
			add(&m.Names, value, maxNames)
		}
	}
}

// labelsOf returns the first labels of a flat name, as many as any name here has and one
// more: the first as it was sent, since it may be what people wrote, the others in lower case.
func labelsOf(flat []byte) (labels []string) {
	for off := 0; off < len(flat) && flat[off] != 0 && len(labels) < maxLabels; off += 1 + int(flat[off]) {
		label := string(flat[off+1 : off+1+int(flat[off])])
		if off > 0 {
			label = strings.ToLower(label)
		}
		labels = append(labels, label)
	}
	return labels
}

// hostOf returns the host name of NAME.local, as it may be shown; "" for any other name.
func hostOf(labels []string) string {
	if len(labels) != 2 || labels[1] != "local" {
		return ""
	}
	return leases.HostName(labels[0])
}

// serviceOf returns the type of _TYPE._tcp.local or _TYPE._udp.local; "" for any other name.
func serviceOf(labels []string) string {
	if len(labels) != 3 || labels[2] != "local" || labels[1] != "_tcp" && labels[1] != "_udp" || len(labels[0]) < 2 || labels[0][0] != '_' {
		return ""
	}
	for _, c := range []byte(labels[0][1:]) {
		if (c|0x20 < 'a' || c|0x20 > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return "" // RFC 6335, 5.1; the underscore is common, too
		}
	}
	return strings.ToLower(labels[0]) + "." + labels[1]
}

// serviceOfInstance returns the type of which NAME._TYPE._tcp.local is an instance; "" for
// any other name.
func serviceOfInstance(labels []string) string {
	if len(labels) != 4 {
		return ""
	}
	return serviceOf(labels[1:])
}
