package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"telltale/devices"
	"telltale/devices/corrections"
	"telltale/devices/kinds"
	"telltale/sorting"
	"telltale/web"
)

// findKnown finds the device that a person means among those of the ledger and of the
// log: one that was last seen long ago is in the log alone.
func (a *app) findKnown(ctx context.Context, who string) (devices.DeviceStatus, *identities, error) {
	all, ids := a.knownDevices()
	if d, ok := findDevice(all, ids, who); ok {
		return d, ids, nil
	}
	past, ids, err := a.loggedDevices(ctx)
	if err != nil {
		return devices.DeviceStatus{}, ids, err
	}
	if d, ok := findDevice(past, ids, who); ok {
		return d, ids, nil
	}
	if slices.Contains(ids.names, who) {
		return devices.DeviceStatus{}, ids, web.NotFound(fmt.Errorf("nothing is recorded of %s: it has not asked yet, or a split or merge gave all of it to another device ('telltale devices history' lists those)", who))
	}
	return devices.DeviceStatus{}, ids, web.NotFound(unknown("device", who, ids.names, "telltale devices"))
}

// loggedDevices are the devices of all bindings that the log has, and who is who.
func (a *app) loggedDevices(ctx context.Context) ([]devices.DeviceStatus, *identities, error) {
	a.log.Flush()
	bindings, err := a.log.Reader().Bindings(ctx)
	if err != nil {
		return nil, nil, err
	}
	ids := newIdentities(a.cfg.Load(), bindings, a.corrected.All())
	return ids.oneEach(devicesOf(bindings)), ids, nil
}

// devicesOf sorts bindings of the log by device.
func devicesOf(bindings []devices.Binding) (all []devices.DeviceStatus) {
	place := map[string]int{}
	for _, b := range bindings {
		i, ok := place[b.Device]
		if !ok {
			i = len(all)
			place[b.Device] = i
			all = append(all, devices.DeviceStatus{Device: b.Device, First: b.From})
		}
		d := &all[i]
		d.Name = b.Name
		d.Bindings = append(d.Bindings, b)
		if b.From.Before(d.First) {
			d.First = b.From
		}
		if b.Seen.After(d.Last) {
			d.Last = b.Seen
		}
	}
	return all
}

// history returns all that the log knows of a device.
func (a *app) history(ctx context.Context, who string) (web.History, error) {
	now, _, err := a.findKnown(ctx, who)
	if err != nil {
		return web.History{}, err
	}
	all, ids, err := a.loggedDevices(ctx)
	if err != nil {
		return web.History{}, err
	}
	d := now
	if i := slices.IndexFunc(all, func(l devices.DeviceStatus) bool { return l.Device == now.Device }); i >= 0 {
		d.Bindings = all[i].Bindings // also those that the ledger does not keep any more
	}
	sorting.By(d.Bindings, func(b, c devices.Binding) int { return cmp.Or(b.From.Compare(c.From), cmp.Compare(b.ID, c.ID)) })
	h := web.History{Device: deviceOf(&d, ids, a.factsOf(ctx, []devices.DeviceStatus{d}, ids)), Corrections: []web.Correction{}}
	for i := range d.Bindings {
		h.Device.Bindings[i].Device = d.Bindings[i].Device
	}
	corrected := a.corrected.All()
	for i := range corrected {
		if c := &corrected[i]; ids.view.About(c, d.Device) || corrections.SplitDevice(c.ID) == d.Device {
			h.Corrections = append(h.Corrections, correctionOf(c, corrected))
		}
	}
	return h, nil
}

func (a *app) corrections() []web.Correction {
	list := []web.Correction{}
	all := a.corrected.All()
	for i := range all {
		list = append(list, correctionOf(&all[i], all))
	}
	return list
}

// correctionOf returns a correction, one of all, as the API and --json have it.
func correctionOf(c *corrections.Correction, all []corrections.Correction) web.Correction {
	out := web.Correction{
		ID: c.ID, Time: c.Time, Kind: string(c.Kind), Device: c.Device, Name: c.Name, Other: c.Other, From: c.From, Text: c.Text, Of: c.Of, Is: c.Is, Tag: c.Tag,
		Undone: slices.ContainsFunc(all, func(u corrections.Correction) bool { return u.Kind == corrections.Undo && u.Of == c.ID }),
	}
	if c.Kind == corrections.Split {
		out.Created = corrections.SplitDevice(c.ID)
	}
	return out
}

