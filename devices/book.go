package devices

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/time/rate"
)

// A moment is a time with its tick, the unit in which uses are remembered.
type moment struct {
	now  time.Time
	tick uint32
}

// at returns when tick was, by today's clock; the zero time for tick 0.
func (m moment) at(tick uint32) time.Time {
	if tick == 0 {
		return time.Time{}
	}
	return m.now.Round(0).Add(-time.Duration(int32(m.tick-tick)) * tickLength)
}

// A book is what a Ledger knows, behind its mutex: what the kernel and the
// configuration say of each address, and the bindings that follow from it.
type book struct {
	config    *configuration
	begun     bool // facts lead to bindings; before, they are only gathered
	nextID    uint64
	max       int // addresses
	addresses map[netip.Addr]*address
	stations  map[string]*station // by MAC
	several   map[*station]bool   // those with more than one IPv4 address
	shared    map[*station]bool   // those whose shared is not 0
	contested map[*address]bool   // those whose contested is not 0

	gateways      []netip.Addr
	gatewayMACs   map[string]bool
	gatewaysMoved bool // a gateway's MAC may have changed

	prefixes    map[netip.Prefix]*held
	prefixTable prefixTable[*held]
	crowds      [2]*held // what holds the IPv4 and IPv6 addresses beyond the bound of new ones

	resumable map[place]Binding // of earlier runs, still open and not taken up yet
	past      []Binding         // ended, the latest last

	fresh    *rate.Limiter // new bindings
	unbound  bool          // a whole table is being read: fresh does not count
	reports  *rate.Limiter
	withheld int    // reports since the last that was written
	limited  uint32 // tick of the last report of fresh being empty
	evicted  uint32 // tick of the last report of an eviction

	// What waits to be published and told.
	changed         map[netip.Addr]*held // nil: nobody holds it any more
	prefixesChanged bool
	untold          []Binding
	news            []news
}

// A place is what a binding covers.
type place struct {
	addr   netip.Addr
	prefix netip.Prefix
}

type news struct{ kind, subject, detail string }

// An address is one the kernel has shown, the user has configured or somebody
// has asked from.
type address struct {
	addr      netip.Addr
	holder    *held    // in force; nil while a prefix covers the address or nobody has asked
	station   *station // the last MAC seen at the address; nil: none
	index     int      // of the address in station.addresses
	link      int      // interface index of that neighbour entry
	listed    bool     // the entry is still in the table
	asked     bool     // somebody has asked from it: it is bound even if bare
	own       bool     // of this machine
	ownMAC    string
	since     uint32 // tick at which the station came to the address
	confirmed uint32 // tick at which the address was last known to be in use, but for holder.seen
	changes   int    // of MAC, each within contestedTicks of the one before
	changedAt uint32 // tick of the last
	contested uint32 // tick until which it is contested; 0: it is not
}

// last returns the tick at which the address was last known to be in use.
func (a *address) last() uint32 {
	if a.holder == nil {
		return a.confirmed
	}
	return max(a.confirmed, a.holder.seen.Load())
}

// A station is a MAC with the addresses it answers for.
type station struct {
	mac       string
	addresses []*address
	ipv4      int    // how many of them
	shared    uint32 // tick until which it counts as holding several IPv4 addresses at once; 0: it does not
}

func newBook(c *configuration, limit int) book {
	return book{
		config:      c,
		nextID:      1,
		max:         limit,
		addresses:   make(map[netip.Addr]*address),
		stations:    make(map[string]*station),
		several:     make(map[*station]bool),
		shared:      make(map[*station]bool),
		contested:   make(map[*address]bool),
		gatewayMACs: make(map[string]bool),
		prefixes:    make(map[netip.Prefix]*held),
		resumable:   make(map[place]Binding),
		fresh:       rate.NewLimiter(rate.Limit(float64(limit)/(24*time.Hour).Seconds()), limit),
		reports:     rate.NewLimiter(rate.Every(time.Minute), 60),
		changed:     make(map[netip.Addr]*held),
	}
}

// evidence gathers what is known of a.
func (l *book) evidence(a *address, tick uint32) evidence {
	e := evidence{addr: a.addr, own: a.own, contested: a.contested > tick}
	if a.own {
		e.mac = a.ownMAC
	} else if a.station != nil {
		e.mac, e.shared, e.gateway = a.station.mac, a.station.shared > tick, l.gatewayMACs[a.station.mac]
	}
	return e
}

