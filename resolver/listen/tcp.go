package listen

import (
	"cmp"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"telltale/dnswire"
	"telltale/resolver/overload"
	"telltale/resolver/packets"
)

// StreamTimes bound how long a connection may take (RFC 7766). A client that sends
// a query octet by octet, or does not read its answers, costs one connection for
// some seconds. The zero value of a field means its default.
type StreamTimes struct {
	Idle  time.Duration // between queries, and half of that when connections are scarce; default 10 s
	Query time.Duration // from a query's first octet to its last; default 3 s
	Write time.Duration // for one answer; default 3 s
	// Answer is the longest that an answer may be waited for after the last query.
	Answer time.Duration
}

func (t *StreamTimes) setDefaults() {
	t.Idle = cmp.Or(t.Idle, 10*time.Second)
	t.Query = cmp.Or(t.Query, 3*time.Second)
	t.Write = cmp.Or(t.Write, 3*time.Second)
}

// Bounds of what a connection may keep.
const (
	streamInFlight = 64        // answers not yet written
	streamOwed     = 256 << 10 // octets of answers not yet written
	// streamPrefix is how many bits tell IPv6 clients apart at most: one machine has
	// as many addresses below its /64 as it likes.
	streamPrefix = 64
)

// streams are the open connections. A client gets at most a quarter of them,
// and so do all together who may not ask. Where there is no room, who waits for no
// answer makes room.
type streams struct {
	stats          *counters
	max, maxClient int
	times          StreamTimes

	mu      sync.Mutex
	stopped bool
	open    map[*Stream]struct{}
	clients map[netip.Addr]int
}

func newStreams(limit int, times StreamTimes, stats *counters) *streams {
	times.setDefaults()
	return &streams{stats: stats, max: limit, maxClient: max(limit/4, 1), times: times, open: map[*Stream]struct{}{}, clients: map[netip.Addr]int{}}
}

func (t *streams) count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.open)
}

// admit takes st in, if there is room or can be made: a client that has its part
// gives up its own longest idle connection; when all are taken, whoever has most
// does.
func (t *streams) admit(st *Stream) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stopped {
		return false
	}
	var gone *Stream
	switch {
	case t.clients[st.account] >= t.maxClient:
		gone = t.longestIdleLocked(func(other *Stream) bool { return other.account == st.account })
	case len(t.open) >= t.max:
		gone = t.longestIdleLocked(func(*Stream) bool { return true })
	default:
		t.addLocked(st)
		return true
	}
	if gone == nil {
		return false
	}
	t.removeLocked(gone)
	t.stats.streamsReplaced.Add(1)
	gone.conn.Close() // its reader and writer end
	t.addLocked(st)
	return true
}

// longestIdleLocked returns, of the connections that may be taken and whose clients
// wait for no answer, one of the client that has most, the one that was used last
// before all others; nil if there is none.
func (t *streams) longestIdleLocked(may func(*Stream) bool) (found *Stream) {
	for st := range t.open {
		if !may(st) || len(st.slots) > 0 {
			continue
		}
		if found == nil || t.clients[st.account] > t.clients[found.account] ||
			t.clients[st.account] == t.clients[found.account] && st.used.Load() < found.used.Load() {
			found = st
		}
	}
	return found
}

func (t *streams) addLocked(st *Stream) {
	t.open[st] = struct{}{}
	t.clients[st.account]++
}

// stop ends all reading, now and later. Answers under way are still written.
func (t *streams) stop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stopped = true
	for st := range t.open {
		st.conn.CloseRead()
	}
}

// remove takes st out, which is closed.
func (t *streams) remove(st *Stream) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.removeLocked(st)
}

func (t *streams) removeLocked(st *Stream) {
	if _, ok := t.open[st]; !ok {
		return // it had to make room for another
	}
	delete(t.open, st)
	if t.clients[st.account]--; t.clients[st.account] <= 0 {
		delete(t.clients, st.account)
	}
}

// mayIdle returns how long a stream may wait for its next query.
func (t *streams) mayIdle() time.Duration {
	if t.count() > t.max/2 {
		return t.times.Idle / 2
	}
	return t.times.Idle
}

// A Stream is one TCP connection: one goroutine reads it, one writes it. Send may
// be called by any goroutine.
type Stream struct {
	streams *streams
	conn    *net.TCPConn
	client  netip.AddrPort
	handler StreamHandler
	account netip.Addr   // whom it counts for: its client; none for all who may not ask
	owed    atomic.Int64 // octets of answers not yet written
	cut     atomic.Bool  // closed for what its client did, and counted
	used    atomic.Int64 // when a query came or an answer went last, Unix nanoseconds

	answers chan []byte   // complete, with their length; never full: see slots
	slots   chan struct{} // one for each query not yet answered
	gone    chan struct{} // closed when the reader has ended
}

// Client returns who is at the other end.
func (st *Stream) Client() netip.AddrPort { return st.client }

