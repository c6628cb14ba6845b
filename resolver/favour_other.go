//go:build !linux

package resolver

// FavourReaders does nothing: threads have no priority of their own here.
func (s *Server) FavourReaders() {}
