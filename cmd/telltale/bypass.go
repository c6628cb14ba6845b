package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"telltale/config"
	"telltale/devices"
	"telltale/querylog"
	"telltale/sorting"
	"telltale/web"
)

// What a sign that a device asks elsewhere is called. The words never change.
const (
	signResolver     = "asks-resolver"
	signRelay        = "asks-private-relay"
	signSilent       = "silent"
	signFamily       = "one-family"
	signConnectivity = "connectivity-only"
)

// What signs take from a score of 100. What was blocked, or told to be off, takes less:
// the device may have come back to this server.
const (
	pointsResolver        = 40
	pointsResolverBlocked = 10
	pointsRelay           = 40
	pointsRelayOff        = 5
	pointsSilent          = 60
	pointsFamily          = 15
	pointsConnectivity    = 50
)

// When signs are read.
const (
	silentFor      = 6 * time.Hour    // no lookup for so long
	presentFor     = 30 * time.Minute // and known to be here within that
	familyLookups  = 20               // from which one family alone means something
	connectivities = 3                // lookups of connectivity checks, and no other
	mostExamples   = 3                // names that a sign has
)

// relayNames are asked by systems that would send queries through Private Relay.
var relayNames = []string{"mask.icloud.com", "mask-h2.icloud.com"}

// A heard is what a device asked in the last day.
type heard struct {
	lookups      uint64
	last         time.Time
	families     [2]uint64 // lookups over IPv4 and over IPv6
	connectivity uint64    // of them, connectivity checks
	resolvers    map[string]*askedName
	relay        askedName
}

// An askedName is how often something was asked for, how often it was not answered as
// upstreams would, and how often of the others it had an answer: that there is no such name,
// or that nobody knew, is none.
type askedName struct {
	count, stopped, answered uint64
	product                  string
}

// add counts a row.
func (h *heard) add(r *querylog.Row) {
	h.lookups += r.Count
	if r.Last.After(h.last) {
		h.last = r.Last.Time
	}
	if a, err := netip.ParseAddr(r.Client); err == nil {
		if a.Is4() {
			h.families[0] += r.Count
		} else {
			h.families[1] += r.Count
		}
	}
	switch {
	case r.Purpose == "connectivity" && r.Attribution == "rule":
		h.connectivity += r.Count
	case r.Purpose == "canary" && slices.Contains(relayNames, r.Name):
		h.relay.add(r, r.AnsweredFrom == querylog.FromPolicy.String())
	case r.Purpose == "dns-bypass" && r.Attribution == "rule":
		n := h.resolvers[r.Name]
		if n == nil {
			if len(h.resolvers) >= 1000 { // somebody plays
				return
			}
			n = &askedName{product: r.Product}
			if h.resolvers == nil {
				h.resolvers = map[string]*askedName{}
			}
			h.resolvers[r.Name] = n
		}
		n.add(r, r.Verdict == "block")
	}
}

func (n *askedName) add(r *querylog.Row, stopped bool) {
	n.count += r.Count
	switch {
	case stopped:
		n.stopped += r.Count
	case r.Rcode == "NOERROR":
		n.answered += r.Count
	}
}

