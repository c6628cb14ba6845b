package upstream

import (
	"fmt"
	"slices"
	"strings"

	"telltale/dnswire"
)

// A Forward is zones whose names are asked of servers of their own, and of nobody
// else: the router's .lan, a company's zone, a reverse zone. It may be for some devices
// alone, and then also for all names that they ask for.
type Forward struct {
	Zones   []string // domains; names at and below them. None: all names, where For says of whom
	Servers []Server // in order of preference

	For     []string // who alone asks them so, in words for people; none: everybody
	Devices []uint16 // the devices that For names, by their settings (devices.Binding.Group)
	Members []uint16 // those of the groups that For names
}

// A Zone is a zone of a Forward.
type Zone struct {
	Name    string // "": all names
	Servers []Server
	For     []string // see Forward
	labels  int
	forward int // which Forward it is of
}

// Asks returns which servers are asked for names of the zone, as text.
func (z *Zone) Asks() string {
	var all []string
	for _, s := range z.Servers {
		all = append(all, s.id())
	}
	return strings.Join(all, " or ")
}

// Zones are the zones that are forwarded. They never change; nil has none.
type Zones struct {
	zoneTable                       // of everybody
	devices   map[uint16]*zoneTable // of those that have some of their own; nil: none has
}

// A zoneTable is zones by name.
type zoneTable struct {
	byName map[string]*Zone // by wire form
	most   int              // the most labels that one has
	all    *Zone            // of all names; nil: none
}

// longest returns the zone that name is in, of several the one with the most labels; nil
// for none.
func (t *zoneTable) longest(name *dnswire.Name) *Zone {
	for k := min(name.Labels(), t.most); k > 0; k-- {
		if zone := t.byName[string(name.Suffix(k))]; zone != nil {
			return zone
		}
	}
	return nil
}

// add puts a zone into the table unless there is one of the name, and reports whether
// there was none. wire is empty for all names.
func (t *zoneTable) add(wire string, zone *Zone) bool {
	if wire == "" {
		if t.all != nil {
			return false
		}
		t.all = zone
		return true
	}
	if t.byName[wire] != nil {
		return false
	}
	if t.byName == nil {
		t.byName = make(map[string]*Zone)
	}
	t.byName[wire] = zone
	t.most = max(t.most, zone.labels)
	return true
}

// NewZones returns the zones of forwards. An error is a zone that is none or is there
// twice, a Forward without servers, and one without zones that is for everybody.
func NewZones(forwards []Forward) (*Zones, error) {
	if len(forwards) == 0 {
		return nil, nil
	}
	z := &Zones{}
	for _, members := range []bool{false, true} { // what names a device goes before what names its group
		for i := range forwards {
			if err := z.add(forwards, i, members); err != nil {
				return nil, err
			}
		}
	}
	return z, nil
}

// add adds the zones of the i-th of forwards: for everybody and for the devices it
// names, or for the members of its groups.
func (z *Zones) add(forwards []Forward, i int, members bool) error {
	f := &forwards[i]
	if len(f.Zones) == 0 && len(f.For) == 0 || len(f.Servers) == 0 {
		return fmt.Errorf("forward %d: it has no zones or no upstreams", i)
	}
	for _, s := range f.Servers {
		if err := s.check(); err != nil {
			return fmt.Errorf("forward of %s: %w", f.subject(), err)
		}
	}
	zones := f.Zones
	if len(zones) == 0 {
		zones = []string{""}
	}
	for _, name := range zones {
		wire, zone := "", &Zone{Servers: f.Servers, For: f.For, forward: i}
		if name != "" {
			n, err := dnswire.ParseName(name)
			if err != nil {
				return fmt.Errorf("forward of %q: %w", name, err)
			}
			wire, zone.Name, zone.labels = string(n.Wire()), n.String(), n.Labels()
		}
		devices := f.Devices
		if members {
			devices = f.Members
		}
		if len(f.For) == 0 && !members && !z.zoneTable.add(wire, zone) {
			return fmt.Errorf("forward of %s: the zone is there twice", name)
		}
		for _, d := range devices {
			if z.devices == nil {
				z.devices = make(map[uint16]*zoneTable)
			}
			if z.devices[d] == nil {
				z.devices[d] = &zoneTable{}
			}
			z.devices[d].add(wire, zone)
		}
	}
	return nil
}

