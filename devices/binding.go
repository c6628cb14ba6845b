// Package devices knows who is asking: a ledger of which device held which
// address when, from the configuration and the kernel's neighbour table.
package devices

import (
	"net/netip"
	"time"
)

// A Source is what a binding rests on. The first five are in the order in which
// they are asked, the strongest first; ThisHost stands between a configured
// prefix and the neighbour table, ConfiguredClientID before all others, ClientID
// before ThisHost; Forwarder and Lease stand around Neighbour.
type Source uint8

// The numbers are stored in the query log and never change.
const (
	ConfiguredMAC     Source = 1
	ConfiguredAddress Source = 2
	ConfiguredPrefix  Source = 3
	Neighbour         Source = 4 // the MAC in the kernel's neighbour table
	BareAddress       Source = 5 // nothing is known but the address itself
	ThisHost          Source = 6 // an address of this machine: loopback, or on one of its interfaces

	ConfiguredClientID Source = 7
	ClientID           Source = 8 // the client's own word, which nobody configured

	Lease     Source = 9  // the MAC in the file of a DHCP server
	Forwarder Source = 10 // the MAC that a trusted forwarder says, in an EDNS option
)

var sourceNames = [...]string{"unknown", "configured-mac", "configured-address", "configured-prefix", "neighbour", "bare-address", "this-host", "configured-client-id", "client-id", "lease", "forwarder"}

// sourceOrder is the order in which sources are asked.
var sourceOrder = [...]uint8{ConfiguredClientID: 1, ConfiguredMAC: 2, ConfiguredAddress: 3, ConfiguredPrefix: 4, ClientID: 5, ThisHost: 6, Forwarder: 7, Neighbour: 8, Lease: 9, BareAddress: 10}

// isStronger reports whether a device rests on s rather than on t.
func (s Source) isStronger(t Source) bool { return sourceOrder[s] < sourceOrder[t] }

// String returns the word the log and the command line use.
func (s Source) String() string {
	if int(s) >= len(sourceNames) {
		s = 0
	}
	return sourceNames[s]
}

// A Confidence is how far a binding may be relied on.
type Confidence uint8

// The numbers are stored in the query log and never change.
const (
	Low    Confidence = 1
	Medium Confidence = 2
	High   Confidence = 3

	Imported Confidence = 4 // another server's word, in rows that were imported; never given here
)

var confidenceNames = [...]string{"unknown", "low", "medium", "high", "imported"}

// String returns the word the log and the command line use.
func (c Confidence) String() string {
	if int(c) >= len(confidenceNames) {
		c = 0
	}
	return confidenceNames[c]
}

// A Binding says which device held an address, from when, and how we know. It
// never changes once handed out: another MAC at the address makes another one.
type Binding struct {
	ID         uint64     // unique within the data directory, never reused
	Device     string     // stable identity: configured name, else "mac:aa:bb:...", else "addr:192.0.2.7", or "this-host"; "id:phone" for a client id
	Name       string     // what to show: the configured name, else how the device calls itself and a part of Device, else the short form of Device
	Addr       netip.Addr // the address bound; none where it is a client id that is bound
	MAC        string     // lower case with colons; "" where unknown
	Source     Source
	Confidence Confidence
	From       time.Time
	Group      uint16 // blocklists.Group of the device; 0 for none
	NoLog      bool   // the device opted out of the query log

	// Prefix is set where one binding covers more than one address: a configured
	// prefix, loopback, or all the addresses beyond the bound of new ones. Addr is
	// then its first address.
	Prefix netip.Prefix

	// Until is when the binding ended and Seen when it was last known to be in
	// use. Both are zero in what Lookup and Ask return: they are set where Keep is
	// called at the end, and Known brings them back (Seen also for a binding that
	// has not ended, where the store knows it).
	Until, Seen time.Time
}

// alike reports whether b and c say the same but for when and under which
// number.
func (b *Binding) alike(c *Binding) bool {
	return b.Device == c.Device && b.Name == c.Name && b.Addr == c.Addr && b.Prefix == c.Prefix && b.MAC == c.MAC &&
		b.Source == c.Source && b.Confidence == c.Confidence && b.Group == c.Group && b.NoLog == c.NoLog
}

// Covers returns what the binding is of, to be shown: an address, a prefix, a MAC behind a
// forwarder, or the word for its client ids.
func (b *Binding) Covers() string {
	switch {
	case b.Source == Forwarder:
		return b.MAC
	case b.isOfID():
		return ClientID.String()
	}
	if b.Prefix.IsValid() {
		return b.Prefix.String()
	}
	return b.Addr.String()
}
