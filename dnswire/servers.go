package dnswire

import "net/netip"

// Servers of a zone are kept as items that begin with an octet of at least ServerItem:
// one for a name, and one for each size of an address.
const (
	ServerItem = 0x80

	serverName  = 0xc0 // before a wire name
	serverBytes = 0x3f // of any other: the address's size
)

// maxServers bounds the servers that are kept of a zone.
const maxServers = 16

// collectServers gathers the servers that the authority section names for a zone of the
// answer, and their addresses in the additional section.
func (s *Sanitizer) collectServers() {
	var names []Name
	for i := range s.records {
		r := &s.records[i]
		if r.section != sectionAuthority || r.typ != TypeNS || r.class != ClassIN || len(names) == maxServers || !s.isOfZone(r) {
			continue
		}
		var server Name
		if end, err := readName(s.msg, r.data, &server); err == nil && end == r.end {
			names = append(names, server)
			s.out.Servers = append(append(s.out.Servers, serverName), server.Wire()...)
		}
	}
	left := 2 * maxServers
	for i := range s.records {
		r := &s.records[i]
		isAddress := r.typ == TypeA && r.end-r.data == 4 || r.typ == TypeAAAA && r.end-r.data == 16
		if r.section != sectionAdditional || r.class != ClassIN || !isAddress || left == 0 {
			continue
		}
		for j := range names {
			if s.owns(r, &names[j]) {
				left--
				s.out.Servers = append(append(s.out.Servers, ServerItem|byte(r.end-r.data)), s.msg[r.data:r.end]...)
				break
			}
		}
	}
}

// isOfZone reports whether a name of the answer is in the zone that r is of.
func (s *Sanitizer) isOfZone(r *record) bool {
	if !readsTo(s.msg, r.owner, &s.name) {
		return false
	}
	for i := range s.chain {
		if s.chain[i].Equal(&s.name) || isBelow(&s.chain[i], &s.name) {
			return true
		}
	}
	return false
}

// EachServer calls yield with the name or the address of each of servers, as
// Sanitized.Servers has them, until it returns false.
func EachServer(servers []byte, yield func(name *Name, addr netip.Addr) bool) {
	for len(servers) > 0 {
		if servers[0] == serverName {
			var n Name
			end, err := n.Read(servers, 1)
			if err != nil || !yield(&n, netip.Addr{}) {
				return
			}
			servers = servers[end:]
			continue
		}
		size := 1 + int(servers[0]&serverBytes)
		if size > len(servers) {
			return
		}
		a, ok := netip.AddrFromSlice(servers[1:size])
		if !ok || !yield(nil, a) {
			return
		}
		servers = servers[size:]
	}
}