// subject says what a Forward is about.
func (f *Forward) subject() string {
	if len(f.Zones) > 0 {
		return f.Zones[0]
	}
	return "all names of " + strings.Join(f.For, ", ")
}

// key returns what tells f from other Forwards whose answers differ.
func (f *Forward) key() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%q", f.Zones)
	for i := range f.Servers {
		fmt.Fprintf(&b, " %q %v", f.Servers[i].id(), f.Servers[i].Addresses)
	}
	return b.String()
}

// DeviceZones are the zones as one device has them, by its settings; 0: one without.
type DeviceZones struct {
	zones  *Zones
	device uint16
}

// Of returns the zones as a device has them.
func (z *Zones) Of(device uint16) DeviceZones { return DeviceZones{z, device} }

// own returns the zones that are for the device alone; nil for none.
func (d DeviceZones) own() *zoneTable {
	if d.device == 0 || d.zones == nil || d.zones.devices == nil {
		return nil
	}
	return d.zones.devices[d.device]
}

// Find returns the zone that name is in, of several the one with the most labels, and
// the device's own before that of everybody; nil for none.
func (d DeviceZones) Find(name *dnswire.Name) *Zone {
	if d.zones == nil {
		return nil
	}
	zone := d.zones.longest(name)
	if own := d.own(); own != nil {
		if mine := own.longest(name); mine != nil && (zone == nil || mine.labels >= zone.labels) {
			return mine
		}
	}
	return zone
}

// All returns the zone of all names that are in no other; nil: those are asked of the
// general servers.
func (d DeviceZones) All() *Zone {
	if own := d.own(); own != nil {
		return own.all
	}
	return nil
}

// A forwarding is the zones in force, with whom to ask. It never changes.
type forwarding struct {
	zones  *Zones
	sets   []*serverSet // of each Forward
	views  []uint8      // of each Forward, the number by which its answers are kept apart; 0: they are not, as it is for everybody
	keys   []string     // of each Forward
	byView [1 << 8]*serverSet
}

// MostViews is how many Forwards may be for some devices alone.
const MostViews = 100

// viewOf returns a number for a Forward with that key: the one it had, or one that was
// not in use before.
func (f *forwarding) viewOf(key string, old *forwarding) uint8 {
	for i, k := range old.keys {
		if k == key && old.views[i] != 0 && f.byView[old.views[i]] == nil {
			return old.views[i]
		}
	}
	for view := uint8(1); ; view++ {
		if f.byView[view] == nil && old.byView[view] == nil {
			return view
		}
	}
}

