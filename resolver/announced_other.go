//go:build !linux

package resolver

import "context"

// followAnnounced64 does nothing: no other system hands on what routers announce.
func (s *Server) followAnnounced64(context.Context) {}
