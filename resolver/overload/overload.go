// Package overload decides which queries go unread where more come than can be
// answered. The kernel drops those, which costs a fraction of what reading and
// shedding them would. What is left to see to is which ones it drops:
//
//   - Not those that come last behind a queue so long that every answer comes too
//     late: a socket's queue holds what its reader can answer within queueTime.
//   - Not those of one client because another sends too much: of a client that
//     sends more than its share the kernel lets only its share through (RateLimit).
//     The others find room.
//
// Until a queue is half full, all of this costs a system call for every eighth
// batch that is full.
package overload

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"slices"
	"time"

	"telltale/sorting"
)

const (
	queueTime        = 200 * time.Millisecond
	queryMemory      = 1024                   // octets the kernel keeps for one small query: 768 to 2304
	minReceiveBuffer = 2 * 212_992            // of a socket, octets: Linux's own default
	interval         = 300 * time.Millisecond // three periods of a CPU quota
	episodeQuiet     = 10 * time.Second       // without pressure, after which an overload is over
	episodeMax       = 10 * time.Minute       // after which one that lasts is reported
	observeEvery     = 8                      // full batches, while there is no overload
	maxTopClients    = 64                     // clients counted one by one
	maxRateLimits    = 16                     // clients limited at a time
	fullUse          = 15. / 16               // of what can be answered, so that the queue empties
	shareGrowth      = 9. / 8                 // of the share, in an interval without pressure
)

// A Backlog is what waits at a socket.
type Backlog struct {
	Used, Buffer uint32 // octets, as the kernel counts them; Buffer is UnknownBuffer where the kernel cannot say
	Drops        uint32 // packets dropped unread since the socket was made; it wraps
}

// UnknownBuffer is the Buffer of a backlog that the kernel does not tell.
const UnknownBuffer = math.MaxUint32

// A RateLimit is a client of whose packets the kernel lets only a part through.
type RateLimit struct {
	Client netip.Addr // the first address of its prefix
	Pass   float64    // 0 to 1
}

// A Socket is what a Monitor watches.
type Socket interface {
	// Backlog returns what waits at the socket.
	Backlog() Backlog
	// SetReceiveBuffer sets how many octets may wait, as the kernel counts them.
	SetReceiveBuffer(octets int)
	// SetTimeout bounds how long a receive waits for packets; 0 does not.
	SetTimeout(time.Duration)
	// LimitRates makes the kernel drop packets of some clients, and of no others.
	LimitRates(limits []RateLimit, prefix6 int)
}

// A Batch is the packets that were read together.
type Batch interface {
	Client(i int) netip.Addr // who sent the i-th
}

// Options are what a Monitor needs. The zero value of a func does nothing.
type Options struct {
	Socket  Socket
	Prefix6 int // bits that tell IPv6 clients apart

	// Dropped counts packets that the kernel dropped unread.
	Dropped func(packets uint64)
	// Report tells what an overload cost; client is "" for all together.
	Report func(client, detail string)
	// Unnamed reports whether a client must not be named in reports.
	Unnamed func(netip.Addr) bool
}

// A Monitor is what a reader knows of the packets that come to its socket: how
// many it can answer, whether more come, and who sends more than its share. While
// an overload lasts it decides anew after each interval. It belongs to its reader.
type Monitor struct {
	options Options
	prefix6 int

	fullBatches uint32
	active      bool // an overload lasts
	episode     episode
	drops       uint32 // when last observed
	buffer      int    // when last observed, octets
	lossy       bool   // much was lost in the last interval for want of room

	began      time.Time // of this interval
	taken      int       // packets read
	dropped    int       // packets not read
	busy       bool      // no batch was short: there was always more
	pressed    bool      // the queue was half full
	topClients map[netip.Addr]int

	share  float64     // packets a client may send in an interval; infinite while all may send all
	limits []RateLimit // those who send most first
}

// An episode is one overload from beginning to end.
type episode struct {
	began, pressed time.Time
	dropped        uint64
	by             map[netip.Addr]float64 // of it, what rate limits are thought to have dropped
}

// NewMonitor returns a monitor of a socket that has no overload yet.
func NewMonitor(o Options) *Monitor {
	if o.Dropped == nil {
		o.Dropped = func(uint64) {}
	}
	if o.Report == nil {
		o.Report = func(client, detail string) {}
	}
	if o.Unnamed == nil {
		o.Unnamed = func(netip.Addr) bool { return false }
	}
	return &Monitor{options: o, prefix6: o.Prefix6, share: math.Inf(1), topClients: make(map[netip.Addr]int, maxTopClients)}
}

