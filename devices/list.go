package devices

import (
	"cmp"
	"slices"
	"time"

	"telltale/sorting"
)

// status sorts bindings by device. Configured devices that have none are there
// too.
func status(current, past []Binding, config *configuration) []DeviceStatus {
	byDevice := make(map[string]*DeviceStatus)
	of := func(device, name string) *DeviceStatus {
		d := byDevice[device]
		if d == nil {
			d = &DeviceStatus{Device: device, Name: name}
			if c := config.names[device]; c != nil {
				d.Configured, d.Group, d.NoLog = true, c.Group, c.NoLog
			}
			byDevice[device] = d
		}
		return d
	}
	for name := range config.names {
		of(name, name)
	}
	sorting.By(current, func(b, c Binding) int {
		return cmp.Or(b.Addr.Compare(c.Addr), cmp.Compare(b.Prefix.Bits(), c.Prefix.Bits()), cmp.Compare(b.Device, c.Device))
	})
	for _, b := range current {
		d := of(b.Device, b.Name)
		d.Bindings = append(d.Bindings, b)
		if d.Source == 0 {
			d.Group, d.NoLog = b.Group, b.NoLog
		}
		if d.Source == 0 || b.Source.isStronger(d.Source) {
			d.Source, d.Confidence = b.Source, b.Confidence
		}
	}
	sorting.By(past, func(b, c Binding) int { return cmp.Or(c.Until.Compare(b.Until), cmp.Compare(c.ID, b.ID)) })
	for _, b := range past {
		d := of(b.Device, b.Name)
		d.Bindings = append(d.Bindings, b)
	}
	list := make([]DeviceStatus, 0, len(byDevice))
	for _, d := range byDevice {
		for _, b := range d.Bindings {
			d.First = earlier(d.First, b.From)
			d.Last = later(d.Last, b.Seen)
			if name := b.ownName(); name != "" && !slices.Contains(d.Called, name) {
				d.Called = append(d.Called, name)
			}
		}
		list = append(list, *d)
	}
	sorting.By(list, func(d, e DeviceStatus) int {
		return cmp.Or(cmp.Compare(d.Name, e.Name), cmp.Compare(d.Device, e.Device))
	})
	return list
}

// earlier returns the earlier of s and t, of which s may be zero.
func earlier(s, t time.Time) time.Time {
	if s.IsZero() || t.Before(s) {
		return t
	}
	return s
}

func later(s, t time.Time) time.Time {
	if t.After(s) {
		return t
	}
	return s
}
