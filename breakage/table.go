// Package breakage finds which blocked name it is that a device needs. A Table keeps
// what was blocked of each device in the last hour, in memory alone; Rank orders the
// names by how likely each is the cause; a Search finds the one by trying; Report
// says what was found, for others.
package breakage

import (
	"context"
	"math"
	"net/netip"
	"strings"
	"sync"
	"time"

	"telltale/blocklists"
	"telltale/devices"
	"telltale/dnswire"
	"telltale/querylog"
)

// Bounds of a Table: about 8 MB where all are reached.
const (
	Kept = time.Hour // how long a name is kept after it was asked for last

	maxNames   = 256  // of a device: the one asked for longest ago goes
	maxTotal   = 8192 // of all devices: it goes from the device with the most
	maxWaiting = 512  // lookups of names that are not in the table yet
	nameRoom   = maxWaiting * 64

	takeEvery   = 100 * time.Millisecond // what waits is taken so often at most
	takeFull    = time.Second            // and so often where there was no room for more: a flood of names, each of which pushes another one out
	expireEvery = time.Minute
	bindBudget  = time.Second // for asking whose addresses are; the rest keep the bare address
)

// A Table keeps each device's blocked lookups of the last hour, name by name. It is
// in memory alone, whatever the settings say of the log. Its methods may be called by
// any number of goroutines.
type Table struct {
	bind func(addr netip.Addr, id string) *devices.Binding
	now  func() time.Time
	some chan struct{} // of one: something waits

	taking sync.Mutex // held by who takes what waits; before mu
	taken  batch      // what was taken; the taker's

	mu      sync.Mutex
	devices map[string]map[string]*blocked // by identity, and by name in wire form
	total   int                            // names in devices
	waiting batch
	missed  minutes // lookups that there was no room for

	last      *devices.Binding // of the lookup before; nil for none
	lastNames map[string]*blocked
}

// A batch is lookups that wait to be taken into the table.
type batch struct {
	lookups []lookup
	names   []byte // of the lookups, one behind the other
	full    bool   // there was no room for another one
}

// A lookup waits where its name is not in the table yet, where the policy has changed
// since the name was put there, or where nobody knows yet whose it is.
type lookup struct {
	time        time.Time
	client      netip.Addr
	id          string
	binding     *devices.Binding
	name, alias [2]uint32 // from and to, in batch.names
	verdict     blocklists.Verdict
	counted     bool // it is in the table already
}

// blocked is what the table has of a name that was blocked of a device.
type blocked struct {
	first, last time.Time
	counts      minutes
	generation  uint32 // of the policy whose rule it is
	waits       bool   // the rule of another policy is to be read
	says        Says
}

// Says is what the lists say of a blocked name.
type Says struct {
	Alias string // the alias in the answer that decided; "" for none
	List  string // the deciding rule's
	Line  int
	Rule  string
	Own   bool // it is a rule of the user's own

	Vendor, Product, Purpose, Tier, Breaks string
	Contested                              bool // sources disagree on what breaks
	Annotated                              bool // a rule or a list says what the name is for
}

// A Blocked is what was blocked of one name of a device in a period.
type Blocked struct {
	Name        string
	First, Last time.Time // in the period, First to the minute
	Lookups     int       // in the period
	Burst       int       // the most of them within a minute
	Before      int       // minutes of the hour before the period in which it was blocked
	Says
}

// NewTable returns a table. bind is asked whose an address is where a lookup does not
// say it; now is the clock.
func NewTable(bind func(addr netip.Addr, id string) *devices.Binding, now func() time.Time) *Table {
	t := &Table{bind: bind, now: now, some: make(chan struct{}, 1), devices: map[string]map[string]*blocked{}}
	for _, b := range []*batch{&t.taken, &t.waiting} {
		b.lookups, b.names = make([]lookup, 0, maxWaiting), make([]byte, 0, nameRoom)
	}
	return t
}

// Append takes those of some lookups that were blocked. It copies what it keeps, never
// waits for a disk, and does not allocate: a name that is new waits for Run.
func (t *Table) Append(recs []querylog.Record) {
	for i := range recs {
		if recs[i].Verdict.Action == blocklists.Block {
			t.append(recs[i:])
			return
		}
	}
}

func (t *Table) append(recs []querylog.Record) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range recs {
		if r := &recs[i]; r.Verdict.Action == blocklists.Block {
			t.addLocked(r)
		}
	}
}