// correct keeps what a person says of a device.
func (a *app) correct(n web.NewCorrection) (web.Correction, error) {
	a.applying.Lock()
	defer a.applying.Unlock()
	ctx := context.Background()
	if n.Device == "" {
		return a.noteHousehold(n)
	}
	d, ids, err := a.findKnown(ctx, n.Device)
	if err != nil {
		return web.Correction{}, err
	}
	c := corrections.Correction{Kind: corrections.Kind(n.Kind), Device: d.Device, Known: ids.others(d.Device), Name: n.Name, From: n.From, Text: n.Text, Is: n.Is, Tag: n.Tag}
	switch c.Kind {
	case corrections.Merge:
		other, ids, err := a.findKnown(ctx, n.Other)
		if err != nil {
			return web.Correction{}, err
		}
		if other.Device == d.Device {
			return web.Correction{}, web.Invalid(fmt.Errorf("%s and %s are one device already", n.Device, n.Other))
		}
		c.Other, c.OtherKnown = other.Device, ids.others(other.Device)
	case corrections.Is:
		if !slices.Contains(kinds.Words, c.Is) {
			return web.Correction{}, web.Invalid(fmt.Errorf("%q is no kind of device: expected one of %s", c.Is, strings.Join(kinds.Words, ", ")))
		}
	case corrections.Discover:
		if since := ids.view.Discovered(d.Device); !since.IsZero() {
			return web.Correction{}, web.Invalid(fmt.Errorf("discovery is on for %s already, since %s", ids.name(d.Device), when(since)))
		}
	case corrections.DiscoverOff:
		if ids.view.Discovered(d.Device).IsZero() {
			return web.Correction{}, web.Invalid(fmt.Errorf("discovery is not on for %s", ids.name(d.Device)))
		}
	case corrections.Tag:
		if slices.Contains(ids.tagsOf(d.Device), c.Tag) {
			return web.Correction{}, web.Invalid(fmt.Errorf("%s is tagged %s already", ids.name(d.Device), c.Tag))
		}
	case corrections.Untag:
		if !slices.Contains(ids.view.Tags(d.Device), c.Tag) {
			why := "it is tagged with " + cmp.Or(strings.Join(ids.tagsOf(d.Device), ", "), "nothing")
			if slices.Contains(ids.tags[d.Device], c.Tag) {
				why = "that tag is in the settings: take it out there"
			}
			return web.Correction{}, web.Invalid(fmt.Errorf("%s has no tag %s given by 'telltale devices tag': %s", ids.name(d.Device), c.Tag, why))
		}
	case corrections.Name, corrections.Split:
		if taken, ok := ids.device(c.Name); ok && c.Name != "" && taken != d.Device {
			says := fmt.Sprintf("another device is called %s already", c.Name)
			if name := ids.name(taken); name != c.Name {
				says = fmt.Sprintf("%s means the device %s already", c.Name, name)
			}
			return web.Correction{}, web.Invalid(fmt.Errorf("%s: take another name, or 'telltale devices merge' makes the two one", says))
		}
	}
	return a.keep(c)
}

// noteHousehold keeps a note that is of no device.
func (a *app) noteHousehold(n web.NewCorrection) (web.Correction, error) {
	c := corrections.Correction{Kind: corrections.Kind(n.Kind), From: n.From, Text: n.Text}
	if c.Kind != corrections.Note {
		return web.Correction{}, web.Invalid(fmt.Errorf("%s is of a device: say of which", n.Kind))
	}
	return a.keep(c)
}

// keep keeps a correction.
func (a *app) keep(c corrections.Correction) (web.Correction, error) {
	if (c.Kind == corrections.Note || c.Kind == corrections.Split) && c.From.After(time.Now()) {
		return web.Correction{}, web.Invalid(fmt.Errorf("a %s is of what was: %s is still to come", c.Kind, when(c.From)))
	}
	c, err := a.corrected.Add(c)
	if err != nil {
		return web.Correction{}, web.Invalid(err)
	}
	a.tellDiscovery(&c, false)
	return correctionOf(&c, nil), a.reselectLocked()
}

// others returns the further identities that a device has.
func (ids *identities) others(device string) (all []string) {
	for _, s := range ids.of[device] {
		base, _ := ids.bySettings(s.Device)
		if s.Device != device && s.From.IsZero() && s.Until.IsZero() && base == device && !strings.HasPrefix(s.Device, "addr:") {
			all = append(all, s.Device)
		}
	}
	return sorted(all)
}

func (a *app) undoCorrection(id uint64) (web.Correction, error) {
	c, err := a.corrected.Undo(id)
	if errors.Is(err, corrections.ErrNothing) {
		if id != 0 {
			err = fmt.Errorf("correction %d is not there, or does not hold any more: 'telltale devices history' lists them", id)
		}
		return web.Correction{}, web.NotFound(err)
	}
	out := correctionOf(&c, nil)
	if out.Undone = err == nil; out.Undone {
		a.tellDiscovery(&c, true)
	}
	a.applying.Lock()
	defer a.applying.Unlock()
	return out, errors.Join(err, a.reselectLocked())
}