// SetForwards asks the servers of forwards for names of their zones from now on. What
// is known of a server that stays is kept; all are probed again.
func (u *Client) SetForwards(forwards []Forward) error {
	zones, err := NewZones(forwards)
	if err != nil {
		return err
	}
	conditional := 0
	for i := range forwards {
		if len(forwards[i].For) > 0 {
			conditional++
		}
	}
	if conditional > MostViews {
		return fmt.Errorf("forward: %d entries are for some devices alone; at most %d may be", conditional, MostViews)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.ctx.Err() == nil {
		u.setForwardsLocked(forwards, zones)
	}
	return nil
}

// setForwardsLocked asks the servers of forwards, whose zones are these.
func (u *Client) setForwardsLocked(forwards []Forward, zones *Zones) {
	u.forwarded = forwards
	old := u.forwards.Load()
	next := &forwarding{zones: zones}
	for i := range forwards {
		f := &forwards[i]
		set := u.newSetLocked(f.Servers, "forward", old.before(f), f.home())
		set.zones, set.clients, set.inOrder = f.Zones, f.For, true
		for _, m := range set.all {
			m.zones, m.clients = f.Zones, f.For
		}
		for i := range set.dropped {
			set.dropped[i].Zones, set.dropped[i].For = f.Zones, f.For
		}
		set.none = &Error{dnswire.EDENotReady, "no upstream for " + f.subject() + ": each one in forward is this server itself", true}
		if u.lacksRouterLocked(f.Servers) {
			set.none = noRouter()
		}
		next.sets, next.keys, next.views = append(next.sets, set), append(next.keys, f.key()), append(next.views, 0)
		if len(f.For) > 0 {
			view := next.viewOf(f.key(), old)
			next.views[i], next.byView[view] = view, set
		}
		u.log.Info("forward", "zones", f.Zones, "for", f.For, "ask", set.ids())
	}
	u.forwards.Store(next)
	u.epoch.Add(1)
	for _, set := range old.sets {
		set.stopOthers(next.sets...)
	}
}

// before returns the set of f, or of what it was before.
func (o *forwarding) before(f *Forward) *serverSet {
	for _, set := range o.sets {
		if slices.Equal(set.clients, f.For) && slices.Equal(set.zones[:min(1, len(set.zones))], f.Zones[:min(1, len(f.Zones))]) {
			return set
		}
	}
	return &serverSet{}
}

// home returns what each of f's servers can answer; nil: what every resolver can.
func (f *Forward) home() *dnswire.Question {
	if len(f.Zones) == 0 {
		return nil
	}
	return soaOf(f.Zones[0])
}

// soaOf returns the question for the SOA of a zone, which its servers can answer.
func soaOf(zone string) *dnswire.Question {
	q := &dnswire.Question{Type: dnswire.TypeSOA, Class: dnswire.ClassIN}
	if err := q.Name.Set(zone); err != nil {
		panic(err) // NewZones has read it
	}
	return q
}

// Zones returns the zones that are forwarded now.
func (u *Client) Zones() *Zones { return u.forwards.Load().zones }

// View returns the number of what a device is answered by for a name; 0: what everybody
// is. A private name, which no zone is named for, is asked of the device's own servers
// only where one has a private address.
func (u *Client) View(device uint16, name *dnswire.Name, private bool) uint8 {
	f := u.forwards.Load()
	d := f.zones.Of(device)
	if d.own() == nil {
		return 0
	}
	zone := d.Find(name)
	if zone == nil {
		zone = d.All()
		if zone != nil && private && len(f.sets[zone.forward].private) == 0 {
			return 0
		}
	}
	if zone == nil {
		return 0
	}
	return f.views[zone.forward]
}

// Places returns the views in the order of their Forwards. The order is the same after a
// restart with the same settings; a view may not be.
func (u *Client) Places() (views []uint8) {
	for _, view := range u.forwards.Load().views {
		if view != 0 {
			views = append(views, view)
		}
	}
	return views
}

// For returns in words for whom alone a view is; nil: for everybody.
func (u *Client) For(view uint8) []string {
	if set := u.forwards.Load().byView[view]; set != nil {
		return set.clients
	}
	return nil
}

// forwardSet returns whom to ask for names of the zone that q's name is in, and for what q's
// view stands for; nil where that is the general servers.
func (u *Client) forwardSet(q *dnswire.Question) *serverSet {
	f := u.forwards.Load()
	if q.View != 0 {
		if set := f.byView[q.View]; set != nil {
			return set
		}
		return &serverSet{none: &Error{dnswire.EDENotReady, "the settings of forward have changed meanwhile: ask again", true}}
	}
	if f.zones != nil {
		if zone := f.zones.longest(&q.Name); zone != nil {
			return f.sets[zone.forward]
		}
	}
	return nil
}

// Asks reports whether m is one of those that are asked for q now. An answer of
// another one is from before a change.
func (u *Client) Asks(m *Upstream, q *dnswire.Question) bool {
	set := u.forwardSet(q)
	if set == nil {
		set = u.set.Load()
	}
	return set.has(m.health)
}

// has reports whether the server that h is known of is a member.
func (s *serverSet) has(h *health) bool {
	for _, m := range s.all {
		if m.health == h {
			return true
		}
	}
	return false
}

// stopOthers ends what watches the members that are in none of next.
func (s *serverSet) stopOthers(next ...*serverSet) {
	for _, m := range s.all {
		if !slices.ContainsFunc(next, func(n *serverSet) bool { return n.has(m.health) }) {
			m.stop()
		}
	}
}