func (t *Table) addLocked(r *querylog.Record) {
	var b *blocked // the table has the name, by the rule of another policy
	if r.Binding != nil {
		if r.Binding != t.last {
			t.last, t.lastNames = r.Binding, t.devices[r.Binding.Device]
		}
		if b = t.lastNames[string(r.Name)]; b != nil {
			b.add(r.Time)
			if b.waits || b.generation == r.Verdict.Policy.Generation() {
				return
			}
		}
	}
	w := &t.waiting
	if len(w.lookups) == cap(w.lookups) || len(w.names)+len(r.Name)+len(r.Alias) > cap(w.names) {
		if w.full = true; b == nil {
			t.missed.add(minuteOf(r.Time))
		}
		return
	}
	w.lookups = append(w.lookups, lookup{
		time: r.Time, client: r.Client, id: r.ClientID, binding: r.Binding, verdict: r.Verdict, counted: b != nil,
		name: w.keep(r.Name), alias: w.keep(r.Alias),
	})
	if b != nil {
		b.waits = true // not before: where there is no room, the next lookup is to wait
	}
	if len(w.lookups) == 1 {
		select {
		case t.some <- struct{}{}:
		default: // told already
		}
	}
}

func (b *batch) keep(name []byte) [2]uint32 {
	from := uint32(len(b.names))
	b.names = append(b.names, name...)
	return [2]uint32{from, uint32(len(b.names))}
}

func (b *batch) text(at [2]uint32) []byte { return b.names[at[0]:at[1]] }

func (b *blocked) add(at time.Time) {
	if at.After(b.last) {
		b.last = at
	}
	b.counts.add(minuteOf(at))
}

