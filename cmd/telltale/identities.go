package main

import (
	"cmp"
	"net"
	"net/netip"
	"slices"
	"strings"

	"telltale/config"
	"telltale/devices"
)

// Identities say which devices of the log are one device today: one that got a
// name was known by its MAC before, and may have had another name. Rows keep the
// identity they were written with.
type identities struct {
	today map[string]string   // identity -> the device's identity today, where it is another one
	of    map[string][]string // today's identity -> all there were, itself included
	words map[string]string   // identity, shown name or MAC, in lower case -> today's identity
	names []string            // what a person may type
}

func newIdentities(cfg *config.Config, bindings []devices.Binding) *identities {
	ids := &identities{today: map[string]string{}, of: map[string][]string{}, words: map[string]string{}}
	owner, named := map[string]string{}, map[string]bool{}
	for i := range cfg.Devices {
		d := &cfg.Devices[i]
		named[d.Name] = true
		ids.add(d.Name, d.Name)
		for _, mac := range d.MACs {
			owner[mac] = d.Name
			ids.today["mac:"+mac] = d.Name
			ids.add("mac:"+mac, mac)
		}
		for _, id := range d.ClientIDs {
			ids.today["id:"+id] = d.Name
			ids.add("id:"+id, id)
		}
	}
	for i := range bindings {
		b := &bindings[i]
		if name, ok := owner[b.MAC]; ok && byMAC(b) && !named[b.Device] { // its name before this one
			ids.today[b.Device] = name
		}
	}
	for i := range bindings {
		b := &bindings[i]
		ids.add(b.Device, b.Name)
		if byMAC(b) {
			ids.add(b.Device, b.MAC)
		}
	}
	ids.names = sorted(ids.names)
	return ids
}

// add makes an identity known, with other words for it.
func (ids *identities) add(identity string, words ...string) {
	today := ids.now(identity)
	if !slices.Contains(ids.of[today], identity) {
		ids.of[today] = append(ids.of[today], identity)
	}
	for _, w := range append(words, identity) {
		if w != "" {
			ids.words[strings.ToLower(w)] = today
			ids.names = append(ids.names, w)
		}
	}
}

// now returns the identity that a device has today.
func (ids *identities) now(identity string) string {
	if today, ok := ids.today[identity]; ok {
		return today
	}
	return identity
}

// find returns all identities of the device that a person means. Of an address
// there is none: it means the rows that came from it.
func (ids *identities) find(who string) ([]string, error) {
	if today, ok := ids.words[strings.ToLower(who)]; ok {
		return ids.of[today], nil
	}
	if mac, err := net.ParseMAC(who); err == nil {
		if today, ok := ids.words[mac.String()]; ok {
			return ids.of[today], nil
		}
	}
	if _, err := netip.ParseAddr(strings.TrimPrefix(who, "addr:")); err == nil {
		return nil, nil
	}
	return nil, unknown("device", who, ids.names, "telltale top devices --since 365d")
}

// byMAC reports whether it is the MAC that says which device it is.
func byMAC(b *devices.Binding) bool {
	return b.Source == devices.ConfiguredMAC || b.Source == devices.Neighbour
}

// oneEach returns the devices that a ledger lists, each once: what a device was
// known by before is part of it.
func oneEach(cfg *config.Config, all []devices.DeviceStatus) []devices.DeviceStatus {
	var bindings []devices.Binding
	for i := range all {
		bindings = append(bindings, all[i].Bindings...)
	}
	ids := newIdentities(cfg, bindings)
	var out []devices.DeviceStatus
	place := map[string]int{}
	for _, d := range all {
		today := ids.now(d.Device)
		at, ok := place[today]
		switch {
		case !ok:
			place[today] = len(out)
			out = append(out, d)
		case d.Device == today:
			out[at] = joined(d, out[at])
		default:
			out[at] = joined(out[at], d)
		}
	}
	return out
}

// joined returns a device with the bindings of what it was known by before.
func joined(d, before devices.DeviceStatus) devices.DeviceStatus {
	if d.First.IsZero() || !before.First.IsZero() && before.First.Before(d.First) {
		d.First = before.First
	}
	if before.Last.After(d.Last) {
		d.Last = before.Last
	}
	d.Bindings = slices.Concat(d.Bindings, before.Bindings)
	slices.SortStableFunc(d.Bindings, func(a, b devices.Binding) int { // those in force first
		return cmp.Compare(compareEnd(a), compareEnd(b))
	})
	return d
}

func compareEnd(b devices.Binding) int {
	if b.Until.IsZero() {
		return 0
	}
	return 1
}
