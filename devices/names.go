package devices

import (
	"strings"
	"time"

	"telltale/devices/leases"
)

// Devices that nobody has named are shown by the names that they give themselves. Such a
// name is never their identity, and anybody can choose any: so a part of what they are
// told apart by stands behind it, and no configured name can be taken.

// A NameSource is who said how a device calls itself.
type NameSource uint8

// The stronger a source, the lower its number.
const (
	FromLease  NameSource = 1 // the DHCP server wrote it down
	FromMDNS   NameSource = 2 // it says so to everybody on the link
	FromRouter NameSource = 3 // the router has it in its reverse zone
)

// String returns the word the command line uses.
func (s NameSource) String() string {
	return [...]string{"", "lease", "mdns", "reverse"}[s]
}

// A learnedName is how a device calls itself.
type learnedName struct {
	name   string
	source NameSource
	tick   uint32 // when it was last said
}

// nameTicks is how long a name stands against another one of the same source or a weaker
// one: a device that calls itself something else all the time is shown by one name.
const nameTicks = uint32(time.Hour / tickLength)

// learnName takes it that the device with a MAC calls itself name.
func (l *state) learnName(mac, name string, from NameSource, t tick) {
	if mac == "" || name == "" {
		return
	}
	before, known := l.names[mac]
	switch {
	case known && before.name == name && before.source <= from:
		if before.source == from {
			before.tick = t.number
			l.names[mac] = before
		}
		return
	case known && before.source < from && (before.source == FromLease || t.number-before.tick < unseenTicks):
		return
	case known && before.source == from && from != FromLease && t.number-before.tick < nameTicks:
		return
	case !known && len(l.names) >= l.max:
		return
	}
	l.setName(mac, learnedName{name, from, t.number})
	if !known || before.name != name {
		l.updateStation(l.stations[mac], t)
		if octets, ok := octetsOf(mac); ok {
			l.updateForwarded(octets, t)
		}
	}
}

// setName lets the device with a MAC be called n.
func (l *state) setName(mac string, n learnedName) {
	l.names[mac] = n
	key := strings.ToLower(n.name)
	if first := l.called[key]; first == "" || !strings.EqualFold(l.names[first].name, n.name) {
		l.called[key] = mac
	}
}

// indexNames makes called what names say. Where two MACs have a name, who had it before has it still.
func (l *state) indexNames() {
	before := l.called
	l.called = make(map[string]string, len(l.names))
	for name, mac := range before {
		if strings.EqualFold(l.names[mac].name, name) {
			l.called[name] = mac
		}
	}
	for mac, n := range l.names {
		if key := strings.ToLower(n.name); l.called[key] == "" {
			l.called[key] = mac
		}
	}
}

// forgetNames forgets the names that a source gave, which is not asked any more.
func (l *state) forgetNames(from NameSource, t tick) {
	var gone []string
	for mac, n := range l.names {
		if n.source == from {
			gone = append(gone, mac)
			delete(l.names, mac)
		}
	}
	l.indexNames()
	for _, mac := range gone {
		l.updateStation(l.stations[mac], t)
		if octets, ok := octetsOf(mac); ok {
			l.updateForwarded(octets, t)
		}
	}
}

// sweepNames forgets the names of MACs that are gone.
func (l *state) sweepNames(t tick) {
	for mac, n := range l.names {
		if octets, _ := octetsOf(mac); l.stations[mac] == nil && l.forwarded.byMAC[octets] == nil && t.number-n.tick >= unseenTicks {
			delete(l.names, mac)
		}
	}
	l.indexNames()
}

// calledBy returns how what holds e's address calls itself; "" where that is not known.
func (l *state) calledBy(e *evidence) string {
	switch {
	case e.contested:
		return ""
	case e.host != "":
		return e.host
	case e.mac == "":
		return e.called
	}
	return l.names[e.mac].name
}

// showName lets a binding of a device without a configured name be shown by name.
func (b *Binding) showName(name string) {
	if name != "" {
		b.Name = name + " (" + b.brief() + ")"
	}
}

// brief is what stands behind the name that a device gives itself: the last three octets
// of its MAC, or its address.
func (b *Binding) brief() string {
	if mac, ok := strings.CutPrefix(b.Device, "mac:"); ok && len(mac) >= len("00:00:00") {
		return mac[len(mac)-len("00:00:00"):]
	}
	return b.Addr.String()
}

// ownName returns the name that a binding shows its device by, where the device gave it
// itself.
func (b *Binding) ownName() string {
	name, ok := strings.CutSuffix(b.Name, " ("+b.brief()+")")
	if !ok || b.isConfigured() {
		return ""
	}
	return name
}

// resumeName takes the name that a device had in an earlier run, until it is said again.
func (l *state) resumeName(b *Binding, last uint32) {
	if mac, ok := strings.CutPrefix(b.Device, "mac:"); ok && len(l.names) < l.max {
		if name := b.ownName(); name != "" && leases.HostName(name) == name {
			l.setName(mac, learnedName{name, FromRouter, last})
		}
	}
}
