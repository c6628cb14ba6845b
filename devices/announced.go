package devices

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"telltale/devices/announce"
)

// What devices say of themselves to everybody on their link is kept by the address that
// said it. It names and describes them, and is never their identity: anybody may say
// anything, and under another's address, too.

const (
	maxAnnounced = 1024 // addresses
	maxStrangers = 256  // of them those of which nothing else is known

	mostNames    = 4 // of an address, each of these
	mostModels   = 4
	mostServices = 32
	mostSoftware = 4
	mostClaims   = 4
)

// Announced is what an address said of itself within the last 24 hours, by multicast DNS
// (with DNS-SD) or SSDP. All of it is fit to be shown, and none of it is proven.
type Announced struct {
	Names    []string // what people call the device, then its host names; each the latest first
	Models   []string // as the device says: "MacBookPro18,3"
	Services []string // sorted: "_airplay._tcp", "urn:schemas-upnp-org:device:MediaRenderer:1"
	Software []string // what it says by SSDP that it runs
	Claims   []Claim  // what it said of others, or took from them
	Relays   bool     // it passes on what others say, such as a router between two networks: then only what it says with its own address counts
	Heard    time.Time
}

// A Claim is a name that something gives itself, or another device, although that is not
// its.
type Claim struct {
	Name   string
	Holder string // the device that has the name; of Of, the one that is called so
	Of     bool   // it said that Holder is called Name
}

// Announced returns what addresses said of themselves.
func (l *Ledger) Announced() map[netip.Addr]Announced {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.currentTick()
	all := make(map[netip.Addr]Announced, len(l.announced.by))
	for addr, n := range l.announced.by {
		out := Announced{
			Names: slices.Concat(n.called, n.hosts), Models: slices.Clone(n.models), Services: slices.Sorted(slices.Values(n.services)),
			Software: slices.Clone(n.software), Claims: slices.Clone(n.claims), Relays: n.relays > t.number, Heard: t.at(n.heard),
		}
		all[addr] = out
	}
	return all
}

// announcements are what addresses said of themselves.
type announcements struct {
	by      map[netip.Addr]*announcer
	reports *rate.Limiter // of claims
	beyond  uint64        // messages of addresses for which there was no room
}

func newAnnouncements() announcements {
	return announcements{by: make(map[netip.Addr]*announcer), reports: rate.NewLimiter(rate.Every(10*time.Minute), 6)}
}

// An announcer is what one address said. Lists have the latest first.
type announcer struct {
	mac      string // whose the address was; "" while that is not known
	called   []string
	hosts    []string
	models   []string
	services []string
	software []string
	claims   []Claim
	heard    uint32 // tick
	relays   uint32 // tick until which it passes on what others say; 0: it does not
}

// hear takes a message that an address sent to its link. onLink reports whether an address
// is one of that link.
func (l *state) hear(from netip.Addr, m *announce.Message, onLink func(netip.Addr) bool, t tick) {
	a := l.addresses[from]
	if a != nil && a.own {
		return
	}
	mac := l.macAt(a)
	n := l.announcer(from, mac, t)
	if n == nil {
		l.announced.beyond++
		return
	}
	n.heard = t.number
	own, elsewhere := false, false
	for _, h := range m.Hosts {
		switch of := l.addresses[h.Addr]; {
		case h.Addr == from || mac != "" && l.macAt(of) == mac:
			own = true
			latest(&n.hosts, h.Name, mostNames)
		case !onLink(h.Addr):
			elsewhere = true
		case of != nil && (of.own || l.macAt(of) != ""):
			elsewhere = true
			if device := identityAt(of); device != "" {
				l.nameClaimed(n, Claim{h.Name, device, true}, from, t)
			}
		}
	}
	if len(m.Hosts) > 0 && !own {
		if elsewhere && n.relays <= t.number {
			n.called, n.models, n.services, n.software = nil, nil, nil, nil // who knows whose they are
		}
		if elsewhere {
			n.relays = t.number + unseenTicks
		}
		return
	}
	if !own && n.relays > t.number {
		return
	}
	for _, add := range []struct {
		to   *[]string
		from []string
		most int
	}{{&n.called, m.Names, mostNames}, {&n.models, m.Models, mostModels}, {&n.services, m.Services, mostServices}, {&n.software, m.Software, mostSoftware}} {
		for _, text := range add.from {
			latest(add.to, text, add.most)
		}
	}
	l.nameAnnounced(a, n, t)
}

// latest puts text in front of list, which keeps the latest most.
func latest(list *[]string, text string, most int) {
	rest := slices.DeleteFunc(*list, func(t string) bool { return t == text })
	*list = slices.Insert(rest, 0, text)[:min(len(rest)+1, most)]
}

// announcer returns what an address said, something new where it had not said anything yet
// or belonged to another MAC then; nil where there is no room.
func (l *state) announcer(from netip.Addr, mac string, t tick) *announcer {
	n := l.announced.by[from]
	switch {
	case n != nil && (n.mac == mac || mac == ""):
		return n
	case n != nil && n.mac == "":
		n.mac = mac
		return n
	case n == nil && !l.makeRoom(mac, t):
		return nil
	}
	n = &announcer{mac: mac}
	l.announced.by[from] = n
	return n
}

