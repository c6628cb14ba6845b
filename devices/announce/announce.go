// Package announce reads what devices say of themselves to everybody on their link, by
// multicast DNS with DNS-SD and by SSDP. It is pure: packets in, messages out. What it
// returns is fit to be shown.
package announce

import (
	"errors"
	"net/netip"
	"slices"

	"telltale/devices/leases"
)

// MaxPacket is how long a packet may be (RFC 6762, 17).
const MaxPacket = 9000

// How much of one packet is taken; the rest of it is not read.
const (
	maxRecords   = 256
	maxQuestions = 256 // a packet of more is not taken: a response has none (RFC 6762, 6)
	maxLabels    = 5
	maxHosts     = 32
	maxNames     = 4
	maxModels    = 4
	maxServices  = 32
	maxSoftware  = 4
)

// ErrMalformed means that a packet is not what is sent to the group.
var ErrMalformed = errors.New("it is malformed")

// A Message is what one packet says. Who sent it, and whether that may be true, is not
// looked at here.
type Message struct {
	Hosts    []Host   // which addresses host names have
	Names    []string // what people call the device, such as "Living Room TV"
	Models   []string // such as "MacBookPro18,3"
	Services []string // types of services: "_airplay._tcp", or "urn:..." by SSDP
	Software []string // what the device says that it runs, by SSDP
}

// A Host is a host name, without its domain, with an address of it.
type Host struct {
	Name string
	Addr netip.Addr
}

// add appends text as it may be shown, unless list has it, or is full.
func add(list *[]string, text string, most int) {
	if text = leases.Shown(text); text != "" && len(*list) < most && !slices.Contains(*list, text) {
		*list = append(*list, text)
	}
}
