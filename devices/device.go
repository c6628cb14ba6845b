package devices

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"
)

// A Device is one the user has named.
type Device struct {
	Name      string // unique; also its stable identity
	MACs      []string
	Addresses []netip.Addr
	Prefixes  []netip.Prefix // all their addresses are this one device
	ClientIDs []string       // as IsClientID takes them
	Group     uint16         // blocklists.Group; 0 for none
	NoLog     bool           // the device's lookups are not logged
}

// Settings say with which settings devices ask, whether they are configured or not.
type Settings struct {
	// Of returns those of the device of a binding, which has those of Device so far. It is
	// called with locks held: it must return at once, and not call the Ledger. nil: they stay.
	Of    func(b *Binding) (group uint16, noLog bool)
	ByMAC bool // some depend on who has a MAC: see Ledger.ByMAC
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
	Called     []string  // how it calls itself, by its bindings
	Bindings   []Binding // in force first (Until is zero), then past ones, the latest first
}

// thisHost is the identity of the machine Telltale runs on.
const thisHost = "this-host"

// A configuration is the configured devices, ready to be asked. It never
// changes.
type configuration struct {
	names     map[string]*Device
	macs      map[string]*Device
	addresses map[netip.Addr]*Device
	prefixes  map[netip.Prefix]*Device
	longest   prefixTable[*Device]
	clientIDs map[string]*Device
	labels    map[string]*Device // by Label of their names
	withIDs   map[string]*Device // by name, those that have client ids
	settings  Settings
}

func (c *configuration) byMAC() bool { return len(c.macs) > 0 || c.settings.ByMAC }

// withSettings returns a binding with the settings that its device asks with.
func (c *configuration) withSettings(b Binding) Binding {
	if c.settings.Of != nil {
		b.Group, b.NoLog = c.settings.Of(&b)
	}
	return b
}

// Check returns what Open and Configure would refuse of devices.
func Check(devices []Device) error {
	_, err := configure(devices)
	return err
}

// configure checks devices and returns all their mistakes as one error.
func configure(devices []Device) (*configuration, error) {
	c := &configuration{
		names:     make(map[string]*Device),
		macs:      make(map[string]*Device),
		addresses: make(map[netip.Addr]*Device),
		prefixes:  make(map[netip.Prefix]*Device),
		clientIDs: make(map[string]*Device),
		labels:    make(map[string]*Device),
		withIDs:   make(map[string]*Device),
	}
	var mistakes []error
	wrong := func(d *Device, format string, args ...any) {
		mistakes = append(mistakes, fmt.Errorf("device %q: %s", d.Name, fmt.Sprintf(format, args...)))
	}
	for i := range devices {
		d := &devices[i]
		d = &Device{Name: d.Name, Group: d.Group, NoLog: d.NoLog, MACs: d.MACs, Addresses: d.Addresses, Prefixes: d.Prefixes, ClientIDs: d.ClientIDs}
		switch {
		case d.Name == "":
			mistakes = append(mistakes, fmt.Errorf("device %d has no name", i+1))
		case d.Name == thisHost || strings.HasPrefix(d.Name, "mac:") || strings.HasPrefix(d.Name, "addr:") || strings.HasPrefix(d.Name, idPrefix):
			wrong(d, "this name is kept for devices without one")
		case c.names[d.Name] != nil:
			wrong(d, "the name is used twice")
		}
		c.names[d.Name] = d
		if label := Label(d.Name); label != "" && c.labels[label] == nil {
			c.labels[label] = d
		}
		for _, text := range d.MACs {
			mac, ok := parseMAC(text)
			switch other := c.macs[mac]; {
			case !ok:
				wrong(d, "%q is not the MAC address of a device", text)
			case other != nil:
				wrong(d, "MAC address %s is also that of %q", mac, other.Name)
			default:
				c.macs[mac] = d
			}
		}
		for _, a := range d.Addresses {
			a := plain(a)
			switch other := c.addresses[a]; {
			case !a.IsValid() || a.IsUnspecified() || a.IsMulticast():
				wrong(d, "%v is not the address of a device", a)
			case other != nil:
				wrong(d, "address %v is also that of %q", a, other.Name)
			default:
				c.addresses[a] = d
			}
		}
		for _, p := range d.Prefixes {
			p := plainPrefix(p)
			switch other := c.prefixes[p]; {
			case !p.IsValid():
				wrong(d, "a prefix is not valid")
			case other != nil:
				wrong(d, "prefix %v is also that of %q", p, other.Name)
			default:
				c.prefixes[p] = d
			}
		}
	}
	for _, d := range c.names {
		for _, id := range d.ClientIDs {
			switch other := c.clientIDs[id]; {
			case !IsClientID(id):
				wrong(d, "%q is no client id: it must be a DNS label of lower case letters, digits and hyphens", id)
			case other != nil:
				wrong(d, "client id %s is also that of %q", id, other.Name)
			default:
				c.clientIDs[id], c.withIDs[d.Name] = d, d
			}
		}
	}
	c.longest = makePrefixTable(c.prefixes)
	return c, errors.Join(mistakes...)
}

