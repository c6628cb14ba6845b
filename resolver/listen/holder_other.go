//go:build !linux

package listen

import "net/netip"

func portHolder(network string, addr netip.AddrPort) string { return "" }