// settle makes the binding of a what the facts say now: the one in force stays,
// or it ends and another begins.
func (l *book) settle(a *address, m moment) {
	if !l.begun {
		return
	}
	want := l.config.identify(l.evidence(a, m.tick))
	if a.holder != nil && a.holder.seen.Load() != 0 {
		a.asked = true
	}
	bind := true
	switch want.Source {
	case ConfiguredPrefix:
		bind = false
	case BareAddress:
		bind = a.asked || a.contested > m.tick
	}
	if bind && a.holder != nil && a.holder.alike(&want) {
		return
	}
	l.release(a, m)
	if bind {
		l.hold(a, want, m)
	}
	if !bind && !a.asked && !a.own && a.station == nil {
		delete(l.addresses, a.addr)
	}
}

// release ends the binding of a, if it has one.
func (l *book) release(a *address, m moment) {
	if a.holder == nil {
		return
	}
	a.confirmed = a.last()
	l.end(a.holder, m)
	a.holder = nil
	l.changed[a.addr] = nil
}

// hold begins a binding of a.
func (l *book) hold(a *address, b Binding, m moment) {
	if a.holder = l.start(b, l.pinned(a), m); a.holder == nil {
		return
	}
	a.holder.seen.Store(a.confirmed)
	l.changed[a.addr] = a.holder
}

// start begins b or takes up the binding of an earlier run that says the same.
// It returns nil where there have been too many new bindings, unless b is wanted
// by the configuration.
func (l *book) start(b Binding, wanted bool, m moment) *held {
	at := place{b.Addr, b.Prefix}
	if before, ok := l.resumable[at]; ok {
		delete(l.resumable, at)
		before.Seen = time.Time{}
		if before.alike(&b) {
			return &held{Binding: before}
		}
		l.endBinding(before, m)
	}
	if !wanted && !l.unbound && !l.fresh.AllowN(m.now, 1) {
		l.limit(m)
		return nil
	}
	b.ID, b.From = l.nextID, m.now.Round(0)
	l.nextID++
	l.untold = append(l.untold, b)
	return &held{Binding: b}
}

// end ends the binding of h.
func (l *book) end(h *held, m moment) {
	b := h.Binding
	b.Seen = m.at(h.seen.Load())
	l.endBinding(b, m)
}

// endBinding ends b, which no longer is in force.
func (l *book) endBinding(b Binding, m moment) {
	b.Until = later(b.From, m.now.Round(0))
	l.untold = append(l.untold, b)
	l.past = append(l.past, b)
	if len(l.past) >= 2*maxPast {
		l.past = append(l.past[:0:0], l.past[len(l.past)-maxPast:]...)
	}
}

// pinned reports whether a stays however long it is unseen.
func (l *book) pinned(a *address) bool {
	return a.own || l.config.addresses[a.addr] != nil || slices.Contains(l.gateways, a.addr)
}

// enter returns the address, a new one where it is not known yet.
func (l *book) enter(addr netip.Addr, m moment) *address {
	a := l.addresses[addr]
	if a == nil {
		if len(l.addresses) >= l.max {
			l.evict(m)
		}
		a = &address{addr: addr}
		l.addresses[addr] = a
	}
	return a
}

// leave forgets a and ends its binding.
func (l *book) leave(a *address, m moment) {
	l.release(a, m)
	l.station(a, "", m)
	delete(l.contested, a)
	delete(l.addresses, a.addr)
}

// evict makes room by leaving a sixteenth of the addresses: bare ones first,
// which a stranger can make up, then those longest unseen.
func (l *book) evict(m moment) {
	type candidate struct {
		a    *address
		last uint32
		bare bool
	}
	var list []candidate
	for _, a := range l.addresses {
		if !l.pinned(a) {
			list = append(list, candidate{a, a.last(), a.station == nil})
		}
	}
	slices.SortFunc(list, func(c, d candidate) int {
		if c.bare != d.bare {
			if c.bare {
				return -1
			}
			return 1
		}
		return int(int32(c.last - d.last))
	})
	list = list[:min(len(list), l.max/16+1)]
	for _, c := range list {
		l.leave(c.a, m)
	}
	if len(list) > 0 && (l.evicted == 0 || m.tick-l.evicted >= uint32(time.Hour/tickLength)) {
		l.evicted = m.tick
		l.tellOf(m, "bindings-evicted", "", fmt.Sprintf("more than %d addresses: the longest unseen are forgotten", l.max))
	}
}

// limit says, once an hour, that addresses are no longer bound one by one.
func (l *book) limit(m moment) {
	if l.limited == 0 || m.tick-l.limited >= uint32(time.Hour/tickLength) {
		l.limited = m.tick
		l.tellOf(m, "bindings-limited", "", fmt.Sprintf("more than %d new addresses within a day: further ones are bound together", l.max))
	}
}