// parseMAC returns text as bindings write it: lower case with colons.
func parseMAC(text string) (mac string, ok bool) {
	hw, err := net.ParseMAC(text)
	if err != nil {
		return "", false
	}
	mac = hw.String()
	return mac, individual(mac)
}

// individual reports whether mac, in lower case with colons, can be that of one
// device: it is neither a group's (the lowest bit of the first octet) nor all
// zero.
func individual(mac string) bool {
	return len(mac) >= len("00:00:00:00:00:00") && strings.IndexByte("02468ace", mac[1]) >= 0 && strings.Trim(mac, "0:") != ""
}

// locallyAdministered reports whether software chose mac (the second bit of the
// first octet): a phone's random one, or a virtual machine's. The 20 octets of
// InfiniBand have no such bit.
func locallyAdministered(mac string) bool {
	return len(mac) <= len("00:00:00:00:00:00:00:00") && strings.IndexByte("26ae", mac[1]) >= 0
}

// plain returns a as the ledger knows addresses: IPv4 unmapped, without a zone.
func plain(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

// plainPrefix returns p masked, an IPv4 one unmapped.
func plainPrefix(p netip.Prefix) netip.Prefix {
	if a := p.Addr(); a.Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
	}
	return p.Masked()
}

// evidence is what is known of an address when it is identified.
type evidence struct {
	addr      netip.Addr
	mac       string // of the neighbour, or of the interface of an own address; "" where unknown
	own       bool   // it is an address of this machine
	contested bool   // several MACs answer for it
	shared    bool   // the MAC holds several IPv4 addresses at once
	gateway   bool   // the MAC is that of a gateway
	leased    bool   // the MAC is that of a lease alone
	guessed   bool   // so it is, and made of the client's DUID
	disputed  bool   // another source says another MAC
	host      string // how the client of the lease calls itself, where the address is its
	called    string // how the router calls the address
}

// identify applies the identity order: the one place where it is written, but for
// client ids, which go with no address (see Ledger.Named).
func (c *configuration) identify(e evidence) Binding {
	b := Binding{Addr: e.addr, MAC: e.mac}
	if e.contested {
		b.MAC = ""
	}
	if d := c.macs[b.MAC]; d != nil {
		return d.named(b, ConfiguredMAC, e.confidence(High))
	}
	if d := c.addresses[e.addr]; d != nil {
		return d.named(b, ConfiguredAddress, Medium)
	}
	if d, _ := c.longest.find(e.addr); d != nil {
		return d.named(b, ConfiguredPrefix, Medium)
	}
	if e.own {
		// A container or virtual machine behind this host's address looks the same.
		return unnamed(b, thisHost, ThisHost, Medium)
	}
	if b.MAC != "" && e.leased {
		return unnamed(b, "mac:"+b.MAC, Lease, e.confidence(High))
	}
	if b.MAC != "" {
		return unnamed(b, "mac:"+b.MAC, Neighbour, e.confidence(High))
	}
	return unnamed(b, "addr:"+e.addr.String(), BareAddress, Low)
}

// confidence returns how far a binding that rests on e's MAC may be relied on.
func (e *evidence) confidence(best Confidence) Confidence {
	switch {
	case e.own:
		return best
	case e.shared || e.gateway || e.disputed || e.guessed:
		return Low
	case e.leased || locallyAdministered(e.mac):
		return min(best, Medium)
	}
	return best
}

// IsMadeUp reports whether software chose mac, and no manufacturer: a phone that makes up
// one for each network, or a virtual machine. "" is not.
func IsMadeUp(mac string) bool { return individual(mac) && locallyAdministered(mac) }

func (d *Device) named(b Binding, s Source, c Confidence) Binding {
	b.Device, b.Name, b.Group, b.NoLog = d.Name, d.Name, d.Group, d.NoLog
	b.Source, b.Confidence = s, c
	return b
}

// unnamed shows a device nobody has named as its identity without the kind.
func unnamed(b Binding, device string, s Source, c Confidence) Binding {
	_, name, kind := strings.Cut(device, ":")
	if !kind {
		name = device
	}
	b.Device, b.Name, b.Source, b.Confidence = device, name, s, c
	return b
}
