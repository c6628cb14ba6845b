package main

import (
	"cmp"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"telltale/config"
	"telltale/devices"
	"telltale/devices/corrections"
	"telltale/querylog"
	"telltale/sorting"
	"telltale/web"
)

// correctionsFile is the file of what people say of devices, in data.dir.
const correctionsFile = "corrections.jsonl"

func correctionsPath(cfg *config.Config) string { return filepath.Join(cfg.Data.Dir, correctionsFile) }

// Identities say which devices of the log are one device today: one that got a
// name was known by its MAC before, and may have had another name; and people have
// corrected what the log took for a device. Rows keep the identity they were written
// with.
type identities struct {
	today map[string]string                // identity -> the device's by the settings, where it is another one
	named map[string]bool                  // the devices of the settings
	view  *corrections.View                // what people said
	of    map[string][]querylog.DeviceSpan // a device of today -> all that it was, itself included
	words map[string]string                // identity, shown name or MAC, in lower case -> the device of today
	label map[string]string                // identity -> the name that it was last shown by
	names []string                         // what a person may type
	kinds map[string]string                // device of the settings -> its kind by them
	tags  map[string][]string              // device of the settings -> its tags by them
}

func newIdentities(cfg *config.Config, bindings []devices.Binding, corrected []corrections.Correction) *identities {
	ids := &identities{
		today: map[string]string{}, named: map[string]bool{}, of: map[string][]querylog.DeviceSpan{}, words: map[string]string{}, label: map[string]string{},
		kinds: map[string]string{}, tags: map[string][]string{},
	}
	bindings = slices.Clone(bindings)
	sorting.StableBy(bindings, func(a, b devices.Binding) int { // a word is what it is here before it is what another server called it
		return cmp.Compare(asRecorded(&a), asRecorded(&b))
	})
	owner := map[string]string{}
	for i := range cfg.Devices {
		d := &cfg.Devices[i]
		ids.named[d.Name], ids.kinds[d.Name], ids.tags[d.Name] = true, d.Kind, d.Tags
		for _, mac := range d.MACs {
			owner[mac] = d.Name
			ids.today["mac:"+mac] = d.Name
		}
		for _, id := range d.ClientIDs {
			ids.today["id:"+id] = d.Name
		}
	}
	for i := range bindings {
		b := &bindings[i]
		if name, ok := owner[b.MAC]; ok && byMAC(b) && !ids.named[b.Device] { // its name before this one
			ids.today[b.Device] = name
		}
		ids.label[b.Device] = b.Name
	}
	ids.view = corrections.NewView(corrected, ids.bySettings)
	for i := range cfg.Devices {
		d := &cfg.Devices[i]
		ids.add(d.Name)
		for _, mac := range d.MACs {
			ids.add("mac:"+mac, mac)
		}
		for _, id := range d.ClientIDs {
			ids.add("id:"+id, id)
		}
	}
	for i := range bindings {
		b := &bindings[i]
		ids.add(b.Device, b.Name)
		if byMAC(b) {
			ids.add(b.Device, b.MAC)
		}
	}
	ids.view.Names(func(device, name string) { ids.addWords(device, name) })
	ids.names = sorted(ids.names)
	return ids
}

// asRecorded is 0 for a binding of imported rows and 1 for one that was recorded here.
func asRecorded(b *devices.Binding) int {
	if b.Confidence == devices.Imported {
		return 0
	}
	return 1
}

// bySettings returns the identity that the settings give to one, and whether it is
// that of a device they have.
func (ids *identities) bySettings(identity string) (string, bool) {
	if today, ok := ids.today[identity]; ok {
		identity = today
	}
	return identity, ids.named[identity]
}

// add makes an identity known, with other words for it.
func (ids *identities) add(identity string, words ...string) {
	for _, s := range ids.spans(identity) {
		device := ids.now(identity, s.From)
		if !slices.Contains(ids.of[device], s) {
			ids.of[device] = append(ids.of[device], s)
		}
		if corrections.IsSplit(device) {
			ids.addWords(device, device)
		}
	}
	ids.addWords(ids.last(identity), append(words, identity)...)
}

func (ids *identities) addWords(device string, words ...string) {
	for _, w := range words {
		if w != "" {
			ids.words[strings.ToLower(w)] = device
			ids.names = append(ids.names, w)
		}
	}
}

// spans returns an identity by the times in each of which it is one device.
func (ids *identities) spans(identity string) []querylog.DeviceSpan {
	all := []querylog.DeviceSpan{{Device: identity}}
	for _, t := range ids.view.Changes(identity) {
		all[len(all)-1].Until = t
		all = append(all, querylog.DeviceSpan{Device: identity, From: t})
	}
	return all
}

// now returns which device it is, as we know today, that had an identity at a time.
func (ids *identities) now(identity string, at time.Time) string {
	return ids.view.Device(identity, at)
}

// was returns all that a device of today was, itself included.
func (ids *identities) was(device string) []querylog.DeviceSpan {
	if was := ids.of[device]; len(was) > 0 {
		return was
	}
	return []querylog.DeviceSpan{{Device: device}}
}

// last returns which device an identity is after all splits.
func (ids *identities) last(identity string) string {
	s := ids.spans(identity)
	return ids.now(identity, s[len(s)-1].From)
}

