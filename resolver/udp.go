package resolver

import (
	"time"

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
	r := &reader{srv: s, conn: conn, records: make([]querylog.Record, 0, batchSize), out: make([]outgoing, 0, batchSize),
		space: make([]byte, batchSize*replySpace)}
	for i := range r.queries {
		r.queries[i].transport, r.queries[i].slot = querylog.UDP, i
	}
	for s.ctx.Err() == nil {
		if err := conn.serve(r); err != nil {
			if s.ctx.Err() == nil {
				s.logger.Error("cannot receive", "error", err)
				time.Sleep(100 * time.Millisecond)
			}
		}
	}
}

// batch answers the n packets that conn holds: the clock and the policy are
// read once, and replies and records leave together.
func (r *reader) batch(n int) {
	s := r.srv
	s.stats.queries.Add(uint64(n))
	r.records, r.out, r.used = r.records[:0], r.out[:0], 0
	s.guard(func() {
		now, policy := s.now(), s.policy()
		for i := range n {
			q := &r.queries[i]
			packet, ok := r.conn.packet(i, q)
			if !ok {
				s.stats.dropped.Add(1)
				continue
			}
			s.prepare(q, policy, now)
			s.serve(packet, q, r.space[r.used:r.used], r, r.conn)
		}
	})
	if len(r.out) > 0 {
		r.conn.flush(r.out)
	}
	if len(r.records) > 0 {
		elapsed := s.now()
		for i := range r.records {
			r.records[i].Elapsed = elapsed.Sub(r.records[i].Time)
		}
		s.append(r.records)
	}
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
