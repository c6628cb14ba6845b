package resolver

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"slices"
	"time"
)

// Where more queries come than can be answered, the kernel drops some unread,
// which costs a fraction of what reading and shedding them would. What is left to
// see to is which ones it drops:
//
//   - Not those that come last behind a queue so long that every answer comes too
//     late: a reader's queue holds what it can answer within queueTime.
//   - Not those of one client because another sends too much: of a client that
//     sends more than its share the kernel lets only its share through (thin). The
//     others find room.
//
// Until a queue is half full, all of this costs a system call for every eighth
// batch that is full.
const (
	queueTime  = 200 * time.Millisecond
	queryRoom  = 1024                   // octets the kernel keeps for one small query: 768 to 2304
	smallRoom  = 2 * 212_992            // of a socket, octets: Linux's own default
	turnTime   = 300 * time.Millisecond // three periods of a CPU quota
	spellTime  = 10 * time.Second       // without pressure, after which an overload is over
	spellMax   = 10 * time.Minute       // after which one that lasts is noted
	lookEvery  = 8                      // batches, while there is no overload
	maxHeavy   = 64                     // clients counted one by one
	maxThinned = 16                     // clients thinned at a time
	fullUse    = 15. / 16               // of what can be answered, so that the queue empties
	moreShare  = 9. / 8                 // of the share, in a turn without pressure
)

// A backlog is what waits at a socket.
type backlog struct {
	used, room uint32 // octets, as the kernel counts them
	drops      uint32 // packets dropped unread since the socket was made; it wraps
}

// A thinning is a client of whose packets the kernel lets only a part through.
type thinning struct {
	client netip.Addr // the first address of its prefix
	pass   float64    // 0 to 1
}

// A load is what a reader knows of the packets that come to it: how many it can
// answer, whether more come, and who sends more than its share. It thinks in
// turns of turnTime, while an overload lasts. It belongs to its reader.
type load struct {
	prefix6 int // bits that tell IPv6 clients apart

	batches uint32
	active  bool // an overload lasts
	spell   spell
	drops   uint32 // at the last look
	room    int    // likewise, octets
	lossy   bool   // much was lost in the turn before for want of room

	began   time.Time // of this turn
	taken   int       // packets read
	dropped int       // packets not read
	busy    bool      // no batch was short: there was always more
	pressed bool      // the queue was half full
	heavy   map[netip.Addr]int

	share   float64    // packets a client may send in a turn; infinite while all may send all
	thinned []thinning // the heaviest first
}

// A spell is one overload from beginning to end.
type spell struct {
	began, pressed time.Time
	dropped        uint64
	by             map[netip.Addr]float64 // of it, what thinning is thought to have dropped
}

func newLoad(prefix6 int) load {
	return load{prefix6: prefix6, share: math.Inf(1), heavy: make(map[netip.Addr]int, maxHeavy)}
}

// clientOf returns the client that a is an address of: the first address of its
// prefix6 bits, for IPv4 a itself.
func clientOf(a netip.Addr, prefix6 int) netip.Addr {
	if a = a.WithZone(""); a.Is4() {
		return a
	}
	p, err := a.Prefix(prefix6)
	if err != nil {
		return a
	}
	return p.Addr()
}

// look takes in what waits at the socket after a full batch, or at the end of a
// turn, and reports whether there is an overload.
func (l *load) look(b backlog, now time.Time) bool {
	dropped := int(b.drops - l.drops)
	l.drops, l.room = b.drops, int(b.room)
	pressed := b.used >= b.room/2
	if !l.active {
		if !pressed && dropped == 0 {
			return false
		}
		l.active, l.spell = true, spell{began: now, by: map[netip.Addr]float64{}}
		l.begin(now)
	}
	if pressed || dropped > 0 {
		l.spell.pressed = now
	}
	if pressed && !l.pressed && len(l.thinned) == 0 {
		l.begin(now) // what was before says nothing about it
	}
	l.dropped += dropped
	l.spell.dropped += uint64(dropped)
	l.pressed = l.pressed || pressed
	return true
}

