package listen

import (
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"telltale/resolver/overload"
)

// streamPrefix is how many bits tell IPv6 clients apart at most: one machine has
// as many addresses below its /64 as it likes.
const streamPrefix = 64

// streams are the open connections. A client gets at most a quarter of them,
// and so do all together who may not ask. Where there is no room, who waits for no
// answer makes room.
type streams struct {
	stats          *counters
	max, maxClient int
	times          StreamTimes
	stopped        atomic.Bool // nothing is read any more; set under mu
	catchPanic     func(func()) (ok bool)

	mu      sync.Mutex
	open    map[*place]struct{}
	clients map[netip.Addr]int
}

func newStreams(limit int, times StreamTimes, stats *counters) *streams {
	times.setDefaults()
	return &streams{catchPanic: runs, stats: stats, max: limit, maxClient: max(limit/4, 1), times: times, open: map[*place]struct{}{}, clients: map[netip.Addr]int{}}
}

// runs calls f where nobody catches its panics.
func runs(f func()) bool { f(); return true }

// A place is what a connection takes of those that may be open.
type place struct {
	account  netip.Addr   // whom it counts for: its client; none for all who may not ask
	isProxy  bool         // it is used for many clients, and no client's part bounds it
	opened   int64        // when it was opened, Unix nanoseconds
	used     atomic.Int64 // when a query came or an answer went last, Unix nanoseconds; before, opened
	waits    func() bool  // its client waits for an answer
	stopRead func()
	closer   io.Closer
}

// init makes p the place of a connection. waits reports whether its client waits for
// an answer.
func (p *place) init(conn net.Conn, waits func() bool) {
	p.closer, p.waits = rawOf(conn), waits
	p.stopRead = func() { conn.SetReadDeadline(time.Unix(1, 0)) }
	p.opens()
}

func (p *place) opens() {
	p.opened = time.Now().UnixNano()
	p.used.Store(p.opened)
}

// before reports whether p makes room rather than other, whose client has as many
// connections: one that was never used before all that were, then the one that was
// used last before the other.
func (p *place) before(other *place) bool {
	mine, its := p.used.Load(), other.used.Load()
	if unused := mine == p.opened; unused != (its == other.opened) {
		return unused
	}
	return mine < its
}

// rawOf returns what a connection of TLS is on: closing that says nothing to the
// client, and so does not wait for it.
func rawOf(conn net.Conn) net.Conn {
	if c, ok := conn.(interface{ NetConn() net.Conn }); ok {
		return c.NetConn()
	}
	return conn
}

// close closes the connection at once. Whoever reads or writes it ends.
func (p *place) close() { p.closer.Close() }

func (t *streams) count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.open)
}

// admit takes p in, if there is room or can be made: a client that has its part
// gives up its own longest idle connection; when all are taken, whoever has most
// does.
func (t *streams) admit(p *place) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stopped.Load() {
		return false
	}
	var gone *place
	switch {
	case !p.isProxy && t.clients[p.account] >= t.maxClient:
		gone = t.longestIdleLocked(func(other *place) bool { return other.account == p.account })
	case len(t.open) >= t.max:
		gone = t.longestIdleLocked(func(*place) bool { return true })
	default:
		t.addLocked(p)
		return true
	}
	if gone == nil {
		return false
	}
	t.removeLocked(gone)
	t.stats.streamsReplaced.Add(1)
	gone.close()
	t.addLocked(p)
	return true
}

// makeRoom closes the longest idle connection, of whoever has most; false where there
// is none.
func (t *streams) makeRoom() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	gone := t.longestIdleLocked(func(*place) bool { return true })
	if gone == nil {
		return false
	}
	t.removeLocked(gone)
	t.stats.streamsReplaced.Add(1)
	gone.close()
	return true
}

// longestIdleLocked returns, of the connections that may be taken and whose clients
// wait for no answer, one of the client that has most: one that was never used, else
// the one that was used last before all others; nil if there is none.
func (t *streams) longestIdleLocked(may func(*place) bool) (found *place) {
	for p := range t.open {
		if !may(p) || p.waits() {
			continue
		}
		if found == nil || t.clients[p.account] > t.clients[found.account] ||
			t.clients[p.account] == t.clients[found.account] && p.before(found) {
			found = p
		}
	}
	return found
}

func (t *streams) addLocked(p *place) {
	t.open[p] = struct{}{}
	t.clients[p.account]++
}

// stop ends all reading, now and later. Answers under way are still written.
func (t *streams) stop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stopped.Store(true) // who sets a deadline looks at it afterwards
	for p := range t.open {
		p.stopRead()
	}
}

// remove takes p out, which is closed.
func (t *streams) remove(p *place) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.removeLocked(p)
}

func (t *streams) removeLocked(p *place) {
	if _, ok := t.open[p]; !ok {
		return // it had to make room for another
	}
	delete(t.open, p)
	if t.clients[p.account]--; t.clients[p.account] <= 0 {
		delete(t.clients, p.account)
	}
}

// recount lets p, which counts for all who may not ask, count for a client that has
// shown meanwhile that it may.
func (t *streams) recount(p *place, account netip.Addr) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.open[p]; !ok || p.account.IsValid() || !account.IsValid() {
		return
	}
	t.removeLocked(p)
	p.account = account
	t.addLocked(p)
}

// mayIdle returns how long a stream may wait for its next query: usual, or half of
// that where connections are scarce.
func (t *streams) mayIdle(usual time.Duration) time.Duration {
	if t.count() > t.max/2 {
		return usual / 2
	}
	return usual
}

// accountOf returns whom a connection of a client counts for.
func accountOf(client netip.Addr, prefix6 int) netip.Addr {
	return overload.ClientOf(client, min(prefix6, streamPrefix))
}