// ClientOf returns the client that a is an address of: the first address of its
// prefix6 bits, for IPv4 a itself.
func ClientOf(a netip.Addr, prefix6 int) netip.Addr {
	if a = a.WithZone(""); a.Is4() {
		return a
	}
	p, err := a.Prefix(prefix6)
	if err != nil {
		return a
	}
	return p.Addr()
}

// Account takes the last batch, of n packets, into account: it keeps the socket's
// queue short and its clients apart while more comes than can be answered. full
// says that the batch could not have held more.
func (m *Monitor) Account(batch Batch, n int, full bool, now time.Time) {
	if !m.active {
		if !full {
			return
		}
		if m.fullBatches++; m.fullBatches%observeEvery != 0 || !m.observeSocket(now) {
			return
		}
		m.options.Socket.SetTimeout(interval) // an interval ends even if nothing comes any more
	} else if full {
		m.observeSocket(now)
	}
	m.busy = m.busy && full
	for i := range n {
		m.count(batch.Client(i))
	}
	if now.Sub(m.began) >= interval {
		m.finishInterval(now)
	}
}

// Close takes in what was dropped since the last batch, and reports the overload
// there is, if any. It is called when the socket is read no more.
func (m *Monitor) Close(now time.Time) {
	m.observeSocket(now)
	m.reportEpisode(now)
}

// observeSocket asks the socket what waits there, and reports whether there is an
// overload.
func (m *Monitor) observeSocket(now time.Time) bool {
	b := m.options.Socket.Backlog()
	if b.Buffer == UnknownBuffer {
		return m.active // what the kernel does not say now it says the next time
	}
	before := m.drops
	active := m.observe(b, now)
	m.options.Dropped(uint64(m.drops - before))
	return active
}

// finishInterval ends an interval that is over, and sets the socket accordingly.
func (m *Monitor) finishInterval(now time.Time) {
	m.observeSocket(now)
	buffer, changed := m.endInterval(now)
	if buffer != m.buffer {
		m.options.Socket.SetReceiveBuffer(buffer)
	}
	if changed {
		m.options.Socket.LimitRates(m.limits, m.prefix6)
	}
	if m.isOver(now) {
		m.reportEpisode(now)
		m.options.Socket.SetTimeout(0)
	} else if now.Sub(m.episode.began) >= episodeMax {
		m.reportEpisode(now)
		m.active, m.episode.pressed = true, now
	}
}

// reportEpisode ends the overload there is, if any, and reports it, but names no
// client that must not be named.
func (m *Monitor) reportEpisode(now time.Time) {
	maps.DeleteFunc(m.episode.by, func(c netip.Addr, _ float64) bool { return m.options.Unnamed(c) })
	for _, n := range m.endEpisode(now) {
		m.options.Report(n.client, n.detail)
	}
}

// observe takes in what waits at the socket after a full batch, or at the end of
// an interval, and reports whether there is an overload.
func (m *Monitor) observe(b Backlog, now time.Time) bool {
	dropped := int(b.Drops - m.drops)
	m.drops, m.buffer = b.Drops, int(b.Buffer)
	pressed := b.Used >= b.Buffer/2
	if !m.active {
		if !pressed && dropped == 0 {
			return false
		}
		m.active, m.episode = true, episode{began: now, by: map[netip.Addr]float64{}}
		m.beginInterval(now)
	}
	if pressed || dropped > 0 {
		m.episode.pressed = now
	}
	if pressed && !m.pressed && len(m.limits) == 0 {
		m.beginInterval(now) // what was before says nothing about it
	}
	m.dropped += dropped
	m.episode.dropped += uint64(dropped)
	m.pressed = m.pressed || pressed
	return true
}

func (m *Monitor) beginInterval(now time.Time) {
	m.began, m.taken, m.dropped, m.busy, m.pressed = now, 0, 0, true, false
	clear(m.topClients)
}

// count counts a packet of this interval. It counts clients as Misra and Gries do:
// never more than were, and at most a 65th of all too few, so that a client below
// its share never seems to be above it.
func (m *Monitor) count(a netip.Addr) {
	m.taken++
	c := ClientOf(a, m.prefix6)
	if n, ok := m.topClients[c]; ok || len(m.topClients) < maxTopClients {
		m.topClients[c] = n + 1
		return
	}
	for c, n := range m.topClients {
		if n == 1 {
			delete(m.topClients, c)
		} else {
			m.topClients[c] = n - 1
		}
	}
}

