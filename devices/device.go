package devices

import (
	"net/netip"
	"time"
)

// A Device is one the user has named.
type Device struct {
	Name      string // unique; also its stable identity
	MACs      []string
	Addresses []netip.Addr
	Prefixes  []netip.Prefix // all their addresses are this one device
	Group     uint16         // blocklists.Group; 0 for none
	NoLog     bool           // the device's lookups are not logged
}

// A DeviceStatus is a device with the bindings that led to it.
type DeviceStatus struct {
	Device     string // as in Binding
	Name       string
	Configured bool
	Group      uint16
	NoLog      bool
	First      time.Time // when its first known binding began
	Last       time.Time // when an address of it was last known to be in use
	Source     Source    // of the strongest binding in force; 0 when none is
	Confidence Confidence
	Bindings   []Binding // in force first (Until is zero), then past ones, the latest first
}
