package upstream

import (
	"fmt"
	"slices"
	"strings"

	"telltale/dnswire"
)

// A Forward is zones whose names are asked of servers of their own, and of nobody
// else: the router's .lan, a company's zone, a reverse zone.
type Forward struct {
	Zones   []string // domains; names at and below them
	Servers []Server // in order of preference
}

// A Zone is a zone of a Forward.
type Zone struct {
	Name    string
	Servers []Server
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
	byName map[string]*Zone // by wire form
	most   int              // the most labels that one has
}

// NewZones returns the zones of forwards. An error is a zone that is none or is there
// twice, and a Forward without zones or servers.
func NewZones(forwards []Forward) (*Zones, error) {
	if len(forwards) == 0 {
		return nil, nil
	}
	z := &Zones{byName: make(map[string]*Zone)}
	for i, f := range forwards {
		if len(f.Zones) == 0 || len(f.Servers) == 0 {
			return nil, fmt.Errorf("forward %d: it has no zones or no upstreams", i)
		}
		for _, s := range f.Servers {
			if err := s.check(); err != nil {
				return nil, fmt.Errorf("forward of %s: %w", f.Zones[0], err)
			}
		}
		for _, zone := range f.Zones {
			n, err := dnswire.ParseName(zone)
			if err != nil {
				return nil, fmt.Errorf("forward of %q: %w", zone, err)
			}
			if z.byName[string(n.Wire())] != nil {
				return nil, fmt.Errorf("forward of %s: the zone is there twice", zone)
			}
			z.byName[string(n.Wire())] = &Zone{Name: n.String(), Servers: f.Servers, forward: i}
			z.most = max(z.most, n.Labels())
		}
	}
	return z, nil
}

// Find returns the zone that name is in, of several the one with the most labels; nil
// for none.
func (z *Zones) Find(name *dnswire.Name) *Zone {
	if z == nil {
		return nil
	}
	for k := min(name.Labels(), z.most); k > 0; k-- {
		if zone := z.byName[string(name.Suffix(k))]; zone != nil {
			return zone
		}
	}
	return nil
}

// A forwarding is the zones in force, with whom to ask. It never changes.
type forwarding struct {
	zones *Zones
	sets  []*serverSet // of each Forward
}

// SetForwards asks the servers of forwards for names of their zones from now on. What
// is known of a server that stays is kept; all are probed again.
func (u *Client) SetForwards(forwards []Forward) error {
	zones, err := NewZones(forwards)
	if err != nil {
		return err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.ctx.Err() != nil {
		return nil
	}
	old := u.forwards.Load()
	next := &forwarding{zones: zones}
	for _, f := range forwards {
		before, home := &serverSet{}, soaOf(f.Zones[0])
		for _, set := range old.sets {
			if set.zones[0] == f.Zones[0] {
				before = set
			}
		}
		set := u.newSetLocked(f.Servers, "forward", before, home)
		set.zones = f.Zones
		for _, m := range set.all {
			m.zones = f.Zones
		}
		for i := range set.dropped {
			set.dropped[i].Zones = f.Zones
		}
		set.none = &Error{dnswire.EDENotReady, "no upstream for " + f.Zones[0] + ": each one in forward is this server itself", true}
		next.sets = append(next.sets, set)
		u.log.Info("forward", "zones", f.Zones, "ask", set.ids())
	}
	u.forwards.Store(next)
	u.epoch.Add(1)
	for _, set := range old.sets {
		set.stopOthers(next.sets...)
	}
	return nil
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

// forwardSet returns whom to ask for names of the zone that name is in; nil where it
// is in none.
func (u *Client) forwardSet(name *dnswire.Name) *serverSet {
	f := u.forwards.Load()
	if zone := f.zones.Find(name); zone != nil {
		return f.sets[zone.forward]
	}
	return nil
}

// Asks reports whether m is one of those that are asked for name now. An answer of
// another one is from before a change.
func (u *Client) Asks(m *Upstream, name *dnswire.Name) bool {
	set := u.forwardSet(name)
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