// name returns what a device of today is called: as a person said, or as the settings
// do, or as it was shown last.
func (ids *identities) name(device string) string {
	name := ids.view.Name(device)
	if name == "" && !ids.named[device] {
		name = ids.label[device]
	}
	return cmp.Or(name, device)
}

// corrected returns what corrections say of the device of a row; nil where that is what
// the row says.
func (ids *identities) corrected(r *querylog.Row) *web.CorrectedRow {
	device := ids.now(r.Device, r.Time.Time)
	if before, _ := ids.bySettings(r.Device); device == before && ids.view.Name(device) == "" {
		return nil
	}
	return &web.CorrectedRow{Device: device, Name: ids.name(device)}
}

// ignored returns the devices that a person wants left out.
func (ids *identities) ignored() (all []querylog.DeviceSpan) {
	if !ids.view.AnyIgnored() {
		return nil
	}
	for device, spans := range ids.of {
		if ids.view.Ignored(device) {
			all = append(all, spans...)
		}
	}
	return all
}

// device returns the device of today that a person means.
func (ids *identities) device(who string) (device string, ok bool) {
	if device, ok = ids.words[strings.ToLower(who)]; ok {
		return device, true
	}
	if mac, err := net.ParseMAC(who); err == nil {
		device, ok = ids.words[mac.String()]
	}
	return device, ok
}

// find returns all that the device was that a person means. Of an address there is
// none: it means the rows that came from it.
func (ids *identities) find(who string) ([]querylog.DeviceSpan, error) {
	if device, ok := ids.device(who); ok {
		return ids.of[device], nil
	}
	if _, err := netip.ParseAddr(strings.TrimPrefix(who, "addr:")); err == nil {
		return nil, nil
	}
	return nil, unknown("device", who, ids.names, "telltale top devices --since 365d")
}

// byMAC reports whether it is the MAC that says which device it is.
func byMAC(b *devices.Binding) bool {
	return b.Source == devices.ConfiguredMAC || b.Source == devices.Neighbour || b.Source == devices.Lease || b.Source == devices.Forwarder
}

// bindingsOf returns the bindings of devices.
func bindingsOf(all []devices.DeviceStatus) (bindings []devices.Binding) {
	for i := range all {
		bindings = append(bindings, all[i].Bindings...)
	}
	sorting.By(bindings, func(a, b devices.Binding) int { return cmp.Compare(a.ID, b.ID) })
	return bindings
}

// oneEach returns the devices that a ledger lists, each once: what a device was
// known by before is part of it, and what people said holds.
func (ids *identities) oneEach(all []devices.DeviceStatus) []devices.DeviceStatus {
	var out []devices.DeviceStatus
	place := map[string]int{}
	for _, d := range all {
		for _, part := range ids.parts(d) {
			today := part.Device
			at, ok := place[today]
			switch {
			case !ok:
				place[today] = len(out)
				out = append(out, part)
			case d.Device == today:
				out[at] = joined(part, out[at])
			default:
				out[at] = joined(out[at], part)
			}
		}
	}
	for i := range out {
		d := &out[i]
		if name := ids.view.Name(d.Device); name != "" || corrections.IsSplit(d.Device) {
			d.Name = cmp.Or(name, d.Device)
		}
	}
	return out
}

// parts returns what a device of a ledger is today: one device, or several where
// people split it.
func (ids *identities) parts(d devices.DeviceStatus) (all []devices.DeviceStatus) {
	spans := ids.spans(d.Device)
	for _, s := range spans {
		part := d
		part.Device = ids.now(d.Device, s.From)
		if part.Device != d.Device && !ids.named[part.Device] {
			part.Name = cmp.Or(ids.label[part.Device], part.Device)
		}
		if len(spans) > 1 {
			if part = within(part, s); len(part.Bindings) == 0 {
				continue
			}
		}
		all = append(all, part)
	}
	return all
}

// within returns what a device was in a span.
func within(d devices.DeviceStatus, s querylog.DeviceSpan) devices.DeviceStatus {
	var bindings []devices.Binding
	for _, b := range d.Bindings {
		if !s.Until.IsZero() && !b.From.Before(s.Until) || !b.Until.IsZero() && b.Until.Before(s.From) {
			continue
		}
		if b.From.Before(s.From) {
			b.From = s.From
		}
		if !s.Until.IsZero() && (b.Until.IsZero() || b.Until.After(s.Until)) {
			b.Until = s.Until
			if b.Seen.After(s.Until) {
				b.Seen = s.Until
			}
		}
		bindings = append(bindings, b)
	}
	d.Bindings = bindings
	if d.First.Before(s.From) {
		d.First = s.From
	}
	if !s.Until.IsZero() {
		d.Source, d.Confidence, d.Configured = 0, 0, false
		if d.Last.After(s.Until) {
			d.Last = s.Until
		}
	}
	return d
}

// joined returns a device with the bindings of what it was known by before.
func joined(d, before devices.DeviceStatus) devices.DeviceStatus {
	if d.First.IsZero() || !before.First.IsZero() && before.First.Before(d.First) {
		d.First = before.First
	}
	if before.Last.After(d.Last) {
		d.Last = before.Last
	}
	if d.Source == 0 {
		d.Source, d.Confidence = before.Source, before.Confidence
	}
	d.Configured = d.Configured || before.Configured
	d.Called = slices.Concat(d.Called, before.Called)
	d.Bindings = slices.Concat(d.Bindings, before.Bindings)
	sorting.StableBy(d.Bindings, func(a, b devices.Binding) int { // those in force first
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