// begin begins a turn.
func (l *load) begin(now time.Time) {
	l.began, l.taken, l.dropped, l.busy, l.pressed = now, 0, 0, true, false
	clear(l.heavy)
}

// count counts a packet of this turn. It counts clients as Misra and Gries do:
// never more than were, and at most a 65th of all too few, so that a client below
// its share never seems to be above it.
func (l *load) count(a netip.Addr) {
	l.taken++
	c := clientOf(a, l.prefix6)
	if n, ok := l.heavy[c]; ok || len(l.heavy) < maxHeavy {
		l.heavy[c] = n + 1
		return
	}
	for c, n := range l.heavy {
		if n == 1 {
			delete(l.heavy, c)
		} else {
			l.heavy[c] = n - 1
		}
	}
}

// end ends a turn that is over by now: it sets the share, and whom to thin, and
// reports whether that changed. room is what the socket's queue should have.
func (l *load) end(now time.Time) (room int, changed bool) {
	asked, light, lost := l.demand()
	lossy := lost*8 > float64(l.taken)
	// What was read is all that can be, where the queue was never empty. Where the
	// processor is taken away at times it may be, and yet much is lost.
	loaded := l.busy || lossy && l.lossy
	l.lossy = lossy
	rate := float64(l.taken) / now.Sub(l.began).Seconds()
	room = max(int(rate*queueTime.Seconds()*queryRoom), smallRoom)
	if !l.busy {
		room = max(room, l.room) // more may be possible
	}
	switch {
	case l.pressed && loaded:
		l.share = fairShare(asked, light, float64(l.taken)*fullUse)
	case !l.pressed:
		l.share *= moreShare
	}
	changed = len(l.thinned) > 0
	l.thin(asked, light)
	l.begin(now)
	return room, changed || len(l.thinned) > 0
}

// A wish is how many packets a client sent in a turn.
type wish struct {
	client  netip.Addr
	packets float64
}

// demand returns what clients sent in this turn, read or not, the heaviest first;
// light is what all others sent together, and lost what was dropped for want of
// room and not by thinning.
func (l *load) demand() (asked []wish, light, lost float64) {
	sent := float64(l.taken)
	light = sent
	for c, n := range l.heavy {
		all := float64(n) / l.passOf(c)
		asked = append(asked, wish{c, all})
		light -= float64(n)
		sent += all - float64(n)
		if _, ok := l.spell.by[c]; all > float64(n) && (ok || len(l.spell.by) < maxHeavy) {
			l.spell.by[c] += all - float64(n)
		}
	}
	lost = max(0, float64(l.taken+l.dropped)-sent)
	alike := 1 + lost/max(sent, 1) // who finds no room is chance
	for i := range asked {
		asked[i].packets *= alike
	}
	slices.SortFunc(asked, func(a, b wish) int {
		return cmp.Or(cmp.Compare(b.packets, a.packets), a.client.Compare(b.client))
	})
	return asked, light * alike, lost
}

// passOf returns the part of c's packets that comes through.
func (l *load) passOf(c netip.Addr) float64 {
	for _, t := range l.thinned {
		if t.client == c {
			return t.pass
		}
	}
	return 1
}

// thin chooses whom to thin, so that none of asked sends more than the share. If
// all send more, nobody has to make room for anybody.
func (l *load) thin(asked []wish, light float64) {
	l.thinned = l.thinned[:0]
	if light == 0 && (len(asked) == 0 || asked[len(asked)-1].packets > l.share) {
		l.share = math.Inf(1)
	}
	for _, w := range asked[:min(len(asked), maxThinned)] {
		if w.packets > l.share && !w.client.IsLoopback() && w.client.IsValid() {
			l.thinned = append(l.thinned, thinning{w.client, l.share / w.packets})
		}
	}
	if len(l.thinned) == 0 {
		l.share = math.Inf(1)
	}
}