// station sets the MAC at a; "" for none.
func (l *book) station(a *address, mac string, m moment) {
	if s := a.station; s != nil {
		last := s.addresses[len(s.addresses)-1]
		s.addresses[a.index], last.index = last, a.index
		s.addresses[len(s.addresses)-1] = nil
		s.addresses = s.addresses[:len(s.addresses)-1]
		l.count(s, a, -1)
		if len(s.addresses) == 0 {
			delete(l.stations, s.mac)
			delete(l.shared, s)
		}
		a.station = nil
	}
	if mac == "" {
		return
	}
	s := l.stations[mac]
	if s == nil {
		s = &station{mac: mac}
		l.stations[mac] = s
	}
	a.station, a.index, a.since = s, len(s.addresses), m.tick
	s.addresses = append(s.addresses, a)
	l.count(s, a, 1)
}

// count keeps the number of s's IPv4 addresses.
func (l *book) count(s *station, a *address, by int) {
	if !a.addr.Is4() {
		return
	}
	s.ipv4 += by
	if s.ipv4 > 1 {
		l.several[s] = true
	} else {
		delete(l.several, s)
	}
}

// hear takes an entry of the neighbour table.
func (l *book) hear(e Entry, m moment) {
	addr := plain(e.Addr)
	a := l.addresses[addr]
	if e.Gone {
		if a != nil && a.link == e.Interface {
			a.listed = false // the binding stays: an entry's expiry says nothing
		}
		return
	}
	if !individual(e.MAC) || !addr.IsValid() || addr.IsMulticast() || addr.IsUnspecified() || addr.IsLoopback() {
		return
	}
	if a == nil {
		if l.begun && !l.unbound && l.fresh.TokensAt(m.now) < 1 {
			l.limit(m)
			return
		}
		a = l.enter(addr, m)
	}
	if a.station != nil && a.station.mac == e.MAC {
		a.link, a.listed = e.Interface, true
		if e.Confirmed {
			a.confirmed = m.tick
		}
	} else {
		if a.station != nil {
			l.contest(a, e, m)
		}
		l.station(a, e.MAC, m)
		a.link, a.listed, a.confirmed = e.Interface, true, m.tick
		l.gatewaysMoved = l.gatewaysMoved || slices.Contains(l.gateways, addr)
	}
	l.settle(a, m)
}

// contest counts a change of MAC at a. A link-local address on two links is two
// devices that cannot be told apart without a zone; any other whose MAC changes
// to and fro is claimed by two.
func (l *book) contest(a *address, e Entry, m moment) {
	if a.changes > 0 && m.tick-a.changedAt >= contestedTicks {
		a.changes = 0
	}
	a.changes++
	a.changedAt = m.tick
	was := a.contested
	switch {
	case a.addr.IsLinkLocalUnicast() && a.addr.Is6() && a.listed && a.link != e.Interface:
		a.contested = m.tick + unseenTicks
	case a.changes >= contestedAfter:
		a.contested = max(a.contested, m.tick+contestedTicks)
	}
	if a.contested == 0 {
		return
	}
	l.contested[a] = true
	if was == 0 {
		l.tellOf(m, "address-contested", a.addr.String(), fmt.Sprintf("both %s and %s answer for it: it is bound bare", a.station.mac, e.MAC))
	}
}

// apply takes news from Neighbours.
func (l *book) apply(c Change, m moment) {
	if c.Lost {
		l.tellOf(m, "neighbours-lost", "", "the kernel dropped changes of the neighbour table: it was read again")
	}
	if c.Links != nil {
		l.move(c.Links, m)
	}
	if c.Whole {
		for _, a := range l.addresses {
			a.listed = false
		}
	}
	l.unbound = c.Whole
	for _, e := range c.Entries {
		l.hear(e, m)
	}
	l.unbound = false
	l.regate(m)
}

// move takes the machine's own addresses and its gateways.
func (l *book) move(links *Links, m moment) {
	own := make(map[netip.Addr]string, len(links.Own))
	for _, o := range links.Own {
		own[plain(o.Addr)] = o.MAC
	}
	for _, a := range l.addresses {
		if _, still := own[a.addr]; a.own && !still {
			a.own, a.ownMAC = false, ""
			l.settle(a, m)
		}
	}
	for addr, mac := range own {
		a := l.enter(addr, m)
		if a.own && a.ownMAC == mac {
			continue
		}
		a.own, a.ownMAC = true, mac
		l.settle(a, m)
	}
	l.gateways = l.gateways[:0:0]
	for _, g := range links.Gateways {
		l.gateways = append(l.gateways, plain(g))
	}
	l.gatewaysMoved = true
}

