//go:build !linux

package resolver

import "net/netip"

func portHolder(network string, addr netip.AddrPort) string { return "" }
