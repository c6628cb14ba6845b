// Package corrections keeps what people say of devices: names, which of them are one,
// from when on one became another. Each is an event in a file, and can be undone. Rows
// of the log are never rewritten: a View applies the corrections when rows are read.
package corrections

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// A Kind is what a correction does. The words are stored and never change.
type Kind string

const (
	Name        Kind = "name"         // Device is called Name
	Merge       Kind = "merge"        // Other is Device
	Split       Kind = "split"        // from From on, Device is another device
	Ignore      Kind = "ignore"       // Device is left out of what is shown
	Note        Kind = "note"         // Text is remembered of Device, or of the household where there is none; From is when it was so
	Is          Kind = "kind"         // Device is of the kind Is: a phone, for example
	Tag         Kind = "tag"          // Device is tagged with Tag
	Untag       Kind = "untag"        // Device is not tagged with Tag any more
	Undo        Kind = "undo"         // the correction Of does not hold
	Discover    Kind = "discover"     // Device's rows of names that no list has are kept as long as those of listed names
	DiscoverOff Kind = "discover-off" // and not any more

	Forgot Kind = "forgot" // a correction of a device that was forgotten; nothing else is left of it
)

// A Correction is one thing that a person said of a device.
type Correction struct {
	ID     uint64    `json:"id"` // from 1, ascending, never used twice
	Time   time.Time `json:"time"`
	Kind   Kind      `json:"kind"`
	Device string    `json:"device,omitempty"` // identity of the device that it is about
	Known  []string  `json:"known,omitempty"`  // further identities that the device had then

	Name       string    `json:"name,omitempty"`
	Other      string    `json:"other,omitempty"` // identity of the device that is merged
	OtherKnown []string  `json:"other_known,omitempty"`
	From       time.Time `json:"from,omitzero"`
	Text       string    `json:"text,omitempty"`
	Of         uint64    `json:"of,omitempty"`
	Is         string    `json:"is,omitempty"`
	Tag        string    `json:"tag,omitempty"`
}

// When returns the time that a note is about, which is that at which it was made unless
// it says another one.
func (c *Correction) When() time.Time {
	if c.Kind == Note && !c.From.IsZero() {
		return c.From
	}
	return c.Time
}

// splitPrefix begins the identity of a device that a split made.
const splitPrefix = "split:"

// SplitDevice is the identity of the device that split number id made.
func SplitDevice(id uint64) string { return fmt.Sprintf("%s%d", splitPrefix, id) }

// IsSplit reports whether a split made a device.
func IsSplit(device string) bool { return strings.HasPrefix(device, splitPrefix) }

const (
	maxName        = 64
	maxNote        = 500
	maxCorrections = 10_000
)

// check says what is wrong with a correction.
func (c *Correction) check() error {
	switch c.Kind {
	case Name:
		return checkText("name", c.Name, maxName)
	case Note:
		return checkText("note", c.Text, maxNote)
	case Is:
		return checkText("kind", c.Is, maxName)
	case Tag, Untag:
		if strings.ContainsAny(c.Tag, `/\|,~'"`) {
			return errors.New("a tag cannot have slashes, commas, quotes, ~ or | in it: rules name it by $ctag")
		}
		return checkText("tag", c.Tag, maxName)
	case Merge:
		if c.Other == c.Device {
			return errors.New("a device cannot be merged with itself")
		}
	case Split:
		if c.From.IsZero() {
			return errors.New("a split needs a time")
		}
	case Ignore, Discover, DiscoverOff, Undo:
	default:
		return fmt.Errorf("%q is no correction", c.Kind)
	}
	return nil
}

// reserved begins identities, which must not be the name of another device.
var reserved = []string{"mac:", "addr:", "id:", splitPrefix}

func checkText(what, text string, most int) error {
	switch {
	case strings.TrimSpace(text) == "":
		return fmt.Errorf("the %s is empty", what)
	case strings.TrimSpace(text) != text:
		return fmt.Errorf("the %s begins or ends with a space", what)
	case !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }):
		return fmt.Errorf("the %s has characters that cannot be shown", what)
	case utf8.RuneCountInString(text) > most:
		return fmt.Errorf("the %s has more than %d characters", what, most)
	}
	if what == "name" {
		for _, p := range reserved {
			if strings.HasPrefix(strings.ToLower(text), p) {
				return fmt.Errorf("a name cannot begin with %q, as identities do", p)
			}
		}
		_, noAddr := netip.ParseAddr(text)
		_, noMAC := net.ParseMAC(text)
		if noAddr == nil || noMAC == nil {
			return errors.New("an address is no name: commands would take it for whoever has it")
		}
	}
	return nil
}

// InForce returns the corrections that hold: those that nobody has undone.
func InForce(all []Correction) []Correction {
	undone := map[uint64]bool{}
	for i := range all {
		if all[i].Kind == Undo {
			undone[all[i].Of] = true
		}
	}
	var list []Correction
	for _, c := range all {
		if c.Kind != Undo && c.Kind != Forgot && !undone[c.ID] {
			list = append(list, c)
		}
	}
	return list
}

// Mentions reports whether the correction is of one of the devices with these
// identities.
func (c *Correction) Mentions(identities map[string]bool) bool {
	if identities[c.Device] || identities[c.Other] {
		return true
	}
	for _, known := range [][]string{c.Known, c.OtherKnown} {
		for _, k := range known {
			if identities[k] {
				return true
			}
		}
	}
	return c.Kind == Split && identities[SplitDevice(c.ID)]
}
