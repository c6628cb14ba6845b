package resolver

import (
	"time"

	"telltale/querylog"
)

// A query for an upstream goes one of two ways. The short way is for nearly all:
// its reader writes it to a socket connected to the upstream that is up, and
// whoever reads that socket answers the client, without a goroutine of the
// query's own (forward_linux.go). The long way is answerLater: whatever the
// short one cannot settle with one packet each way goes on there, with all
// upstreams, TCP, and time to wait.

// arrive keeps e as the answer to f, and answers all who wait for it through
// out. Each may be let go of only when out has done with it.
func (s *Server) arrive(f *flight, e *entry, out func(*waiter) outlet, done func(*waiter)) {
	s.cache.put(f.question, e)
	for _, w := range s.flights.land(f) {
		s.guard(func() {
			reply, source := s.answerFrom(w.dst[:0], &w.query, e, e.fresh())
			w.answered = true
			s.finish(&w.query, reply, source, out(w))
		})
		done(w)
	}
}

// outlet is where w's reply goes at once.
func (w *waiter) outlet() outlet { return w.out }

// arrivals are waiters that are answered together: an outlet that holds replies
// and records back until the packets that came together are all looked at.
type arrivals struct {
	srv     *Server
	now     time.Time
	conn    outlet // of the waiter being answered
	entry   entry  // what is being answered with
	waiters []*waiter
	replies []departure
	records []querylog.Record
}

// A departure is a reply on its way to a client.
type departure struct {
	conn  outlet
	q     *query
	reply []byte
}

// outletOf is where w's reply goes for now.
func (a *arrivals) outletOf(w *waiter) outlet {
	a.conn = w.out
	return a
}

// hold keeps w until its reply has left.
func (a *arrivals) hold(w *waiter) { a.waiters = append(a.waiters, w) }

func (a *arrivals) send(q *query, reply []byte) {
	a.replies = append(a.replies, departure{a.conn, q, reply})
}

func (a *arrivals) log(q *query, reply []byte, source querylog.Source) {
	a.records = append(a.records, q.record(reply, source, a.now))
}

// leave lets all replies and records go.
func (a *arrivals) leave() {
	sendAll(a.srv, a.replies)
	if len(a.records) > 0 {
		a.srv.append(a.records)
	}
	for _, w := range a.waiters {
		a.srv.release(w)
	}
	clear(a.waiters)
	clear(a.replies)
	clear(a.records)
	a.waiters, a.replies, a.records, a.conn = a.waiters[:0], a.replies[:0], a.records[:0], nil
}

// goLong sends f on the long way. tried is an upstream that was asked in vain
// and is to be asked last; nil for none.
func (s *Server) goLong(f *flight, tried *upstream) {
	f.tried = tried
	s.work.Go(func() { s.answerLater(f) })
}

// firstUp returns the upstream that is asked first, as ask has it; nil where
// there is none, or where it is not known to understand EDNS.
func (u *upstreams) firstUp(now time.Time) *upstream {
	all := u.set.Load().all
	for _, state := range [...]UpstreamState{UpstreamUp, UpstreamFailing} {
		for _, m := range all {
			if m.is(state) && m.plain.Load() < now.Unix() {
				return m
			} else if m.is(state) {
				return nil
			}
		}
	}
	return nil
}

// shortPatience is how long an upstream may be silent on the short way.
func (u *upstreams) shortPatience() time.Duration {
	return u.patienceFor(u.budget, len(u.set.Load().all))
}
