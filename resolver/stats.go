package resolver

import (
	"encoding/binary"
	"net/netip"
	"sync/atomic"

	"telltale/resolver/rebind"
)

// stats count what happens to queries beside the log.
type stats struct {
	messages       atomic.Uint64 // received by all transports but UDP, whose readers count their own packets
	dropped        atomic.Uint64 // no query at all, no reply
	malformed      atomic.Uint64 // FORMERR
	notImplemented atomic.Uint64 // opcodes, types and classes not served
	refused        atomic.Uint64 // clients that may not ask
	refusedShared  atomic.Uint64 // of them, from the shared address space (RFC 6598)
	lastShared     atomic.Uint32 // the last of those addresses
	shed           atomic.Uint64 // too many were waiting
	truncated      atomic.Uint64 // sent to TCP
	rebound        atomic.Uint64 // private addresses refused
	stale          atomic.Uint64 // answers served after their time
	prefetched     atomic.Uint64 // asked of upstreams with no client that waits
	invalid        atomic.Uint64 // upstream replies that could not be used
	optionsIgnored atomic.Uint64 // queries whose sender said whose they are, and is not believed
	internalErrors atomic.Uint64 // recovered panics
}

// Stats are a server's counters since its start.
type Stats struct {
	Queries         uint64 `json:"queries"`
	Dropped         uint64 `json:"dropped"`
	Malformed       uint64 `json:"malformed"`
	NotImplemented  uint64 `json:"not_implemented"`
	Refused         uint64 `json:"refused"`
	RefusedShared   uint64 `json:"refused_shared"`
	LastShared      string `json:"last_shared,omitempty"`
	Shed            uint64 `json:"shed"`
	Unread          uint64 `json:"dropped_unread"`
	Truncated       uint64 `json:"truncated"`
	Rebound         uint64 `json:"rebound"`
	Stale           uint64 `json:"stale"`
	Prefetched      uint64 `json:"prefetched"`
	Hedged          uint64 `json:"hedged"`
	Invalid         uint64 `json:"invalid_upstream_replies"`
	Unsent          uint64 `json:"unsent"`
	StreamsRefused  uint64 `json:"streams_refused"`
	StreamsReplaced uint64 `json:"streams_replaced"`
	StreamsCut      uint64 `json:"streams_cut"`
	AcceptsFailed   uint64 `json:"accepts_failed"`
	ProxiesRefused  uint64 `json:"proxies_refused"`

	Handshakes        uint64 `json:"tls_handshakes"`
	HandshakesResumed uint64 `json:"tls_handshakes_resumed"`
	HandshakesFailed  uint64 `json:"tls_handshakes_failed"`

	RequestsBad     uint64 `json:"requests_bad"`
	RequestsRefused uint64 `json:"requests_refused"`

	OptionsIgnored uint64 `json:"options_ignored"`
	InternalErrors uint64 `json:"internal_errors"`
	Waiting        int    `json:"waiting"`
	Streams        int    `json:"streams"`
	CacheEntries   int    `json:"cache_entries"`
	CacheBytes     int64  `json:"cache_bytes"`
}

// Stats returns the counters as they stand.
func (s *Server) Stats() Stats {
	c, l := &s.stats, s.listeners.Stats()
	st := Stats{
		Queries: c.messages.Load(), Dropped: c.dropped.Load(), Malformed: c.malformed.Load(),
		NotImplemented: c.notImplemented.Load(), Refused: c.refused.Load(), Shed: c.shed.Load(),
		Unread: l.Unread, Truncated: c.truncated.Load(), Rebound: c.rebound.Load(), Stale: c.stale.Load(), Prefetched: c.prefetched.Load(), Hedged: s.upstreams.Hedged(), Invalid: c.invalid.Load(), Unsent: l.Unsent,
		StreamsRefused: l.StreamsRefused, StreamsReplaced: l.StreamsReplaced, StreamsCut: l.StreamsCut, AcceptsFailed: l.AcceptsFailed, ProxiesRefused: l.ProxiesRefused,
		Handshakes: l.Handshakes, HandshakesResumed: l.HandshakesResumed, HandshakesFailed: l.HandshakesFailed,
		RequestsBad: l.RequestsBad, RequestsRefused: l.RequestsRefused, OptionsIgnored: c.optionsIgnored.Load(), InternalErrors: c.internalErrors.Load(),
		Waiting: s.flights.count(), Streams: l.Streams,
	}
	for _, r := range s.Readers() {
		st.Queries += r.Packets
	}
	if st.RefusedShared = c.refusedShared.Load(); st.RefusedShared > 0 {
		var a [4]byte
		binary.BigEndian.PutUint32(a[:], c.lastShared.Load())
		st.LastShared = netip.AddrFrom4(a).String()
	}
	st.CacheEntries, st.CacheBytes = s.cache.InUse()
	return st
}

// A ReaderStats is what a reader of a UDP socket has taken since the start.
type ReaderStats struct{ Packets, Batches uint64 }

// Readers returns what each reader has taken, always in the same order.
func (s *Server) Readers() []ReaderStats {
	s.readersMu.Lock()
	defer s.readersMu.Unlock()
	all := make([]ReaderStats, len(s.readers))
	for i, r := range s.readers {
		all[i] = ReaderStats{r.packets.Load(), r.batches.Load()}
	}
	return all
}

// refuses counts a client that may not ask. Of those in the shared address space, which
// Tailscale gives its machines addresses of, it remembers the last.
func (c *stats) refuses(client netip.Addr) {
	c.refused.Add(1)
	if client = client.Unmap(); rebind.IsShared(client) {
		a := client.As4()
		c.lastShared.Store(binary.BigEndian.Uint32(a[:]))
		c.refusedShared.Add(1)
	}
}
