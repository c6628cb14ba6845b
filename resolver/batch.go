package resolver

import (
	"sync/atomic"
	"time"

	"telltale/blocklists"
	"telltale/dnswire"
	"telltale/querylog"
	"telltale/resolver/cache"
	"telltale/resolver/listen"
	"telltale/resolver/packets"
	"telltale/resolver/upstream"
)

// A reader answers the packets of one socket. All it has is its own: buffers,
// queries, replies and records never leave its goroutine, so nothing of it is
// locked or allocated for a packet.
type reader struct {
	srv     *Server
	conn    *listen.UDPConn
	later   *udpWriter // for queries that wait
	queries [packets.BatchSize]query
	records []querylog.Record // of this batch
	replies []packets.Reply   // of this batch
	space   []byte            // what the replies lie in
	used    int

	now       time.Time                 // of this batch
	policy    *blocklists.Policy        // of this batch
	batch     *upstream.QueryBatch      // what is asked of upstreams
	next, end int                       // packets of this batch: the one to serve, and how many there are
	lookups   blocklists.Batch          // of the names of this batch
	ahead     [packets.BatchSize][]byte // packets of this batch that were read ahead
	left      bool                      // its replies and records are on their way
	rest      func()                    // serveRest
	first     func()                    // readPackets

	packets, batches atomic.Uint64 // since the start: of one writer, so that readers do not wait for each other
}

// replySpace is what one reply may take: the payload limit, and what is appended
// before it is seen to be too long.
const replySpace = dnswire.PayloadSize + 512

// NewBatchHandler returns what answers the packets of conn.
func (s *Server) NewBatchHandler(conn *listen.UDPConn) listen.BatchHandler { return s.newReader(conn) }

func (s *Server) newReader(conn *listen.UDPConn) *reader {
	r := &reader{srv: s, conn: conn, later: &udpWriter{s, conn}, records: make([]querylog.Record, 0, packets.BatchSize),
		replies: make([]packets.Reply, 0, packets.BatchSize), space: make([]byte, packets.BatchSize*replySpace), batch: new(upstream.QueryBatch)}
	r.rest, r.first = r.serveRest, r.readPackets
	cached := new(cache.Entry)
	for i := range r.queries {
		r.queries[i].cached = cached
		r.queries[i].transport, r.queries[i].slot, r.queries[i].batch = querylog.UDP, i, r.batch
	}
	s.readersMu.Lock()
	defer s.readersMu.Unlock()
	s.readers = append(s.readers, r)
	return r
}

// ServeBatch answers the n packets that conn holds: the clock and the policy are
// read once, and replies and records leave together.
func (r *reader) ServeBatch(n int) (began time.Time) {
	r.packets.Add(uint64(n))
	r.batches.Add(1)
	r.records, r.replies, r.used = r.records[:0], r.replies[:0], 0
	r.now, r.policy = r.srv.now(), r.srv.policy()
	r.next, r.end, r.left = 0, n, false
	if n >= fewPackets {
		r.srv.catchPanic(r.first) // what it could not read is read by itself
	}
	for !r.left { // goes on behind a packet that caused an internal error
		r.srv.catchPanic(r.rest)
	}
	return r.now
}

// fewPackets are as many as gain nothing by being read together.
const fewPackets = 3

// readPackets reads all packets of the batch, and looks their names up together: what memory
// has to be waited for is waited for once. It decides nothing, and serve does all that it
// would do without.
func (r *reader) readPackets() {
	var room [packets.BatchSize]*dnswire.Name
	for i := range r.end {
		q := &r.queries[i]
		room[i] = &noName
		packet, ok := r.conn.Packet(i, &q.path)
		if !ok {
			continue
		}
		q.parseErr = dnswire.ParseQuestion(packet, &q.Question)
		r.ahead[i], q.parsed = packet, true
		if q.parseErr == nil {
			room[i], q.lookups = &q.Name, &r.lookups
		}
	}
	r.policy.LookUp(room[:r.end], &r.lookups)
}

// noName stands for what is not looked up.
var noName = dnswire.Root()

// serveRest answers what is left of the batch, and sends it.
func (r *reader) serveRest() {
	for r.next < r.end {
		i := r.next
		r.next++
		q := &r.queries[i]
		packet, ok := r.ahead[i], q.parsed
		if !ok {
			packet, ok = r.conn.Packet(i, &q.path)
		}
		if !ok {
			r.srv.stats.dropped.Add(1)
			continue
		}
		r.srv.prepare(q, r.policy, r.now)
		r.srv.serve(packet, q, r.space[r.used:r.used], r, r.later)
	}
	r.left = true
	r.batch.Flush()
	if len(r.replies) > 0 {
		r.conn.SendReplies(r.replies)
	}
	if len(r.records) > 0 {
		elapsed := r.srv.now().Sub(r.now) // all were received at once, as far as is known
		for i := range r.records {
			r.records[i].Elapsed = elapsed
		}
		r.srv.append(r.records)
	}
	r.clear()
}

// clear forgets what the batch referred to: a reader without packets must not
// keep an old policy in memory.
func (r *reader) clear() {
	for i := range r.end {
		r.queries[i].forget()
	}
	r.lookups.Forget()
	clear(r.records)
	r.policy = nil
}

// send keeps reply for the end of the batch. It lies in r.space unless it was
// too long for what was left there.
func (r *reader) send(q *query, reply []byte) {
	if len(reply) == 0 {
		return
	}
	if len(reply) <= len(r.space)-r.used && &reply[0] == &r.space[r.used] {
		r.used += len(reply)
	}
	r.replies = append(r.replies, packets.Reply{Slot: q.slot, Data: reply})
}

func (r *reader) log(q *query, reply []byte, source querylog.Source) {
	r.records = append(r.records, querylog.Record{})
	q.setRecord(&r.records[len(r.records)-1], reply, source)
}

// A udpWriter sends replies to queries that waited, one by one.
type udpWriter struct {
	srv  *Server
	conn *listen.UDPConn
}

func (w *udpWriter) send(q *query, reply []byte) { w.conn.Send(&q.path, reply) }

func (w *udpWriter) log(q *query, reply []byte, source querylog.Source) {
	w.srv.append([]querylog.Record{q.record(reply, source, w.srv.now())})
}