// Run takes names that are new into the table, and lets go of what is older than Kept,
// until ctx ends.
func (t *Table) Run(ctx context.Context) {
	expire := time.NewTicker(expireEvery)
	defer expire.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-expire.C:
			t.expire()
			continue
		case <-t.some:
		}
		wait := takeEvery
		if t.take() {
			wait = takeFull
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// take takes what waits into the table, and reports whether there was no room for more.
// It may read files, and ask whose an address is: nobody waits for that who answers queries.
func (t *Table) take() (full bool) {
	t.taking.Lock()
	defer t.taking.Unlock()
	return t.takeAll()
}

// takeAll is take for who holds taking.
func (t *Table) takeAll() (full bool) {
	t.mu.Lock()
	t.taken, t.waiting = t.waiting, t.taken
	t.mu.Unlock()
	begun := time.Now()
	for i := range t.taken.lookups {
		l := &t.taken.lookups[i]
		if l.binding == nil && t.bind != nil && time.Since(begun) < bindBudget {
			l.binding = t.bind(l.client, l.id)
		}
		device, says := l.device(), t.saysOf(l)
		t.mu.Lock()
		t.putLocked(device, l, says)
		t.mu.Unlock()
		*l = lookup{} // a policy is memory: hold none
	}
	full = t.taken.full
	t.taken.lookups, t.taken.names, t.taken.full = t.taken.lookups[:0], t.taken.names[:0], false
	return full
}

// device returns the identity of who asked, as a row of the log has it.
func (l *lookup) device() string {
	if l.binding == nil {
		return "addr:" + l.client.String()
	}
	return l.binding.Device
}

// saysOf returns what the lists say of a lookup's name.
func (t *Table) saysOf(l *lookup) (s Says) {
	if alias := t.taken.text(l.alias); len(alias) > 0 {
		s.Alias = string(dnswire.AppendText(nil, alias))
	}
	v := l.verdict
	r := v.Policy.Rule(v.Rule)
	s.List, s.Line, s.Rule, s.Own = strings.Clone(r.List), r.Line, strings.Clone(r.Text), v.Class == blocklists.OwnRule
	if a := v.Policy.Attribution(v); a != nil && v.Level >= blocklists.ByList {
		s.Vendor, s.Product, s.Purpose, s.Tier, s.Breaks = strings.Clone(a.Vendor), strings.Clone(a.Product), strings.Clone(a.Purpose), strings.Clone(a.Tier), strings.Clone(a.Breaks)
		s.Annotated, s.Contested = true, strings.Contains(a.Confidence, "contested")
	}
	return s
}

func (t *Table) putLocked(device string, l *lookup, says Says) {
	name := t.taken.text(l.name)
	b := t.devices[device][string(name)]
	if b == nil {
		if l.counted {
			return // it went meanwhile
		}
		t.makeRoomLocked(device)
		if t.devices[device] == nil {
			t.devices[device], t.last = map[string]*blocked{}, nil
		}
		b = &blocked{first: l.time}
		t.devices[device][string(name)] = b
		t.total++
	}
	if !l.counted {
		b.add(l.time)
	}
	b.says, b.generation, b.waits = says, l.verdict.Policy.Generation(), false
}

// makeRoomLocked lets go of a name where there is no room for another one of a device.
func (t *Table) makeRoomLocked(device string) {
	if len(t.devices[device]) < maxNames {
		if t.total < maxTotal {
			return
		}
		for d, names := range t.devices {
			if len(names) > len(t.devices[device]) {
				device = d
			}
		}
	}
	oldest, at := "", time.Time{}
	for name, b := range t.devices[device] {
		if at.IsZero() || b.last.Before(at) {
			oldest, at = name, b.last
		}
	}
	t.removeLocked(device, oldest)
}

func (t *Table) removeLocked(device, name string) {
	delete(t.devices[device], name)
	t.total--
	if len(t.devices[device]) == 0 {
		delete(t.devices, device)
		t.last, t.lastNames = nil, nil
	}
}

// expire lets go of what was asked for last longer ago than Kept.
func (t *Table) expire() {
	t.mu.Lock()
	defer t.mu.Unlock()
	before := t.now().Add(-Kept)
	for device, names := range t.devices {
		for name, b := range names {
			if b.last.Before(before) {
				t.removeLocked(device, name)
			}
		}
	}
}

// Of returns what was blocked of a device, which had some identities, since a time;
// and how many lookups of anybody's there was no room for.
func (t *Table) Of(spans []querylog.DeviceSpan, since time.Time) (all []Blocked, missed int) {
	t.take()
	t.mu.Lock()
	defer t.mu.Unlock()
	now := minuteOf(t.now())
	from := minuteOf(since)
	byName := map[string]int{}
	for i := range spans {
		for wire, b := range t.devices[spans[i].Device] {
			if b.last.Before(since) || !spans[i].Has(spans[i].Device, b.last) {
				continue
			}
			one := b.since(since, from, now)
			one.Name = shownName(wire)
			at, known := byName[one.Name]
			if !known {
				byName[one.Name] = len(all)
				all = append(all, one)
				continue
			}
			all[at].join(&one)
		}
	}
	missed, _, _ = t.missed.since(from, now)
	return all, missed
}

// shownName returns a name in wire form as text. Records for another port than the
// usual one are asked for under a name of their own, which is blocked as this is.
func shownName(wire string) string {
	var name dnswire.Name
	if err := name.Set(string(dnswire.AppendText(nil, []byte(wire)))); err == nil {
		if owner, ok := name.PortOwner(); ok {
			name = owner
		}
		return name.String()
	}
	return string(dnswire.AppendText(nil, []byte(wire)))
}

// since returns what was blocked from a time on, which is in the minute from.
func (b *blocked) since(at time.Time, from, now int64) Blocked {
	one := Blocked{First: b.first, Last: b.last, Says: b.says}
	var first int64
	one.Lookups, one.Burst, first = b.counts.since(from, now)
	one.Before = b.counts.used(from)
	if b.first.Before(at) {
		one.First = time.Unix(first*60, 0)
		if one.First.Before(at) {
			one.First = at
		}
	}
	one.Lookups = max(one.Lookups, 1)
	return one
}

// join adds what was blocked of the same name under another identity of the device, or
// for another port.
func (b *Blocked) join(o *Blocked) {
	if o.Last.After(b.Last) {
		b.Last, b.Says = o.Last, o.Says
	}
	if o.First.Before(b.First) {
		b.First = o.First
	}
	b.Lookups += o.Lookups
	b.Burst = max(b.Burst, o.Burst)
	b.Before = max(b.Before, o.Before)
}

// Forget lets go of all of a device, which had some identities.
func (t *Table) Forget(spans []querylog.DeviceSpan) {
	t.taking.Lock()
	defer t.taking.Unlock()
	t.takeAll() // what waits may be the device's
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range spans {
		for name, b := range t.devices[spans[i].Device] {
			if spans[i].Has(spans[i].Device, b.first) || spans[i].Has(spans[i].Device, b.last) {
				t.removeLocked(spans[i].Device, name)
			}
		}
	}
}

func minuteOf(t time.Time) int64 { return t.Unix() / 60 }

// minutes counts by the minute, for the last hour. It takes what comes out of order,
// and begins anew where the clock was set back by more than an hour.
type minutes struct {
	last   int64 // the latest minute there is a count of; 0 for none
	counts [hour]uint16
}

const hour = 60 // minutes

func (m *minutes) add(minute int64) {
	switch {
	case minute >= m.last+hour || minute <= m.last-hour:
		*m = minutes{last: minute}
	case minute > m.last:
		for m.last < minute {
			m.last++
			m.counts[m.last%hour] = 0
		}
	}
	if c := &m.counts[minute%hour]; *c < math.MaxUint16 {
		*c++
	}
}

// since returns the sum from a minute on up to now, the most of one minute, and the
// first minute that has any; now where none has.
func (m *minutes) since(from, now int64) (sum, most int, first int64) {
	first = now
	for minute := max(m.last-hour+1, from, 0); minute <= m.last; minute++ {
		n := int(m.counts[minute%hour])
		if n > 0 && sum == 0 {
			first = minute
		}
		sum += n
		most = max(most, n)
	}
	return sum, most, first
}

// used returns how many minutes before one have a count.
func (m *minutes) used(before int64) (n int) {
	for minute := max(m.last-hour+1, 0); minute < before && minute <= m.last; minute++ {
		if m.counts[minute%hour] > 0 {
			n++
		}
	}
	return n
}
