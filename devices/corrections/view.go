package corrections

import (
	"slices"
	"time"

	"telltale/sorting"
)

// A View says which device each identity is at a time, by all corrections in force.
// It never changes.
type View struct {
	base    func(string) string
	alias   map[string]string // identities that corrections know to be another one's
	steps   []step
	names   map[string]string
	kinds   map[string]string
	tags    map[string][]string
	notes   map[string][]Correction
	ignored map[string]bool

	discovered map[string]time.Time // since when
}

// A step is a merge, or a split.
type step struct {
	from, to string
	since    time.Time // of a split; zero for a merge
}

// NewView applies corrections in their order. Base returns the identity that the
// settings give to one today, and whether the settings have it.
func NewView(all []Correction, base func(identity string) (today string, configured bool)) *View {
	v := &View{alias: map[string]string{}, names: map[string]string{}, kinds: map[string]string{}, tags: map[string][]string{}, notes: map[string][]Correction{}, ignored: map[string]bool{}, discovered: map[string]time.Time{}}
	v.base = func(identity string) string {
		today, _ := base(identity)
		if a, ok := v.alias[today]; ok {
			return a
		}
		return today
	}
	in := InForce(all)
	for i := range in {
		v.join(in[i].Device, in[i].Known, base)
		v.join(in[i].Other, in[i].OtherKnown, base)
	}
	for _, c := range in {
		device := v.base(c.Device)
		switch c.Kind {
		case Name:
			v.names[device] = c.Name
		case Note:
			v.notes[device] = append(v.notes[device], c)
		case Is:
			v.kinds[device] = c.Is
		case Tag:
			v.tag(device, c.Tag)
		case Untag:
			v.tags[device] = slices.DeleteFunc(v.tags[device], func(tag string) bool { return tag == c.Tag })
		case Ignore:
			v.ignored[device] = true
		case Discover:
			if v.discovered[device].IsZero() {
				v.discovered[device] = c.Time
			}
		case DiscoverOff:
			delete(v.discovered, device)
		case Split:
			v.steps = append(v.steps, step{device, SplitDevice(c.ID), c.From})
			if c.Name != "" {
				v.names[SplitDevice(c.ID)] = c.Name
			}
		case Merge:
			other := v.base(c.Other)
			if other == device {
				continue // the settings say so by now
			}
			v.steps = append(v.steps, step{from: other, to: device})
			v.notes[device] = append(v.notes[device], v.notes[other]...)
			if !v.discovered[device].IsZero() || !v.discovered[other].IsZero() { // of one of them rows were not kept before
				v.discovered[device] = c.Time
			}
			delete(v.discovered, other)
			_, configured := base(device)
			if name, ok := v.names[other]; ok && v.names[device] == "" && !configured {
				v.names[device] = name
			}
			if kind, ok := v.kinds[other]; ok && v.kinds[device] == "" {
				v.kinds[device] = kind
			}
			for _, tag := range v.tags[other] {
				v.tag(device, tag)
			}
			delete(v.tags, other)
			delete(v.names, other)
			delete(v.kinds, other)
			delete(v.notes, other)
		}
	}
	return v
}

// tag adds a tag to a device.
func (v *View) tag(device, tag string) {
	if !slices.Contains(v.tags[device], tag) {
		v.tags[device] = append(v.tags[device], tag)
	}
}

// join makes the identities that one device had one again, also where the settings
// do not say so any more. One that the settings have today goes before others.
func (v *View) join(device string, known []string, base func(string) (string, bool)) {
	if device == "" || len(known) == 0 {
		return
	}
	root, configured := base(device)
	for _, k := range known {
		if today, is := base(k); is && !configured {
			root, configured = today, true
		}
	}
	for _, k := range append([]string{device}, known...) {
		if today, is := base(k); !is && today != root {
			v.alias[today] = root
		}
	}
}

// Device returns which device an identity was at a time.
func (v *View) Device(identity string, at time.Time) string {
	device := v.base(identity)
	for i := range v.steps {
		if s := &v.steps[i]; device == s.from && !at.Before(s.since) {
			device = s.to
		}
	}
	return device
}

// Changes returns the times at which an identity becomes another device, in order.
func (v *View) Changes(identity string) (times []time.Time) {
	for i := range v.steps {
		if t := v.steps[i].since; !t.IsZero() && v.Device(identity, t) != v.Device(identity, t.Add(-time.Millisecond)) {
			times = append(times, t)
		}
	}
	sorting.By(times, time.Time.Compare)
	return slices.CompactFunc(times, time.Time.Equal)
}

// Splits returns all times at which an identity becomes another device; it is never nil.
func (v *View) Splits() []time.Time {
	times := []time.Time{}
	for i := range v.steps {
		if t := v.steps[i].since; !t.IsZero() {
			times = append(times, t)
		}
	}
	return times
}

// Name returns what a person called a device; "" for nothing.
func (v *View) Name(device string) string { return v.names[device] }

// Kind returns which kind of device a person said that a device is; "" for nothing.
func (v *View) Kind(device string) string { return v.kinds[device] }

// Kinds calls each with every device of which a person said the kind.
func (v *View) Kinds(each func(device, kind string)) {
	for device, kind := range v.kinds {
		each(device, kind)
	}
}

// Tags returns what a person tagged a device with.
func (v *View) Tags(device string) []string { return v.tags[device] }

// Tagged calls each with every device that a person tagged.
func (v *View) Tagged(each func(device string, tags []string)) {
	for device, tags := range v.tags {
		if len(tags) > 0 {
			each(device, tags)
		}
	}
}

// Names calls each with every device that a person has named.
func (v *View) Names(each func(device, name string)) {
	for device, name := range v.names {
		each(device, name)
	}
}

// Ignored reports whether a person wants a device left out.
func (v *View) Ignored(device string) bool { return v.ignored[device] }

// AnyIgnored reports whether there is one.
func (v *View) AnyIgnored() bool { return len(v.ignored) > 0 }

// Discovered returns since when a device's rows of names that no list has are kept longer;
// zero for not.
func (v *View) Discovered(device string) time.Time { return v.discovered[device] }

// Discoveries calls each with every device of which they are.
func (v *View) Discoveries(each func(device string, since time.Time)) {
	for device, since := range v.discovered {
		each(device, since)
	}
}

// Notes returns what a person noted of a device, or of the household for "".
func (v *View) Notes(device string) []Correction { return v.notes[device] }

// About reports whether a correction is of a device, as it is today.
func (v *View) About(c *Correction, device string) bool {
	of := func(identity string) bool {
		if identity == "" {
			return false
		}
		base := v.base(identity)
		if base == device {
			return true
		}
		for i := range v.steps { // one that became part of it
			if s := &v.steps[i]; base == s.from {
				if base = s.to; base == device {
					return true
				}
			}
		}
		return false
	}
	return of(c.Device) || of(c.Other)
}
