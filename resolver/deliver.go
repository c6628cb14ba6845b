package resolver

import (
	"time"

	"telltale/dnswire"
	"telltale/querylog"
	"telltale/resolver/cache"
	"telltale/resolver/listen"
	"telltale/resolver/upstream"
)

// A query for an upstream goes one of two ways. Nearly all go by a shared socket:
// the reader writes the query to it, and whoever reads that socket answers the
// client, without a goroutine of the query's own (upstream.Shared). Whatever that
// cannot answer with one packet each way goes on by the fallback, answerLater,
// with all upstreams, TCP, and time to wait.

// fallback ends q on a goroutine of its own.
func (s *Server) fallback(q upstream.Query, start upstream.Start) {
	f := q.(*flight)
	f.start = start
	s.work.Go(func() { s.answerLater(f) })
}

// deliver keeps e as the answer to f, which from gave, and answers all who wait for
// it through out; with what is stale where e is a failure. Each is done only when out is
// done with it. Where f has ended before, an answer is late: it is kept, and no more; a
// failure is nothing new.
func (s *Server) deliver(f *flight, e *cache.Entry, from *upstream.Upstream, out func(*waiter) replyWriter, done func(*waiter)) {
	waiters, first := s.flights.finish(f)
	if first || !e.IsFailure() {
		s.keep(&f.question, e, from)
	}
	if len(waiters) > 0 {
		given := s.orStale(&f.question, e)
		if given != e {
			from = nil // it did not give that
		}
		s.answerWaiters(waiters, given, from, out, done)
	}
}

// answerWaiters answers each of waiters with e, which from has just given; nil: nobody.
func (s *Server) answerWaiters(waiters []*waiter, e *cache.Entry, from *upstream.Upstream, out func(*waiter) replyWriter, done func(*waiter)) {
	for _, w := range waiters {
		s.catchPanic(func() {
			if w.upstream = ""; from != nil {
				w.upstream = from.ID()
			}
			reply, source := s.answerFrom(w.dst[:0], &w.query, e, freshSource(e))
			w.answered = true
			if source == 0 {
				s.wait(&w.query, w.out, w.out)
				return
			}
			s.finish(&w.query, reply, source, out(w))
		})
		done(w)
	}
}

// keepLate keeps an answer that came when nobody waited for it any more: who asks
// again has it at once.
func (s *Server) keepLate(q *dnswire.Question, a *upstream.Answer) {
	f := &flight{question: *q, over: true}
	s.catchPanic(func() {
		if e := s.newEntry(a, nil, f, new(cache.Entry)); !e.IsFailure() {
			s.keep(q, e, a.Upstream)
		}
	})
}

// keep puts e into the cache, unless from, which gave it, is not asked for such a name
// any more. from is nil for a failure of all.
func (s *Server) keep(q *dnswire.Question, e *cache.Entry, from *upstream.Upstream) {
	if from != nil && !s.upstreams.Asks(from, q) {
		return
	}
	s.cache.Put(q, e)
	if from != nil && !s.upstreams.Asks(from, q) {
		s.cache.Flush() // the change came in between, and may have flushed before
	}
}

// writer is where w's reply goes at once.
func (w *waiter) writer() replyWriter { return w.out }

// deliveries are answers to waiters that are sent together: a replyWriter that
// holds replies and records back until the packets that came together have all
// been looked at. They belong to one goroutine.
type deliveries struct {
	srv     *Server
	now     time.Time
	writer  replyWriter // of the waiter being answered
	entry   cache.Entry // what is being answered with
	waiters []*waiter
	replies []outgoingReply
	records []querylog.Record
	outbox  listen.Outbox
}

// An outgoingReply is a reply on its way to a client.
type outgoingReply struct {
	writer replyWriter
	q      *query
	reply  []byte
}

// Answered ends q with a.
func (d *deliveries) Answered(q upstream.Query, a *upstream.Answer, epoch uint32, now time.Time) {
	f := q.(*flight)
	var e *cache.Entry
	d.srv.catchPanic(func() { e = d.srv.newEntry(a, nil, f, &d.entry) })
	if e == nil { // for an internal error
		e = cache.NewFailure(dnswire.EDE{}, now)
	}
	if e.IsFailure() {
		e.KeepFailure(d.srv.cache.Peek(&f.question), epoch)
	}
	d.now = now
	d.srv.deliver(f, e, a.Upstream, d.writerOf, d.hold)
}

// writerOf is where w's reply goes for now.
func (d *deliveries) writerOf(w *waiter) replyWriter {
	d.writer = w.out
	return d
}

// hold keeps w until its reply has been sent.
func (d *deliveries) hold(w *waiter) { d.waiters = append(d.waiters, w) }

func (d *deliveries) send(q *query, reply []byte) {
	d.replies = append(d.replies, outgoingReply{d.writer, q, reply})
}

func (d *deliveries) log(q *query, reply []byte, source querylog.Source) {
	d.records = append(d.records, q.record(reply, source, d.now))
}

// Flush sends all replies and records.
func (d *deliveries) Flush() {
	for _, r := range d.replies {
		if w, ok := r.writer.(*udpWriter); ok && len(r.reply) > 0 {
			d.outbox.Add(w.conn, &r.q.path, r.reply)
		} else {
			r.writer.send(r.q, r.reply)
		}
	}
	d.outbox.Flush()
	if len(d.records) > 0 {
		d.srv.append(d.records)
	}
	for _, w := range d.waiters {
		d.srv.release(w)
	}
	clear(d.waiters)
	clear(d.replies)
	clear(d.records)
	d.waiters, d.replies, d.records, d.writer = d.waiters[:0], d.replies[:0], d.records[:0], nil
}
