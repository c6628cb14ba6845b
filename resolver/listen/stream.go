package listen

import (
	"cmp"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// StreamTimes bound how long a connection may take (RFC 7766). A client that sends
// a query octet by octet, or does not read its answers, costs one connection for
// some seconds. The zero value of a field means its default.
type StreamTimes struct {
	Idle      time.Duration // between queries, and half of that when connections are scarce; default 10 s
	IdleTLS   time.Duration // the same where a new connection costs a handshake; default 30 s
	Handshake time.Duration // of TLS; default 5 s
	Query     time.Duration // from a query's first octet to its last; default 3 s
	Write     time.Duration // for writeChunk of answers; default 3 s
	// Answer is the longest that an answer may be waited for after the last query.
	Answer time.Duration
}

func (t *StreamTimes) setDefaults() {
	t.Idle = cmp.Or(t.Idle, 10*time.Second)
	t.IdleTLS = cmp.Or(t.IdleTLS, 30*time.Second)
	t.Handshake = cmp.Or(t.Handshake, 5*time.Second)
	t.Query = cmp.Or(t.Query, 3*time.Second)
	t.Write = cmp.Or(t.Write, 3*time.Second)
}

// Bounds of what a connection may keep.
const (
	streamInFlight = 64        // answers not yet written
	streamOwed     = 256 << 10 // octets of answers not yet written
	writeChunk     = 16 << 10  // octets written at once: what one TLS record takes
)

// A Stream is a connection on which messages come one behind the other: TCP, or TLS.
// One goroutine of its own reads it, and writes the answers that are known at once,
// those to queries that came together in one call, also where each came in a record of
// its own, as clients mostly send them by TLS. Answers that come later are
// written by a goroutine that lives as long as there are some. A Stream that waits
// for its client has no other goroutine and no large buffer.
type Stream struct {
	place
	streams *streams
	conn    net.Conn
	arrival Arrival
	handler StreamHandler
	framing framing

	// The reader's own.
	late     time.Time // when a query that has begun to come is late
	deadline bool      // one is to be set before what comes next is waited for
	holding  bool      // answers are held back, and this side writes them

	cut      atomic.Bool  // closed for what its client did, and counted
	inFlight atomic.Int32 // queries whose answers are not yet written; changed under mu
	owed     atomic.Int64 // octets of answers not yet written; changed under mu

	mu      sync.Mutex
	written sync.Cond // inFlight fell, or closed
	pending *[]byte   // answers with their lengths that nobody writes yet; nil for none
	answers int32     // how many pending has
	writing bool      // somebody will write what is pending
	closed  bool      // nothing is written any more
}

func newStream(streams *streams, conn net.Conn, arrival Arrival) *Stream {
	st := &Stream{streams: streams, conn: conn, arrival: arrival}
	st.written.L = &st.mu
	st.place.init(conn, func() bool { return st.inFlight.Load() > 0 })
	return st
}

// Arrival returns who is at the other end, and how it came here.
func (st *Stream) Arrival() *Arrival { return &st.arrival }

// read serves queries until the client ends, is too slow, or the server stops.
func (st *Stream) read() {
	for {
		st.deadline = true
		st.framing.release() // not once its space is being read to, as it is when TLS calls beforeWaiting
		if _, isTLS := st.conn.(*tls.Conn); !isTLS && !st.beforeWaiting() {
			return
		}
		n, err := st.conn.Read(st.framing.space())
		st.framing.add(n)
		if n > 0 && !st.serve() {
			break
		}
		if err != nil {
			if st.framing.partial() && !errors.Is(err, net.ErrClosed) && !st.streams.stopped.Load() {
				st.cutOff()
			}
			break
		}
	}
	st.flush()
}

// guard runs what serves the connection. A panic in it ends the connection alone.
func (st *Stream) guard(f func()) {
	if !st.streams.catchPanic(f) {
		st.abandon()
		st.close()
	}
}

// beforeWaiting is called by the reader where nothing has come that it does not have: it
// writes the answers held back, and says how long the client may take. It returns false
// where nothing more may be read. By TLS it is called while space of framing is read to, so
// that it must leave framing as it is.
func (st *Stream) beforeWaiting() bool {
	st.flush()
	if !st.deadline { // for the rest of a record: by the deadline that was set when it began
		return true
	}
	st.deadline = false
	switch {
	case !st.framing.partial():
		st.late = time.Time{}
		st.conn.SetReadDeadline(time.Now().Add(st.streams.mayIdle(st.arrival.Idle)))
	case st.late.IsZero():
		st.late = time.Now().Add(st.streams.times.Query)
		st.conn.SetReadDeadline(st.late)
	}
	return !st.streams.stopped.Load()
}

// serve answers the queries that have come. What is known of the answers is held back
// until flush. It returns false where nothing more may be read.
func (st *Stream) serve() bool {
	packet, has := st.framing.next()
	if !has {
		return true
	}
	st.used.Store(time.Now().UnixNano())
	st.hold()
	for ; has; packet, has = st.framing.next() {
		if st.inFlight.Load() >= streamInFlight || st.owed.Load() > keptBuffer {
			st.flush()
			st.waitUntil(streamInFlight - 1)
			st.hold()
		}
		st.inFlight.Add(1)
		if !st.handler.ServeMessage(packet) { // nobody knows whether its answer comes
			return false
		}
		st.late = time.Time{}
	}
	return true
}

// hold keeps answers back until flush is called, unless somebody writes them already.
func (st *Stream) hold() {
	if st.holding {
		return
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	st.holding = !st.writing
	st.writing = true
}

// flush writes the answers held back.
func (st *Stream) flush() {
	if st.holding {
		st.holding = false
		st.write()
	}
}

// waitUntil returns when at most n answers are not yet written, or none will be.
func (st *Stream) waitUntil(n int32) {
	st.mu.Lock()
	defer st.mu.Unlock()
	for st.inFlight.Load() > n && !st.closed {
		st.written.Wait()
	}
}

// finish waits for the answers that are owed, writes them, and closes the
// connection.
func (st *Stream) finish() {
	times := &st.streams.times
	timer := time.AfterFunc(times.Answer+times.Write, st.abandon)
	st.waitUntil(0)
	timer.Stop()
	st.abandon()
	st.conn.Close()
	st.streams.remove(&st.place) // it counts as long as it is open, also half
}

// abandon lets nothing be written any more.
func (st *Stream) abandon() {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.closed = true
	st.written.Broadcast()
}

// cutOff counts a client that is slow or wrong, once.
func (st *Stream) cutOff() {
	if !st.cut.Swap(true) {
		st.streams.stats.streamsCut.Add(1)
	}
}

// Send takes the reply to one message, in any order (RFC 7766, 6.2.1.1); an empty
// one says that there is none. It does not wait. A client that asks for much and
// reads nothing is cut off.
func (st *Stream) Send(reply []byte) {
	st.mu.Lock()
	if len(reply) > 0 && !st.closed && st.owed.Load() > streamOwed {
		st.closed = true
		st.cutOff()
		st.close() // the reader ends
	}
	if len(reply) == 0 || st.closed {
		st.inFlight.Add(-1)
		st.written.Broadcast()
		st.mu.Unlock()
		return
	}
	if st.pending == nil {
		st.pending = answerBuffers.Get().(*[]byte)
	}
	*st.pending = append(binary.BigEndian.AppendUint16(*st.pending, uint16(len(reply))), reply...)
	st.owed.Add(int64(2 + len(reply)))
	st.answers++
	mine := !st.writing
	st.writing = true
	st.mu.Unlock()
	if mine {
		go st.guard(st.write) // finish waits for it
	}
}

// answerBuffers are for answers on their way. One that a large answer has made large
// is not kept.
var answerBuffers = sync.Pool{New: func() any { b := make([]byte, 0, 2048); return &b }}

const keptBuffer = 64 << 10

// write writes what is pending, until nothing is. Its caller is who set writing.
func (st *Stream) write() {
	st.mu.Lock()
	defer st.mu.Unlock()
	for st.pending != nil {
		b, answers := st.pending, st.answers
		st.pending, st.answers = nil, 0
		if !st.writeUnlocked(*b) {
			st.closed = true
		}
		st.owed.Add(-int64(len(*b)))
		st.inFlight.Add(-answers)
		st.written.Broadcast()
		if *b = (*b)[:0]; cap(*b) <= keptBuffer {
			answerBuffers.Put(b)
		}
	}
	st.writing = false
}

// writeUnlocked writes answers without the lock, which its caller has.
func (st *Stream) writeUnlocked(b []byte) (ok bool) {
	if st.closed {
		return false
	}
	st.mu.Unlock()
	defer st.mu.Lock()
	return st.writeAll(b)
}

// writeAll writes answers; false where the client does not take them.
func (st *Stream) writeAll(b []byte) bool {
	for len(b) > 0 {
		n, now := min(len(b), writeChunk), time.Now()
		st.used.Store(now.UnixNano()) // before the client can know of it
		st.conn.SetWriteDeadline(now.Add(st.streams.times.Write))
		if _, err := st.conn.Write(b[:n]); err != nil {
			st.cutOff()
			st.close() // the reader ends
			return false
		}
		b = b[n:]
	}
	return true
}