// signs says what speaks for a device asking elsewhere, too. h is what it asked, nil for
// nothing; watched is since when this server recorded without a gap that is known.
func signs(d *web.Device, h *heard, cfg *config.Config, watched, now time.Time) (all []web.BypassSign) {
	add := func(code string, points int, format string, args ...any) {
		all = append(all, web.BypassSign{Code: code, Points: points, Says: fmt.Sprintf(format, args...)})
	}
	if h == nil {
		h = &heard{}
	}
	if len(h.resolvers) > 0 {
		points, said := pointsResolverBlocked, " and was blocked"
		for _, n := range h.resolvers {
			if n.answered > 0 {
				points, said = pointsResolver, " and was answered"
				break
			}
			if n.stopped < n.count {
				said = " and had no answer"
			}
		}
		add(signResolver, points, "it looked for other resolvers%s: %s", said, examples(h.resolvers))
	}
	if n := h.relay; n.count > 0 {
		switch {
		case n.stopped == n.count:
			add(signRelay, pointsRelayOff, "it asked %d times whether iCloud Private Relay may be used here, and was told that it may not", n.count)
		case n.answered == 0:
			add(signRelay, pointsRelayOff, "it asked for iCloud Private Relay %d times, and had no answer", n.count)
		default:
			add(signRelay, pointsRelay, "it asked for iCloud Private Relay %d times, and was answered: what goes through it is not asked here", n.count)
		}
	}
	silence := silentFor
	switch {
	case !d.Last.After(now.Add(-presentFor)) || watched.After(now.Add(-silence)) || !hasNeighbour(d):
	case h.last.IsZero():
		add(signSilent, pointsSilent, "it is on the network (seen %s), and asked nothing in the last day", when(d.Last))
	case now.Sub(h.last) > silence:
		add(signSilent, pointsSilent, "it is on the network (seen %s), and has asked nothing for %s", when(d.Last), roundHours(now.Sub(h.last)))
	}
	v4, v6 := usedFamilies(d)
	switch {
	case !v4 || !v6 || h.lookups < familyLookups:
	case h.families[1] == 0:
		add(signFamily, pointsFamily, "it has IPv6 addresses, and asked over IPv4 alone: it may have another DNS server for IPv6")
	case h.families[0] == 0:
		add(signFamily, pointsFamily, "it has an IPv4 address, and asked over IPv6 alone: it may have another DNS server for IPv4")
	}
	if cfg.Log.Unlisted > 0 && h.connectivity >= connectivities && h.connectivity == h.lookups {
		add(signConnectivity, pointsConnectivity, "it asked for connectivity checks (%d lookups) and nothing else", h.connectivity)
	}
	return all
}

// examples names the resolvers that were looked for most.
func examples(all map[string]*askedName) string {
	names := mostFirst(all, func(n *askedName) uint64 { return n.count }, len(all))
	var parts []string
	for i, name := range names {
		if i == mostExamples {
			parts = append(parts, fmt.Sprintf("%d more", len(names)-i))
			break
		}
		text := fmt.Sprintf("%s (%d times", name, all[name].count)
		if p := all[name].product; p != "" {
			text += ", " + p
		}
		parts = append(parts, text+")")
	}
	return strings.Join(parts, ", ")
}

// hasNeighbour reports whether the kernel's table of neighbours tells of a device.
func hasNeighbour(d *web.Device) bool {
	return slices.ContainsFunc(d.Bindings, func(b web.Binding) bool {
		return b.Until.IsZero() && b.MAC != "" && b.Source != devices.Lease.String() && b.Source != devices.Forwarder.String()
	})
}

// usedFamilies reports of which families a device has addresses, link-local ones aside.
func usedFamilies(d *web.Device) (v4, v6 bool) {
	for _, b := range d.Bindings {
		a, err := netip.ParseAddr(b.Addr)
		if err != nil || !b.Until.IsZero() || a.IsLinkLocalUnicast() {
			continue
		}
		if a.Is4() {
			v4 = true
		} else {
			v6 = true
		}
	}
	return v4, v6
}

func roundHours(d time.Duration) string { return number(uint64(d/time.Hour), "hour") }