// accept takes connections until the listener is closed.
func (l *Listeners) accept(tcp *net.TCPListener) {
	for {
		conn, err := tcp.AcceptTCP()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil: // out of file descriptors, most likely
			l.options.Logger.Error("cannot accept connections", "error", err)
			time.Sleep(100 * time.Millisecond)
			continue
		}
		from := conn.RemoteAddr().(*net.TCPAddr).AddrPort()
		st := newStream(l.streams, conn, netip.AddrPortFrom(from.Addr().Unmap(), from.Port()))
		if l.options.Allowed(st.client.Addr()) {
			st.account = accountOf(st.client.Addr(), l.options.ClientPrefix)
		}
		if !l.streams.admit(st) {
			l.stats.streamsRefused.Add(1)
			conn.Close()
			continue
		}
		st.handler = l.options.Handler.NewStreamHandler(st)
		l.readers.Go(st.read)
		l.writers.Go(st.write)
	}
}

// accountOf returns whom a connection of a client counts for.
func accountOf(client netip.Addr, prefix6 int) netip.Addr {
	return overload.ClientOf(client, min(prefix6, streamPrefix))
}

func newStream(streams *streams, conn *net.TCPConn, client netip.AddrPort) *Stream {
	st := &Stream{
		streams: streams, conn: conn, client: client,
		answers: make(chan []byte, streamInFlight), slots: make(chan struct{}, streamInFlight), gone: make(chan struct{}),
	}
	st.used.Store(time.Now().UnixNano())
	return st
}

// read serves queries until the client ends, is too slow, or the server stops.
func (st *Stream) read() {
	defer close(st.gone)
	buf := make([]byte, packets.MaxSize)
	for {
		packet, err := st.next(buf)
		if err != nil {
			if !errors.Is(err, errIdle) && !errors.Is(err, net.ErrClosed) {
				st.cutOff()
			}
			return
		}
		st.slots <- struct{}{}
		st.used.Store(time.Now().UnixNano())
		if !st.handler.ServeMessage(packet) { // nobody knows whether its slot comes back
			return
		}
	}
}

// errIdle means that a client has no more queries.
var errIdle = errors.New("no more queries")

// cutOff counts a client that is slow or wrong, once.
func (st *Stream) cutOff() {
	if !st.cut.Swap(true) {
		st.streams.stats.streamsCut.Add(1)
	}
}

// next reads one message (RFC 1035, 4.2.2). Of one that is longer than any query
// only the beginning is kept, which is enough to say FORMERR.
func (st *Stream) next(buf []byte) ([]byte, error) {
	var length [2]byte
	st.conn.SetReadDeadline(time.Now().Add(st.streams.mayIdle()))
	if _, err := io.ReadFull(st.conn, length[:1]); err != nil {
		return nil, errIdle
	}
	st.conn.SetReadDeadline(time.Now().Add(st.streams.times.Query))
	if _, err := io.ReadFull(st.conn, length[1:]); err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint16(length[:]))
	packet := buf[:min(n, len(buf))]
	if _, err := io.ReadFull(st.conn, packet); err != nil {
		return nil, err
	}
	if n > len(packet) {
		if _, err := io.CopyN(io.Discard, st.conn, int64(n-len(packet))); err != nil {
			return nil, err
		}
		packet = packet[:min(len(packet), dnswire.HeaderLen)] // its counts promise more: FORMERR
	}
	return packet, nil
}

// write writes the answers as they come, in any order (RFC 7766, 6.2.1.1), until
// the reader has ended and nothing is owed any more.
func (st *Stream) write() {
	defer st.streams.remove(st) // it counts as long as it is open, also half
	defer st.conn.Close()
	var late <-chan time.Time // set once the reader has ended
	for gone := st.gone; gone != nil || len(st.slots) > 0; {
		select {
		case answer := <-st.answers:
			st.writeOne(answer)
			st.used.Store(time.Now().UnixNano())
			<-st.slots
		case <-gone:
			gone, late = nil, time.After(st.streams.times.Answer+st.streams.times.Write)
		case <-late:
			return
		}
	}
}

// writeOne writes an answer with its length in one call.
func (st *Stream) writeOne(answer []byte) {
	defer st.owed.Add(-int64(len(answer)))
	if len(answer) == 0 || st.cut.Load() {
		return
	}
	st.conn.SetWriteDeadline(time.Now().Add(st.streams.times.Write))
	if _, err := st.conn.Write(answer); err != nil {
		st.cutOff()
		st.conn.Close() // the reader ends
	}
}

// Send hands a reply to the writer; an empty one only gives the slot back. It
// does not wait: there is room for as many answers as there are slots. A client
// that asks for much and reads nothing is cut off.
func (st *Stream) Send(reply []byte) {
	if len(reply) > 0 && st.owed.Add(int64(2+len(reply))) > streamOwed+int64(2+len(reply)) {
		st.owed.Add(-int64(2 + len(reply)))
		st.cutOff()
		st.conn.Close()
		reply = nil
	}
	if len(reply) == 0 {
		st.answers <- nil
		return
	}
	framed := make([]byte, 2, 2+len(reply))
	binary.BigEndian.PutUint16(framed, uint16(len(reply)))
	st.answers <- append(framed, reply...)
}
