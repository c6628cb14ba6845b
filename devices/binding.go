// Package devices knows who is asking: a ledger of which device held which
// address when, from the configuration and the kernel's neighbour table.
package devices

import (
	"net/netip"
	"time"
)

// A Source is what a binding rests on, the strongest first (DESIGN.md,
// "Identity order").
type Source uint8

const (
	ConfiguredMAC Source = iota + 1
	ConfiguredAddress
	ConfiguredPrefix
	Neighbour   // the MAC in the kernel's neighbour table
	BareAddress // nothing is known but the address itself
)

// A Confidence is how far a binding may be relied on.
type Confidence uint8

const (
	Low Confidence = iota + 1
	Medium
	High
)

// A Binding says which device held an address, from when, and how we know. It
// never changes once handed out: another MAC at the address makes another one.
type Binding struct {
	ID         uint64     // unique within the data directory, never reused
	Device     string     // stable identity: configured name, else "mac:aa:bb:...", else "addr:192.0.2.7"
	Name       string     // what to show: the configured name, else the vendor-free short form of Device
	Addr       netip.Addr // the address bound
	MAC        string     // lower case with colons; "" where unknown
	Source     Source
	Confidence Confidence
	From       time.Time
	Group      uint16 // blocklists.Group of the device; 0 for none
	NoLog      bool   // the device opted out of the query log
}
