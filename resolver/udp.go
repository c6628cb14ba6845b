package resolver

import (
	"time"

	"telltale/blocklists"
	"telltale/dnswire"
	"telltale/querylog"
)

// batchSize is how many packets are received, answered and sent together at
// most, and how many records appended to the log.
const batchSize = 32

// A reader serves one socket. All it has is its own: buffers, queries, replies
// and records never leave its goroutine, so nothing of it is locked or
// allocated for a packet.
type reader struct {
	srv     *Server
	conn    udpConn
	queries [batchSize]query
	records []querylog.Record // of this batch
	out     []outgoing        // replies of this batch
	space   []byte            // what the replies lie in
	used    int

	now       time.Time          // of this batch
	policy    *blocklists.Policy // likewise
	load      load               // whether more comes than can be answered
	asking    *asking            // what is asked of upstreams
	next, end int                // packets of this batch: the one to serve, and how many there are
	left      bool               // its replies and records are on their way
	rest      func()             // serveRest
}

// An outgoing is a reply that waits for the end of its batch.
type outgoing struct {
	q     *query
	reply []byte
}

// replySpace is what one reply may take: the payload limit, and what is appended
// before it is seen to be too long.
const replySpace = dnswire.PayloadSize + 512

// serveUDP answers queries from conn until it is closed.
func (s *Server) serveUDP(conn udpConn) {
	r := s.newReader(conn)
	for s.ctx.Err() == nil {
		if err := conn.serve(r); err != nil {
			if s.ctx.Err() == nil {
				s.logger.Error("cannot receive", "error", err)
				time.Sleep(100 * time.Millisecond)
			}
		}
	}
	r.look() // what was dropped since the last time
	r.noteOverload()
}

// newReader returns a reader of conn.
func (s *Server) newReader(conn udpConn) *reader {
	r := &reader{srv: s, conn: conn, records: make([]querylog.Record, 0, batchSize), out: make([]outgoing, 0, batchSize),
		space: make([]byte, batchSize*replySpace), asking: new(asking), load: newLoad(s.prefix6)}
	r.rest = r.serveRest
	cached := new(entry)
	for i := range r.queries {
		r.queries[i].cached = cached
		r.queries[i].transport, r.queries[i].slot, r.queries[i].asking = querylog.UDP, i, r.asking
	}
	return r
}

// batch answers the n packets that conn holds: the clock and the policy are
// read once, and replies and records leave together.
func (r *reader) batch(n int) {
	r.srv.stats.queries.Add(uint64(n))
	r.records, r.out, r.used = r.records[:0], r.out[:0], 0
	r.now, r.policy = r.srv.now(), r.srv.policy()
	r.next, r.end, r.left = 0, n, false
	for !r.left { // goes on behind a packet that caused a defect
		r.srv.guard(r.rest)
	}
	r.weigh(n)
}

// serveRest answers what is left of the batch, and lets it leave.
func (r *reader) serveRest() {
	for r.next < r.end {
		i := r.next
		r.next++
		q := &r.queries[i]
		packet, ok := r.conn.packet(i, q)
		if !ok {
			r.srv.stats.dropped.Add(1)
			continue
		}
		r.srv.prepare(q, r.policy, r.now)
		r.srv.serve(packet, q, r.space[r.used:r.used], r, r.conn)
	}
	r.left = true
	r.asking.leave()
	if len(r.out) > 0 {
		r.conn.flush(r.out)
	}
	if len(r.records) > 0 {
		elapsed := r.srv.now()
		for i := range r.records {
			r.records[i].Elapsed = elapsed.Sub(r.records[i].Time)
		}
		r.srv.append(r.records)
	}
	r.letGo()
}

// letGo forgets what the batch referred to: a reader without packets must not
// keep an old policy in memory.
func (r *reader) letGo() {
	for i := range r.end {
		q := &r.queries[i]
		q.policy, q.verdict, q.alias, q.binding = nil, blocklists.Verdict{}, nil, nil
	}
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
	r.out = append(r.out, outgoing{q, reply})
}

func (r *reader) log(q *query, reply []byte, source querylog.Source) {
	r.records = append(r.records, q.record(reply, source, q.received))
}