// regate settles what a gateway's new MAC, or a new gateway, changes.
func (l *book) regate(m moment) {
	if !l.gatewaysMoved {
		return
	}
	l.gatewaysMoved = false
	before := l.gatewayMACs
	l.gatewayMACs = make(map[string]bool)
	for _, g := range l.gateways {
		if a := l.addresses[g]; a != nil && a.station != nil {
			l.gatewayMACs[a.station.mac] = true
		}
	}
	for mac := range before {
		if !l.gatewayMACs[mac] {
			l.settleStation(l.stations[mac], m)
		}
	}
	for mac := range l.gatewayMACs {
		if !before[mac] {
			l.settleStation(l.stations[mac], m)
		}
	}
}

func (l *book) settleStation(s *station, m moment) {
	if s == nil {
		return
	}
	for _, a := range slices.Clone(s.addresses) {
		l.settle(a, m)
	}
}

// holder returns what holds addr; nil: nothing yet.
func (l *book) holder(addr netip.Addr) *held {
	if a := l.addresses[addr]; a != nil && a.holder != nil {
		return a.holder
	}
	if !addr.IsValid() {
		return nil
	}
	h, _ := l.prefixTable.find(addr)
	return h
}

// ask returns what holds addr, binding the bare address if it must.
func (l *book) ask(addr netip.Addr, m moment) *held {
	l.regate(m)
	if h := l.holder(addr); h != nil {
		return h
	}
	a := l.addresses[addr]
	if a == nil {
		if !addr.IsValid() || l.fresh.TokensAt(m.now) < 1 {
			return l.crowd(addr, m)
		}
		a = l.enter(addr, m)
	}
	a.asked, a.confirmed = true, m.tick
	l.settle(a, m)
	if a.holder == nil {
		return l.crowd(addr, m)
	}
	return a.holder
}

// crowd returns the one binding of all the addresses, of addr's family, that are
// beyond the bound of new ones.
func (l *book) crowd(addr netip.Addr, m moment) *held {
	family, prefix := 0, netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	if !addr.Is4() {
		family, prefix = 1, netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	}
	if addr.IsValid() {
		l.limit(m)
	}
	if l.crowds[family] == nil {
		b := unnamed(Binding{Addr: prefix.Addr(), Prefix: prefix}, "addr:"+prefix.String(), BareAddress, Low)
		l.crowds[family] = l.start(b, true, m)
	}
	return l.crowds[family]
}

// pass lets time do its part.
func (l *book) pass(m moment) {
	for a := range l.contested {
		if a.contested <= m.tick {
			a.contested, a.changes = 0, 0
			delete(l.contested, a)
			l.settle(a, m)
		}
	}
	for s := range l.several {
		l.watch(s, m)
	}
	for s := range l.shared {
		if s.shared <= m.tick {
			s.shared = 0
			delete(l.shared, s)
			l.settleStation(s, m)
		}
	}
	if m.tick%sweepTicks == 0 {
		l.sweep(m)
	}
}

// watch sees whether s holds several IPv4 addresses at once: two were used after
// s had come to both. A device that changed its address leaves the old one.
func (l *book) watch(s *station, m moment) {
	if s.shared > m.tick+unseenTicks/2 {
		return // known, and not to be forgotten for long
	}
	type use struct{ since, last uint32 }
	uses := make([]use, 0, s.ipv4)
	for _, a := range s.addresses {
		if a.addr.Is4() {
			uses = append(uses, use{a.since, a.last()})
		}
	}
	slices.SortFunc(uses, func(u, v use) int { return int(int32(u.since - v.since)) })
	several, last := false, uint32(0)
	for _, u := range uses {
		several = several || last > u.since && u.last > u.since
		last = max(last, u.last)
	}
	if !several {
		return
	}
	was := s.shared
	s.shared = m.tick + unseenTicks
	l.shared[s] = true
	if was == 0 {
		l.tellOf(m, "mac-shared", s.mac, fmt.Sprintf("it answers for %d IPv4 addresses: a repeater or proxy ARP hides the devices behind it", s.ipv4))
		l.settleStation(s, m)
	}
}

// sweep ends what was unseen for 24 hours.
func (l *book) sweep(m moment) {
	for _, a := range l.addresses {
		if int32(m.tick-a.last()) >= int32(unseenTicks) && !l.pinned(a) {
			l.leave(a, m)
		}
	}
	for i, h := range l.crowds {
		if h != nil && int32(m.tick-h.seen.Load()) >= int32(unseenTicks) {
			l.end(h, m)
			l.crowds[i] = nil
		}
	}
}

