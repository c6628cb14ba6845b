package resolver

import (
	"bytes"
	"net/netip"

	"telltale/devices"
	"telltale/dnswire"
)

// identifyForwarded finds out whose query a forwarder passes on, where the forwarder is
// one whose word counts. The options of anybody else are ignored: else anybody could be
// any device.
func (s *Server) identifyForwarded(q *query) {
	f := dnswire.ReadForwarded(q.Forwarding)
	if !f.HasMAC && !f.Addr.IsValid() && f.CPE == nil {
		return
	}
	if !s.settings.Load().isForwarder(q.path.Client.Addr()) {
		s.stats.optionsIgnored.Add(1)
		return
	}
	b := s.forwarded(f.MAC, f.HasMAC, f.Addr)
	switch {
	case b != nil:
		q.binding, q.behind = b, f.Addr
	case f.CPE != nil:
		if id := string(bytes.ToLower(f.CPE)); devices.IsClientID(id) {
			q.clientID, q.binding = id, s.named(id, q.binding)
		}
	}
}

// isForwarder reports whether a is that of a forwarder whose word counts.
func (set *settings) isForwarder(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	for _, p := range set.forwarders {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// address returns the address of who asks q, for lists: behind a forwarder it is what that
// says.
func (q *query) address() netip.Addr {
	if q.behind.IsValid() {
		return q.behind
	}
	return q.path.Client.Addr()
}
