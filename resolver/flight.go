package resolver

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"time"

	"telltale/dnswire"
	"telltale/querylog"
)

// A flight is one question under way to the upstreams, and all who wait for it.
// However often a question is asked meanwhile, and with whatever options, there
// is one query upstream (CVE-2023-30464).
type flight struct {
	question *dnswire.Question // of its first waiter, who stays until it has landed
	private  bool
	tried    *upstream // was asked in vain already; nil for none
	key      key
	waiters  []*waiter // guarded by flights.mu until landed
}

// A waiter is a query that waits, copied from its reader.
type waiter struct {
	query
	out      outlet
	dst      []byte
	answered bool // its reply is made; what is left is to send it
}

// flights are all questions under way. Any goroutine may use them.
type flights struct {
	max, maxClient int
	prefix6        int // bits that tell IPv6 clients apart

	mu      sync.Mutex
	under   map[key]*flight
	clients map[netip.Addr]int // waiting queries of each client
	waiting int
}

func newFlights(maxWaiting, prefix6 int) *flights {
	// A quarter for one client: enough for a router that forwards for a whole
	// house, and not all of it for one device that has gone mad.
	return &flights{max: maxWaiting, maxClient: max(maxWaiting/4, 1), prefix6: prefix6, under: map[key]*flight{}, clients: map[netip.Addr]int{}}
}

// roomLocked reports whether one more query of client may wait. No client has
// more than there is room left: so many that have gone mad come to equal parts,
// and leave as much to the others (the dynamic thresholds of Choudhury and Hahne).
func (f *flights) roomLocked(client netip.Addr) bool {
	return f.clients[client] < min(f.maxClient, f.max-f.waiting)
}

// board makes w wait. It returns the flight to start if w is the first with its
// question, and false if there is no room.
func (f *flights) board(w *waiter) (start *flight, ok bool) {
	client := clientOf(w.client.Addr(), f.prefix6)
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.roomLocked(client) {
		return nil, false
	}
	f.waiting++
	f.clients[client]++
	k := newKey(&w.Question)
	fl := f.under[k]
	if fl == nil {
		fl = &flight{question: &w.Question, private: w.private, key: k}
		f.under[k] = fl
		start = fl
	}
	fl.waiters = append(fl.waiters, w)
	return start, true
}

// land ends a flight and returns who waited for it.
func (f *flights) land(fl *flight) []*waiter {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.under, fl.key)
	for _, w := range fl.waiters {
		client := clientOf(w.client.Addr(), f.prefix6)
		if f.clients[client]--; f.clients[client] == 0 {
			delete(f.clients, client)
		}
	}
	f.waiting -= len(fl.waiters)
	return fl.waiters
}

// count returns how many queries wait.
func (f *flights) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.waiting
}

var waiterPool = sync.Pool{New: func() any { return &waiter{dst: make([]byte, 0, dnswire.PayloadSize)} }}

// wait sends q, which needs an upstream, on its way, or sheds it.
func (s *Server) wait(q *query, now, later outlet) {
	if q.redirects() {
		s.redirect(q, now, later)
		return
	}
	w := waiterPool.Get().(*waiter)
	w.query, w.out = *q, later
	w.asking, w.cached = nil, nil // are the reader's
	w.Detach()
	start, ok := s.flights.board(w)
	if !ok {
		w.answered = true // by the reader
		s.release(w)
		s.stats.shed.Add(1)
		s.finish(q, nil, querylog.Shed, now)
		return
	}
	if start != nil && (q.asking == nil || !s.short.take(start, q.asking)) {
		s.goLong(start, nil)
	}
}

// release gives w back. Nothing of it may be in use any more. One that a defect
// left without a reply gets SERVFAIL first: it may hold up a stream.
func (s *Server) release(w *waiter) {
	if !w.answered {
		s.finish(&w.query, dnswire.AppendEmpty(w.dst[:0], &w.Question, dnswire.ServFail, nil, dnswire.EDE{}), querylog.FromError, w.out)
	}
	w.query, w.out, w.answered = query{}, nil, false
	waiterPool.Put(w)
}

// exchangeBudget bounds the time a query may take upstream, all tries counted.
const exchangeBudget = 3 * time.Second

// resolve asks the upstreams, and always returns an entry.
func (s *Server) resolve(f *flight) (e *entry) {
	e = newFailure(dnswire.EDE{}, s.now()) // of a defect
	s.guard(func() { e = s.askUpstreams(f) })
	return e
}

func (s *Server) askUpstreams(f *flight) *entry {
	weather := s.upstreams.weather.Load()
	ctx, cancel := context.WithTimeout(s.ctx, exchangeBudget)
	defer cancel()
	var a answer
	var err error
	if f.private {
		a, err = s.upstreams.exchangePrivate(ctx, f.question)
	} else {
		a, err = s.upstreams.exchangeAfter(ctx, f.question, f.tried)
	}
	e := s.newEntryOf(&a, err, f, new(entry))
	if e.isFailure() && !wasNotAsked(err) {
		e.keepFailure(s.cache.peek(f.question), weather)
	}
	return e
}

// newEntryOf makes an entry, in into, of what the upstreams said, or why they did
// not.
func (s *Server) newEntryOf(a *answer, err error, f *flight, into *entry) *entry {
	if err != nil {
		return newFailure(errorEDE(err), s.now())
	}
	defer a.release()
	sc := scrubberPool.Get().(*dnswire.Scrubber)
	defer scrubberPool.Put(sc)
	c, err := sc.Scrub(a.wire, f.question)
	if err != nil {
		s.stats.invalid.Add(1)
		return newFailure(dnswire.EDE{Code: dnswire.EDEInvalidData, Text: err.Error()}, s.now())
	}
	into.set(&c, a, f.question.Type, s.now())
	return into
}

// wasNotAsked reports whether err says that there was nobody to ask. That is
// known at once each time, and a memory of it would outlive the trouble.
func wasNotAsked(err error) bool {
	var e *exchangeError
	return err == errNone || errors.As(err, &e) && e.unasked
}

var scrubberPool = sync.Pool{New: func() any { return new(dnswire.Scrubber) }}

// errorEDE says to the client why no upstream answered.
func errorEDE(err error) dnswire.EDE {
	var e *exchangeError
	if errors.As(err, &e) {
		return dnswire.EDE{Code: e.code, Text: e.text}
	}
	return dnswire.EDE{Code: dnswire.EDENoReachable, Text: err.Error()}
}