// remember takes the bindings of earlier runs. What they say of addresses seen
// within the last 24 hours counts as if the kernel had said it; older ones are
// taken up again only if the kernel or the configuration says the same.
func (l *book) remember(known []Binding, nextID uint64, m moment) {
	for _, b := range known {
		l.nextID = max(l.nextID, b.ID+1)
		if !b.Until.IsZero() {
			l.past = append(l.past, b)
		}
	}
	l.nextID = max(l.nextID, nextID)
	for _, b := range known {
		if !b.Until.IsZero() {
			continue
		}
		at := place{b.Addr, b.Prefix}
		if double, ok := l.resumable[at]; ok { // the end of the earlier was lost: it ended when the later began
			if double.ID > b.ID {
				b, double = double, b
			}
			l.endBinding(double, moment{later(double.From, b.From), m.tick})
		}
		l.resumable[at] = b
	}
	slices.SortFunc(l.past, func(b, c Binding) int { return b.Until.Compare(c.Until) })
	l.past = l.past[max(0, len(l.past)-maxPast):]
	for _, b := range l.resumable {
		l.recall(b, m)
	}
}

// recall takes an open binding of an earlier run for a fact.
func (l *book) recall(b Binding, m moment) {
	age := max(0, m.now.Sub(later(b.From, b.Seen)))
	if b.Prefix.IsValid() || age >= 24*time.Hour {
		return
	}
	tick := m.tick - uint32(age/tickLength)
	switch b.Source {
	case BareAddress:
		a := l.enter(b.Addr, m)
		a.asked, a.confirmed = true, tick
	case ConfiguredMAC, ConfiguredAddress, Neighbour:
		if !individual(b.MAC) {
			return
		}
		a := l.enter(b.Addr, m)
		l.station(a, b.MAC, moment{m.now, tick})
		a.confirmed = tick
		if b.Confidence == Low { // why is not kept: shared is the cautious reason
			a.station.shared = m.tick + unseenTicks
			l.shared[a.station] = true
		}
	}
}

// begin turns the facts gathered so far into bindings.
func (l *book) begin(m moment) {
	l.begun, l.unbound = true, true
	l.regate(m)
	l.reconfigure(l.config, m)
	l.unbound = false
	for _, b := range l.resumable {
		l.endBinding(b, m)
	}
	clear(l.resumable)
}

// reconfigure puts c in force.
func (l *book) reconfigure(c *configuration, m moment) {
	l.config = c
	l.bindPrefixes(m)
	for addr := range c.addresses {
		l.enter(addr, m)
	}
	for _, a := range l.addresses {
		l.settle(a, m)
	}
}

// bindPrefixes makes the bindings of prefixes what the configuration says. That
// of loopback is this machine's.
func (l *book) bindPrefixes(m moment) {
	want := map[netip.Prefix]Binding{}
	for _, p := range []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")} {
		want[p] = unnamed(Binding{}, thisHost, ThisHost, High)
	}
	for p, d := range l.config.prefixes {
		want[p] = d.named(Binding{}, ConfiguredPrefix, Medium)
	}
	for p, h := range l.prefixes {
		b := want[p]
		b.Addr, b.Prefix = p.Addr(), p
		if h.alike(&b) {
			delete(want, p)
			continue
		}
		l.end(h, m)
		delete(l.prefixes, p)
	}
	for p, b := range want {
		b.Addr, b.Prefix = p.Addr(), p
		l.prefixes[p] = l.start(b, true, m)
	}
	l.prefixTable, l.prefixesChanged = makePrefixTable(l.prefixes), true
}

// inForce returns the bindings in force, with when they were last in use.
func (l *book) inForce(m moment) []Binding {
	list := make([]Binding, 0, len(l.addresses)+len(l.prefixes))
	add := func(h *held, seen uint32) {
		b := h.Binding
		b.Seen = m.at(seen)
		list = append(list, b)
	}
	for _, a := range l.addresses {
		if a.holder != nil {
			add(a.holder, a.last())
		}
	}
	for _, h := range l.prefixes {
		add(h, h.seen.Load())
	}
	for _, h := range l.crowds {
		if h != nil {
			add(h, h.seen.Load())
		}
	}
	return list
}

// tellOf writes a report, unless there were too many.
func (l *book) tellOf(m moment, kind, subject, detail string) {
	if !l.reports.AllowN(m.now, 1) {
		l.withheld++
		return
	}
	if l.withheld > 0 {
		detail = fmt.Sprintf("%s (and %d reports before this one that were not written)", detail, l.withheld)
		l.withheld = 0
	}
	l.news = append(l.news, news{kind, subject, detail})
}