// bypass says of each device how much speaks for all that it asks coming to this server.
func (a *app) bypass(ctx context.Context) (web.Bypass, error) {
	cfg, now := a.cfg.Load(), time.Now()
	out := web.Bypass{Since: now.Add(-24 * time.Hour).UTC(), Until: now.UTC(), Devices: []web.DeviceBypass{}, Servers: []string{}}
	for _, addr := range ownAddresses() {
		if !isShared(addr) {
			out.Servers = append(out.Servers, addr.String())
		}
	}
	a.log.Flush()
	r := a.log.Reader()
	known, ids := a.knownDevices()
	bindings, err := r.Bindings(ctx)
	if err != nil {
		return out, err
	}
	unrecorded := unrecordedUntil(bindings, ids, out.Since, now)
	asked, err := heardIn(ctx, r, ids, out.Since)
	if err != nil {
		return out, err
	}
	watched, err := watchedSince(ctx, r, out.Since, now)
	if err != nil {
		return out, err
	}
	if watched.Before(a.started) {
		watched = a.started // the neighbours of before are not known
	}
	facts, gateways := &deviceFacts{leases: a.ledger.Load().Leases()}, a.ledger.Load().Gateways()
	for i := range known {
		d := deviceOf(&known[i], ids, facts)
		if d.Device == thisHost || d.Ignored || isGateway(&d, gateways) {
			continue
		}
		h := asked[d.Device]
		if h == nil && (d.Last.Before(out.Since) || unrecorded[d.Device].Equal(now)) {
			continue // it was not here, or nothing is recorded of it
		}
		watched := later(watched, unrecorded[d.Device])
		b := web.DeviceBypass{Device: d.Device, Name: d.Name, Seen: d.Last, Score: 100, Signs: append([]web.BypassSign{}, signs(&d, h, cfg, watched, now)...), MACs: macsOf(&d)}
		if h != nil {
			b.Lookups, b.Last = h.lookups, h.last.UTC()
		}
		for _, s := range b.Signs {
			b.Score = max(0, b.Score-s.Points)
		}
		out.Devices = append(out.Devices, b)
	}
	sorting.StableBy(out.Devices, func(b, c web.DeviceBypass) int {
		return cmp.Or(cmp.Compare(b.Score, c.Score), cmp.Compare(b.Name, c.Name))
	})
	return out, nil
}

// heardIn reads what each device of today asked since a time.
func heardIn(ctx context.Context, r *querylog.Reader, ids *identities, since time.Time) (map[string]*heard, error) {
	asked := map[string]*heard{}
	for row, err := range r.Rows(ctx, querylog.Filter{Since: since}) {
		if err != nil {
			return nil, err
		}
		device := ids.now(row.Device, row.Time.Time)
		if asked[device] == nil {
			asked[device] = &heard{}
		}
		asked[device].add(&row)
	}
	return asked, nil
}

// unrecordedUntil returns until when after a time lookups of each device of today were not
// recorded, by log: false: now of those of which they are not.
func unrecordedUntil(bindings []devices.Binding, ids *identities, since, now time.Time) map[string]time.Time {
	bindings = slices.DeleteFunc(slices.Clone(bindings), func(b devices.Binding) bool { return !b.NoLog })
	all := map[string]time.Time{}
	for device, was := range ids.of {
		if spans := (&querylog.Filter{Devices: was}).NotLogged(bindings, since, now); len(spans) > 0 {
			all[device] = spans[len(spans)-1].Until
		}
	}
	return all
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// watchedSince returns from when on no lookup up to now is known to be missing.
func watchedSince(ctx context.Context, r *querylog.Reader, since, now time.Time) (time.Time, error) {
	c, err := r.Coverage(ctx, since, now)
	if err != nil {
		return now, err
	}
	watched := since
	for _, g := range c.Gaps {
		if (g.Effect == querylog.Unrecorded || g.Effect == querylog.Incomplete) && g.Until.After(watched) {
			watched = g.Until.Time
		}
	}
	return watched, nil
}

func isGateway(d *web.Device, gateways []netip.Addr) bool {
	return slices.ContainsFunc(d.Bindings, func(b web.Binding) bool {
		a, err := netip.ParseAddr(b.Addr)
		return err == nil && b.Until.IsZero() && slices.Contains(gateways, a)
	})
}

// macsOf are the MAC addresses that a device has now.
func macsOf(d *web.Device) []string {
	macs := map[string]bool{}
	for _, b := range d.Bindings {
		if b.Until.IsZero() && b.MAC != "" {
			macs[b.MAC] = true
		}
	}
	return append([]string{}, slices.Sorted(maps.Keys(macs))...)
}