// endInterval ends an interval: it sets the share, and whom to limit, and reports
// whether that changed. buffer is what the socket's queue should have.
func (m *Monitor) endInterval(now time.Time) (buffer int, changed bool) {
	top, others, lost := m.demands()
	lossy := lost*8 > float64(m.taken)
	// What was read is all that can be, where the queue was never empty. Where the
	// processor is taken away at times it may be, and yet much is lost.
	loaded := m.busy || lossy && m.lossy
	m.lossy = lossy
	rate := float64(m.taken) / now.Sub(m.began).Seconds()
	buffer = max(int(rate*queueTime.Seconds()*queryMemory), minReceiveBuffer)
	if !m.busy {
		buffer = max(buffer, m.buffer) // more may be possible
	}
	switch {
	case m.pressed && loaded:
		m.share = fairShare(top, others, float64(m.taken)*fullUse)
	case !m.pressed:
		m.share *= shareGrowth
	}
	changed = len(m.limits) > 0
	m.setLimits(top, others)
	m.beginInterval(now)
	return buffer, changed || len(m.limits) > 0
}

// A demand is how many packets a client sent in an interval.
type demand struct {
	client  netip.Addr
	packets float64
}

// demands returns what the top clients sent in this interval, read or not, those
// who sent most first; others is what all others sent together, and lost what was
// dropped for want of room and not by rate limits.
func (m *Monitor) demands() (top []demand, others, lost float64) {
	sent := float64(m.taken)
	others = sent
	for c, n := range m.topClients {
		all := float64(n) / m.passOf(c)
		top = append(top, demand{c, all})
		others -= float64(n)
		sent += all - float64(n)
		if _, ok := m.episode.by[c]; all > float64(n) && (ok || len(m.episode.by) < maxTopClients) {
			m.episode.by[c] += all - float64(n)
		}
	}
	lost = max(0, float64(m.taken+m.dropped)-sent)
	equally := 1 + lost/max(sent, 1) // who finds no room is chance
	for i := range top {
		top[i].packets *= equally
	}
	sorting.By(top, func(a, b demand) int {
		return cmp.Or(cmp.Compare(b.packets, a.packets), a.client.Compare(b.client))
	})
	return top, others * equally, lost
}

// passOf returns the part of c's packets that comes through.
func (m *Monitor) passOf(c netip.Addr) float64 {
	for _, l := range m.limits {
		if l.Client == c {
			return l.Pass
		}
	}
	return 1
}

// setLimits chooses whom to limit, so that none of the top clients sends more than
// the share. If all send more, nobody has to make room for anybody.
func (m *Monitor) setLimits(top []demand, others float64) {
	m.limits = m.limits[:0]
	if others == 0 && (len(top) == 0 || top[len(top)-1].packets > m.share) {
		m.share = math.Inf(1)
	}
	for _, d := range top[:min(len(top), maxRateLimits)] {
		if d.packets > m.share && !d.client.IsLoopback() && d.client.IsValid() {
			m.limits = append(m.limits, RateLimit{d.client, m.share / d.packets})
		}
	}
	if len(m.limits) == 0 {
		m.share = math.Inf(1)
	}
}

// fairShare returns the most that each client may have, so that all together have
// capacity, and none gives way for another that has more (max-min fairness).
// top has those who sent most first. It is infinite where there is enough for all,
// and never below what equal parts for maxTopClients would be, so that a client
// needs no more than its equal part of the capacity to be safe, however many there
// are.
func fairShare(top []demand, others, capacity float64) float64 {
	left := capacity - others
	for n := len(top); n > 0; n-- {
		part := left / float64(n)
		if top[n-1].packets > part {
			return max(part, capacity/maxTopClients)
		}
		left -= top[n-1].packets
	}
	return math.Inf(1)
}

// isOver reports whether an overload has ended.
func (m *Monitor) isOver(now time.Time) bool {
	return len(m.limits) == 0 && now.Sub(m.episode.pressed) >= episodeQuiet
}

// endEpisode ends the overload there is, if any, and returns what it cost.
func (m *Monitor) endEpisode(now time.Time) (costs []cost) {
	if m.active {
		costs = m.episode.costs()
	}
	m.active, m.episode = false, episode{began: now, by: map[netip.Addr]float64{}}
	return costs
}

// A cost is what an overload cost a client; client is "" for all together.
type cost struct{ client, detail string }

// costs says what an overload cost, in all and by client.
func (e *episode) costs() []cost {
	if e.dropped == 0 {
		return nil
	}
	when := fmt.Sprintf("between %s and %s", e.began.UTC().Format(time.RFC3339), e.pressed.UTC().Format(time.RFC3339))
	all := []cost{{"", fmt.Sprintf("%d queries were dropped unread %s: more came than could be answered", e.dropped, when)}}
	for _, c := range slices.SortedFunc(maps.Keys(e.by), netip.Addr.Compare) {
		all = append(all, cost{c.String(), fmt.Sprintf("about %.0f of its queries were dropped unread %s: it sent more than its share", e.by[c], when)})
	}
	return all
}
