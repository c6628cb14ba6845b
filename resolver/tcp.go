package resolver

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"telltale/dnswire"
	"telltale/querylog"
)

// Bounds of a stream (RFC 7766). A client that sends a query octet by octet, or
// does not read its answers, costs one connection for some seconds.
const (
	streamIdle     = 10 * time.Second // between queries, and half of that when streams are scarce
	streamQuery    = 3 * time.Second  // from a query's first octet to its last
	streamWrite    = 3 * time.Second  // for one answer
	streamInFlight = 64               // answers not yet written
	streamOwed     = 256 << 10        // octets of answers not yet written
)

// streams are the open connections. A client gets at most a quarter of them,
// and so do all together who may not ask.
type streams struct {
	max, maxClient int
	idle           time.Duration // streamIdle, streamQuery and streamWrite, shorter in tests
	query, write   time.Duration

	mu      sync.Mutex
	stopped bool
	open    map[*stream]struct{}
	clients map[netip.Addr]int
}

func newStreams(limit int) *streams {
	return &streams{max: limit, maxClient: max(limit/4, 1), idle: streamIdle, query: streamQuery, write: streamWrite, open: map[*stream]struct{}{}, clients: map[netip.Addr]int{}}
}

func (t *streams) count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.open)
}

// admit takes st in, if there is room.
func (t *streams) admit(st *stream) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	client := st.account
	if t.stopped || len(t.open) >= t.max || t.clients[client] >= t.maxClient {
		return false
	}
	t.open[st] = struct{}{}
	t.clients[client]++
	return true
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

func (t *streams) remove(st *stream) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.open, st)
	client := st.account
	if t.clients[client]--; t.clients[client] <= 0 {
		delete(t.clients, client)
	}
}

// mayIdle returns how long a stream may wait for its next query.
func (t *streams) mayIdle() time.Duration {
	if t.count() > t.max/2 {
		return t.idle / 2
	}
	return t.idle
}

// A stream is one TCP connection: one goroutine reads it, one writes it.
type stream struct {
	srv     *Server
	conn    *net.TCPConn
	client  netip.AddrPort
	account netip.Addr   // whom it counts for: its client; none for all who may not ask
	owed    atomic.Int64 // octets of answers not yet written
	cut     atomic.Bool  // closed for what its client did, and counted

	answers chan []byte   // complete, with their length; never full: see slots
	slots   chan struct{} // one for each query not yet answered
	gone    chan struct{} // closed when the reader has ended
}

// serveTCP accepts connections until the listener is closed.
func (s *Server) serveTCP(l *net.TCPListener) {
	for {
		conn, err := l.AcceptTCP()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil: // out of file descriptors, most likely
			s.logger.Error("cannot accept", "error", err)
			time.Sleep(100 * time.Millisecond)
			continue
		}
		from := conn.RemoteAddr().(*net.TCPAddr).AddrPort()
		st := &stream{
			srv: s, conn: conn, client: netip.AddrPortFrom(from.Addr().Unmap(), from.Port()),
			answers: make(chan []byte, streamInFlight), slots: make(chan struct{}, streamInFlight), gone: make(chan struct{}),
		}
		if s.allowed(st.client.Addr()) {
			st.account = clientOf(st.client.Addr(), s.prefix6)
		}
		if !s.streams.admit(st) {
			s.stats.streamsRefused.Add(1)
			conn.Close()
			continue
		}
		s.work.Go(st.read)
		s.work.Go(st.write)
	}
}

// read serves queries until the client ends, is too slow, or the server stops.
func (st *stream) read() {
	defer st.srv.streams.remove(st)
	defer close(st.gone)
	q := &query{cached: new(entry)}
	buf, out := make([]byte, maxPacket), make([]byte, 0, 4096)
	for {
		packet, err := st.next(buf)
		if err != nil {
			if !errors.Is(err, errIdle) && !errors.Is(err, net.ErrClosed) {
				st.cutOff()
			}
			return
		}
		st.slots <- struct{}{}
		st.srv.stats.queries.Add(1)
		ok := st.srv.guard(func() {
			q.client, q.transport = st.client, querylog.TCP
			st.srv.prepare(q, st.srv.policy(), st.srv.now())
			st.srv.serve(packet, q, out, st, st)
		})
		if !ok { // nobody knows whether its slot comes back
			return
		}
	}
}

// errIdle means that a client has no more queries.
var errIdle = errors.New("no more queries")

// cutOff counts a client that is slow or wrong, once.
func (st *stream) cutOff() {
	if !st.cut.Swap(true) {
		st.srv.stats.streamsCut.Add(1)
	}
}

// next reads one message (RFC 1035, 4.2.2). Of one that is longer than any query
// only the beginning is kept, which is enough to say FORMERR.
func (st *stream) next(buf []byte) ([]byte, error) {
	var length [2]byte
	st.conn.SetReadDeadline(time.Now().Add(st.srv.streams.mayIdle()))
	if _, err := io.ReadFull(st.conn, length[:1]); err != nil {
		return nil, errIdle
	}
	st.conn.SetReadDeadline(time.Now().Add(st.srv.streams.query))
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
func (st *stream) write() {
	defer st.conn.Close()
	var late <-chan time.Time // set once the reader has ended
	for gone := st.gone; gone != nil || len(st.slots) > 0; {
		select {
		case answer := <-st.answers:
			st.writeOne(answer)
			<-st.slots
		case <-gone:
			gone, late = nil, time.After(exchangeBudget+st.srv.streams.write)
		case <-late:
			return
		}
	}
}

// writeOne writes an answer with its length in one call.
func (st *stream) writeOne(answer []byte) {
	defer st.owed.Add(-int64(len(answer)))
	if len(answer) == 0 || st.cut.Load() {
		return
	}
	st.conn.SetWriteDeadline(time.Now().Add(st.srv.streams.write))
	if _, err := st.conn.Write(answer); err != nil {
		st.cutOff()
		st.conn.Close() // the reader ends
	}
}

// send hands a reply to the writer; an empty one only gives the slot back. It
// does not wait: there is room for as many answers as there are slots. A client
// that asks for much and reads nothing is cut off.
func (st *stream) send(q *query, reply []byte) {
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

// log appends one record.
func (st *stream) log(q *query, reply []byte, source querylog.Source) {
	st.srv.append([]querylog.Record{q.record(reply, source, st.srv.now())})
}