// makeRoom reports whether there is room for what another address says, and makes it: who
// is silent for an hour gives way to anybody, a stranger to a device that is known. mac is
// that of the device; "" for a stranger.
func (l *state) makeRoom(mac string, t tick) bool {
	strangers := 0
	for _, n := range l.announced.by {
		if n.mac == "" {
			strangers++
		}
	}
	crowd := mac == "" && strangers >= maxStrangers // of strangers: one of them has to go
	if len(l.announced.by) < maxAnnounced && !crowd {
		return true
	}
	var longest netip.Addr
	var first *announcer
	for addr, n := range l.announced.by {
		silent := t.number-n.heard >= nameTicks
		if !silent && (mac == "" || n.mac != "") || crowd && n.mac != "" {
			continue
		}
		if first == nil || n.heard < first.heard {
			longest, first = addr, n
		}
	}
	if first == nil {
		return false
	}
	delete(l.announced.by, longest)
	return true
}

// macAt returns the MAC of the device that has a, which may be nil; "" where that is not
// known, or stands for several.
func (l *state) macAt(a *address) string {
	if a == nil || a.own || a.contested != 0 {
		return ""
	}
	e := evidence{}
	if a.station != nil {
		e.mac = a.station.mac
	}
	e.addLease(a)
	if s := l.stations[e.mac]; s != nil && s.shared != 0 || l.gatewayMACs[e.mac] || e.guessed || e.disputed {
		return ""
	}
	return e.mac
}

// identityAt returns the identity of what has a; "" where nothing has.
func identityAt(a *address) string {
	switch {
	case a.own:
		return thisHost
	case a.holder != nil:
		return a.holder.Device
	}
	return ""
}

// addressMoved takes in that another MAC may have a now: what was said there before was
// said by another, and what is said there may be of a device that is known now.
func (l *state) addressMoved(a *address, t tick) {
	n := l.announced.by[a.addr]
	mac := l.macAt(a)
	if n == nil || mac == "" {
		return
	}
	if n.mac != "" && n.mac != mac {
		delete(l.announced.by, a.addr)
		return
	}
	n.mac = mac
	l.nameAnnounced(a, n, t)
}

// nameAnnounced lets the device that has a, which may be nil, be shown by the first name
// that n gives it and that is no other's.
func (l *state) nameAnnounced(a *address, n *announcer, t tick) {
	mac := l.macAt(a)
	if mac == "" {
		return
	}
	for _, name := range slices.Concat(n.called, n.hosts) {
		if holder := l.hasName(name, mac, a); holder != "" {
			l.nameClaimed(n, Claim{Name: name, Holder: holder}, a.addr, t)
			continue
		}
		l.learnName(mac, name, FromMDNS, t)
		return
	}
}

// hasName returns the device that has a name, if that is another than the one with a MAC
// at a; "" for none.
func (l *state) hasName(name, mac string, a *address) (holder string) {
	if d := l.config.labels[Label(name)]; d != nil && d != l.config.macs[mac] && (a.holder == nil || a.holder.Device != d.Name) {
		return d.Name
	}
	first := l.called[strings.ToLower(name)]
	if first == "" || first == mac || !strings.EqualFold(l.names[first].name, name) || strings.EqualFold(l.names[mac].name, name) {
		return ""
	}
	return "mac:" + first
}

// nameClaimed keeps a claim that n makes at an address, and says it once. The ledger line does not
// have the name: it is the other device's, which may have to be forgotten.
func (l *state) nameClaimed(n *announcer, c Claim, from netip.Addr, t tick) {
	if slices.Contains(n.claims, c) {
		return
	}
	n.claims = slices.Insert(n.claims, 0, c)[:min(len(n.claims)+1, mostClaims)]
	if !l.announced.reports.AllowN(t.time, 1) {
		return
	}
	detail := fmt.Sprintf("it calls itself by the name of %s: it is not shown by that", c.Holder)
	if c.Of {
		detail = fmt.Sprintf("it says what %s is called: that is not believed", c.Holder)
	}
	l.addReport(t, "name-claimed", from.String(), detail)
}

// sweepAnnounced forgets what was said more than 24 hours ago.
func (l *state) sweepAnnounced(t tick) {
	for addr, n := range l.announced.by {
		if t.number-n.heard >= unseenTicks {
			delete(l.announced.by, addr)
		}
	}
}

// forgetAnnounced forgets what devices said of themselves, and what others said of them. were
// are the addresses that they had.
func (l *state) forgetAnnounced(devices map[string]bool, were map[netip.Addr]bool) {
	for addr, n := range l.announced.by {
		if devices["mac:"+n.mac] || were[addr] {
			delete(l.announced.by, addr)
			continue
		}
		n.claims = slices.DeleteFunc(n.claims, func(c Claim) bool { return devices[c.Holder] })
	}
}