// fairShare returns the most that each client may have, so that all together have
// capacity, and none gives way for another that has more (max-min fairness).
// asked has the heaviest first. It is infinite where there is enough for all, and
// never below what equal parts for maxHeavy would be, so that a client needs no
// more than its equal part of the capacity to be safe, however many there are.
func fairShare(asked []wish, light, capacity float64) float64 {
	left := capacity - light
	for n := len(asked); n > 0; n-- {
		part := left / float64(n)
		if asked[n-1].packets > part {
			return max(part, capacity/maxHeavy)
		}
		left -= asked[n-1].packets
	}
	return math.Inf(1)
}

// over reports whether an overload has ended.
func (l *load) over(now time.Time) bool {
	return len(l.thinned) == 0 && now.Sub(l.spell.pressed) >= spellTime
}

// close ends the overload there is, if any, and returns what there is to say.
func (l *load) close(now time.Time) (notes []note) {
	if l.active {
		notes = l.spell.notes()
	}
	l.active, l.spell = false, spell{began: now, by: map[netip.Addr]float64{}}
	return notes
}

// A note is for the quality ledger: what it is about, and what there is to say.
type note struct{ subject, detail string }

// notes says what an overload cost, in all and by client.
func (s *spell) notes() []note {
	if s.dropped == 0 {
		return nil
	}
	when := fmt.Sprintf("between %s and %s", s.began.UTC().Format(time.RFC3339), s.pressed.UTC().Format(time.RFC3339))
	all := []note{{"", fmt.Sprintf("%d queries were dropped unread %s: more came than could be answered", s.dropped, when)}}
	for _, c := range slices.SortedFunc(maps.Keys(s.by), netip.Addr.Compare) {
		all = append(all, note{c.String(), fmt.Sprintf("about %.0f of its queries were dropped unread %s: it sent more than its share", s.by[c], when)})
	}
	return all
}

// weigh takes the last batch, of n packets, into account: it keeps the reader's
// queue short and its clients apart while more comes than it can answer.
func (r *reader) weigh(n int) {
	l := &r.load
	if !l.active {
		if l.batches++; n < batchSize || l.batches%lookEvery != 0 || !r.look() {
			return
		}
		r.conn.patience(turnTime) // a turn ends even if nothing comes any more
	} else if n == batchSize {
		r.look()
	}
	l.busy = l.busy && n == batchSize
	for i := range n {
		l.count(r.queries[i].client.Addr())
	}
	if r.now.Sub(l.began) >= turnTime {
		r.endTurn()
	}
}

// look looks at what waits at the socket, and reports whether there is an
// overload.
func (r *reader) look() bool {
	b := r.conn.backlog()
	if b.room == math.MaxUint32 {
		return r.load.active // the kernel cannot say: the next look takes all in
	}
	before := r.load.drops
	active := r.load.look(b, r.now)
	r.srv.stats.unread.Add(uint64(r.load.drops - before))
	return active
}

func (r *reader) endTurn() {
	l := &r.load
	r.look()
	room, changed := l.end(r.now)
	if room != l.room {
		r.conn.setRoom(room)
	}
	if changed {
		r.conn.thin(l.thinned, l.prefix6)
	}
	if l.over(r.now) {
		r.noteOverload()
		r.conn.patience(0)
	} else if r.now.Sub(l.spell.began) >= spellMax {
		r.noteOverload()
		l.active, l.spell.pressed = true, r.now
	}
}

// noteOverload ends the overload there is, if any, and has it recorded, but
// nothing of a device that opted out of the log.
func (r *reader) noteOverload() {
	maps.DeleteFunc(r.load.spell.by, func(c netip.Addr, _ float64) bool {
		b := r.srv.binding(c)
		return b != nil && b.NoLog
	})
	for _, n := range r.load.close(r.now) {
		r.srv.logger.Warn("overload: "+n.detail, "client", n.subject)
		r.srv.report("overload", n.subject, n.detail)
	}
}
