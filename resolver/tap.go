package resolver

import (
	"net/netip"

	"telltale/querylog"
)

// A Tap is handed a lookup as it came and as it was answered; an empty reply is none. It must
// neither wait nor keep what it is handed.
type Tap func(r querylog.Record, client netip.AddrPort, query, reply []byte)

// SetTap has each lookup that comes from now on handed to tap; nil: to nobody. The one before
// may be handed some that were being answered.
func (s *Server) SetTap(tap Tap) {
	if tap == nil {
		s.tap.Store(nil)
		return
	}
	s.tap.Store(&tap)
}
