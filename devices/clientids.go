package devices

import (
	"fmt"
	"strings"
	"time"

	"golang.org/x/time/rate"
)

// A client that comes over an encrypted transport may call itself by an id: a DNS label
// in the path of its requests, or in the name by which it calls the server. An id of the
// configuration is the device that has it, wherever it asks from. Any other is an
// identity of its own, unless its address is that of a configured device: nobody gets
// rid of a device's settings by an id that he has made up.

const (
	// maxClaimed bounds the ids that nobody configured: those in force, and the new ones of
	// a day. Who comes with a further one is known by its address.
	maxClaimed = 256

	// SecretLength is how long a client id must be, so that who knows it may ask from
	// everywhere: 20 random characters of a to z and 2 to 7 are 100 bits.
	SecretLength   = 20
	secretDistinct = 8 // different characters; of 20 random ones there are fewer once in a million ids
)

// IsClientID reports whether text can be a client id: a DNS label of lower case
// letters, digits and hyphens.
func IsClientID(text string) bool {
	if text == "" || len(text) > 63 || text[0] == '-' || text[len(text)-1] == '-' {
		return false
	}
	return !strings.ContainsFunc(text, func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' })
}

// IsSecretID reports whether a client id looks as if nobody could guess it.
func IsSecretID(id string) bool {
	var seen [256]bool
	distinct := 0
	for i := range len(id) {
		if !seen[id[i]] {
			seen[id[i]] = true
			distinct++
		}
	}
	return len(id) >= SecretLength && distinct >= secretDistinct
}

// confidenceOfID returns how far a binding by a configured client id may be relied on:
// a short one anybody on the network may try.
func (d *Device) confidenceOfID() Confidence {
	for _, id := range d.ClientIDs {
		if !IsSecretID(id) {
			return Medium
		}
	}
	return High
}

// isConfigured reports whether a binding is that of a configured device.
func (b *Binding) isConfigured() bool {
	switch b.Source {
	case ConfiguredClientID, ConfiguredMAC, ConfiguredAddress, ConfiguredPrefix:
		return true
	}
	return false
}

// isOfID reports whether a binding is of a client id, or of a MAC behind a forwarder, and
// of no address.
func (b *Binding) isOfID() bool {
	return b.Source == ConfiguredClientID || b.Source == ClientID || b.Source == Forwarder
}

// An idTable is what holds each client id. It never changes.
type idTable map[string]*held

// Named returns the binding of a client that calls itself id, where held is that of its
// address: nil where nobody knows who has the address, and that may decide. It may
// lock for a moment, and does not wait for the kernel.
func (l *Ledger) Named(id string, held *Binding) *Binding {
	h := l.published.Load().ids[id]
	switch {
	case h != nil && h.Source == ConfiguredClientID:
	case held == nil && l.byMAC.Load(), held != nil && held.isConfigured():
		return held
	case h == nil:
		l.mu.Lock()
		h = l.claim(id, l.currentTick())
		l.mu.Unlock()
		if h == nil {
			return held
		}
		l.wakePublisher()
		l.flushReports(nil) // it must have been kept before it is used
	}
	h.mark(l.tick.Load())
	return &h.Binding
}

// MayRoam reports whether who calls itself id may ask from any address: the id is that
// of a configured device, and cannot be guessed.
func (l *Ledger) MayRoam(id string) bool {
	h := l.published.Load().ids[id]
	return h != nil && h.Source == ConfiguredClientID && IsSecretID(id)
}

const idPrefix = "id:" // of the identity of an id that nobody configured

// clientIDs are the bindings of client ids, by identity.
type clientIDs struct {
	byDevice map[string]*held
	resumed  map[string]uint32 // ids of an earlier run, and the tick when they were last in use
	new      *rate.Limiter     // ids that nobody configured
	limited  uint32            // tick of the last report of new being empty
	changed  bool              // what is published is not this
}

func newClientIDs() clientIDs {
	return clientIDs{
		byDevice: make(map[string]*held), resumed: make(map[string]uint32),
		new: rate.NewLimiter(rate.Limit(float64(maxClaimed)/(24*time.Hour).Seconds()), maxClaimed),
	}
}

// claim returns what holds id, which nobody configured, a new binding where it is not
// known yet; nil where there are too many.
func (l *state) claim(id string, t tick) *held {
	if h := l.ids.byDevice[idPrefix+id]; h != nil {
		return h
	}
	if d := l.config.clientIDs[id]; d != nil {
		return l.ids.byDevice[d.Name] // configured a moment ago
	}
	if !l.begun || len(l.ids.byDevice)-len(l.config.withIDs) >= maxClaimed || !l.ids.new.AllowN(t.time, 1) {
		if l.ids.limited == 0 || t.number-l.ids.limited >= uint32(time.Hour/tickLength) {
			l.ids.limited = t.number
			l.addReport(t, "bindings-limited", "", fmt.Sprintf("more than %d new client ids within a day: who comes with a further one is known by its address", maxClaimed))
		}
		return nil
	}
	h := l.start(l.config.withSettings(unnamed(Binding{}, idPrefix+id, ClientID, Low)), true, t)
	h.seen.Store(t.number)
	l.ids.byDevice[idPrefix+id], l.ids.changed = h, true
	return h
}

// bindIDs makes the bindings of client ids what the configuration says.
func (l *state) bindIDs(t tick) {
	want := map[string]Binding{}
	for name, d := range l.config.withIDs {
		want[name] = d.named(Binding{}, ConfiguredClientID, d.confidenceOfID())
	}
	for identity := range l.ids.byDevice {
		if id, claimed := strings.CutPrefix(identity, idPrefix); claimed && l.config.clientIDs[id] == nil {
			want[identity] = unnamed(Binding{}, identity, ClientID, Low)
		}
	}
	for id := range l.ids.resumed {
		if l.config.clientIDs[id] == nil {
			want[idPrefix+id] = unnamed(Binding{}, idPrefix+id, ClientID, Low)
		}
	}
	for identity, b := range want {
		want[identity] = l.config.withSettings(b)
	}
	for identity, h := range l.ids.byDevice {
		if b := want[identity]; h.alike(&b) {
			delete(want, identity)
			continue
		}
		l.end(h, t)
		delete(l.ids.byDevice, identity)
	}
	for identity, b := range want {
		h := l.start(b, true, t)
		if id, claimed := strings.CutPrefix(identity, idPrefix); claimed {
			h.seen.Store(max(l.ids.resumed[id], 1))
		}
		l.ids.byDevice[identity] = h
	}
	clear(l.ids.resumed)
	l.ids.changed = true
}

// idTable returns what is to be published: each id with what holds it.
func (l *state) idTable() idTable {
	all := make(idTable, len(l.config.clientIDs)+len(l.ids.byDevice))
	for id, d := range l.config.clientIDs {
		all[id] = l.ids.byDevice[d.Name]
	}
	for identity, h := range l.ids.byDevice {
		if id, claimed := strings.CutPrefix(identity, idPrefix); claimed {
			all[id] = h
		}
	}
	return all
}

// sweepIDs ends the bindings of ids that nobody configured and that were unseen for 24
// hours.
func (l *state) sweepIDs(t tick) {
	for identity, h := range l.ids.byDevice {
		if h.Source == ClientID && int32(t.number-h.seen.Load()) >= int32(unseenTicks) {
			l.end(h, t)
			delete(l.ids.byDevice, identity)
			l.ids.changed = true
		}
	}
}
