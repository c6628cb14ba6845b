package resolver

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"time"

	"telltale/dnswire"
	"telltale/querylog"
	"telltale/resolver/cache"
	"telltale/resolver/overload"
	"telltale/resolver/upstream"
)

// A flight is one question under way to the upstreams, and all who wait for it.
// However often a question is asked meanwhile, and with whatever options, there
// is one query upstream (CVE-2023-30464).
type flight struct {
	question dnswire.Question // of its first waiter
	private  bool
	key      cache.Key
	start    upstream.Start     // of the fallback
	cancel   context.CancelFunc // of the fallback; nil where there is none. Guarded by flights.mu, as all below
	patience *time.Timer        // until those who wait are answered from what is stale; nil: they are not

	waiters []*waiter // until it is finished
	over    bool      // it is finished
}

// Question returns what is asked.
func (f *flight) Question() *dnswire.Question { return &f.question }

// A waiter is a query that waits, copied from its reader.
type waiter struct {
	query
	out      replyWriter
	dst      []byte
	answered bool // its reply is made; what is left is to send it

	packetRoom []byte // for packet
}

// flights are all questions under way. Any goroutine may use them.
type flights struct {
	max, maxClient int
	prefix6        int // bits that tell IPv6 clients apart

	mu      sync.Mutex
	current map[cache.Key]*flight
	clients map[netip.Addr]int // waiting queries of each client
	waiting int
}

func newFlights(maxWaiting, prefix6 int) *flights {
	// A quarter for one client: enough for a router that forwards for a whole
	// home, and not all of it for one device that has gone mad.
	return &flights{max: maxWaiting, maxClient: max(maxWaiting/4, 1), prefix6: prefix6, current: map[cache.Key]*flight{}, clients: map[netip.Addr]int{}}
}

// mayWaitLocked reports whether one more query of client may wait. No client has
// more than there is room left: so many that have gone mad come to equal parts,
// and leave as much to the others (the dynamic thresholds of Choudhury and Hahne).
func (f *flights) mayWaitLocked(client netip.Addr) bool {
	return f.clients[client] < min(f.maxClient, f.max-f.waiting)
}

// join makes w wait. It returns what w waits for, whether that is to be started since
// w is the first with its question, and false if there is no room.
func (f *flights) join(w *waiter) (fl *flight, first, ok bool) {
	client := overload.ClientOf(w.path.Client.Addr(), f.prefix6)
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.mayWaitLocked(client) {
		return nil, false, false
	}
	f.waiting++
	f.clients[client]++
	question := w.asked()
	k := cache.NewKey(question)
	if fl = f.current[k]; fl == nil {
		fl = &flight{question: *question, private: w.private, key: k}
		f.current[k] = fl
		first = true
	}
	fl.waiters = append(fl.waiters, w)
	return fl, first, true
}

// begin returns a flight for q for which nobody waits yet; false where one is under way.
func (f *flights) begin(q *dnswire.Question, private bool) (fl *flight, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	k := cache.NewKey(q)
	if f.current[k] != nil {
		return nil, false
	}
	fl = &flight{question: *q, private: private, key: k}
	f.current[k] = fl
	return fl, true
}

// withdraw takes w out of fl; false where fl has ended, and w may be in use again. then
// is called before fl can end.
func (f *flights) withdraw(fl *flight, w *waiter, then func()) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	i := slices.Index(fl.waiters, w)
	if fl.over || i < 0 {
		return false
	}
	fl.waiters = slices.Delete(fl.waiters, i, i+1)
	f.leaveLocked(w)
	then()
	return true
}

// leaveLocked gives up the room that w takes.
func (f *flights) leaveLocked(w *waiter) {
	client := overload.ClientOf(w.path.Client.Addr(), f.prefix6)
	if f.clients[client]--; f.clients[client] == 0 {
		delete(f.clients, client)
	}
	f.waiting--
}

// finish ends a flight and returns who waited for it. first is false where it has
// ended before: an answer may come by a shared socket and by the fallback.
func (f *flights) finish(fl *flight) (waiters []*waiter, first bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if fl.over {
		return nil, false
	}
	fl.over = true
	if fl.patience != nil {
		fl.patience.Stop()
	}
	if fl.cancel != nil {
		fl.cancel()
	}
	if f.current[fl.key] == fl {
		delete(f.current, fl.key)
	}
	return f.leaveAllLocked(fl), true
}

// leaveAllLocked lets nobody wait for fl any more, and returns who did.
func (f *flights) leaveAllLocked(fl *flight) (waiters []*waiter) {
	for _, w := range fl.waiters {
		f.leaveLocked(w)
	}
	waiters, fl.waiters = fl.waiters, nil
	return waiters
}

// setPatience has run called once fl has taken so long. The first to say so decides.
func (f *flights) setPatience(fl *flight, d time.Duration, run func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if fl.patience == nil && !fl.over {
		fl.patience = time.AfterFunc(d, run)
	}
}

// takeWaiters lets nobody wait for fl any more, which goes on, and returns who did. then
// is called before fl can end; neither happens where it has ended.
func (f *flights) takeWaiters(fl *flight, then func()) (waiters []*waiter) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if fl.over {
		return nil
	}
	then()
	fl.patience = nil // who comes from now on has it all
	return f.leaveAllLocked(fl)
}

// renew lets nobody join a flight of before: others are asked from now on.
func (f *flights) renew() {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.current)
}

// setCancel says how the fallback of a flight is ended when it is finished.
func (f *flights) setCancel(fl *flight, cancel context.CancelFunc) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if fl.cancel = cancel; fl.over {
		cancel()
	}
}

// count returns how many queries wait.
func (f *flights) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.waiting
}

func makeWaiter() any { return &waiter{dst: make([]byte, 0, dnswire.PayloadSize)} }

// newWaiter copies q, so that it can wait. A waiter is used again by its own server
// alone: the lock of that server's flights guards it.
func (s *Server) newWaiter(q *query, out replyWriter) *waiter {
	w := s.waiters.Get().(*waiter)
	w.query, w.out = *q, out
	w.batch, w.cached, w.lookups = nil, nil, nil // are the reader's
	if q.packet != nil {
		w.packetRoom = append(w.packetRoom[:0], q.packet...)
		w.packet = w.packetRoom
	}
	w.Detach()
	w.setAlias(w.alias) // what there is of it is q's
	return w
}

// wait sends q, which needs an upstream, on its way, or sheds it.
func (s *Server) wait(q *query, now, later replyWriter) {
	w := s.newWaiter(q, later)
	asker := s.upstreams.At(q.path.Client.Addr())
	f, first, ok := s.flights.join(w)
	if ok && !first && asker != nil {
		s.breakLoop(f, w, asker)
	}
	if !ok {
		s.shed(q, w, now)
		return
	}
	if q.expired {
		epoch := s.epoch.Load()
		s.flights.setPatience(f, s.patience, func() { s.answerStale(f, epoch) })
	}
	if first {
		s.prefetches.earn()
	}
	if first && (q.batch == nil || f.private || !s.shared.Ask(f, q.batch)) {
		s.fallback(f, upstream.Start{})
	}
}

// shed answers q, whose copy w cannot wait, from what is stale, or not at all.
func (s *Server) shed(q *query, w *waiter, now replyWriter) {
	defer s.release(w)
	if q.expired {
		if e := s.staleFor(q.asked()); e != nil && !e.IsFailure() {
			s.answerWaiters([]*waiter{w}, e, nil, (*waiter).writer, func(*waiter) {})
			return
		}
	}
	w.answered = true // by the reader
	s.stats.shed.Add(1)
	s.finish(q, nil, querylog.Shed, now)
}

// stalePatience is how long a client waits for an upstream where the cache has what it
// had (RFC 8767, 5).
const stalePatience = 1800 * time.Millisecond

// answerStale answers those who wait for f from what is stale. f goes on, for the
// cache; until it ends, who asks the same is answered at once.
func (s *Server) answerStale(f *flight, epoch uint32) {
	e := s.staleFor(&f.question)
	if e == nil || e.IsFailure() {
		return
	}
	waiters := s.flights.takeWaiters(f, func() { s.work.Add(1) })
	if waiters == nil {
		return
	}
	defer s.work.Done()
	s.cache.Defer(&f.question, s.now(), epoch)
	s.answerWaiters(waiters, e, nil, (*waiter).writer, s.release)
}

// breakLoop sees to it that w, which came from an upstream while the same is under
// way, does not wait for long: where the upstream has sent the question back, each
// waits for the other. It may be another client behind the upstream's address, so it
// waits twice as long as the upstream needs.
func (s *Server) breakLoop(f *flight, w *waiter, asker *upstream.Upstream) {
	time.AfterFunc(2*asker.Timeout(), func() {
		if !s.flights.withdraw(f, w, func() { s.work.Add(1) }) {
			return // it has its answer
		}
		defer s.work.Done()
		s.upstreams.ReturnedBy(asker)
		w.answered = true
		ede := dnswire.EDE{Code: dnswire.EDEOther, Text: "loop: this server asks you for the same"}
		s.catchPanic(func() {
			w.ttl = 0
			s.finish(&w.query, dnswire.AppendEmpty(w.dst[:0], &w.Question, dnswire.ServFail, s.cookies.answer(&w.query), ede), querylog.FromError, w.out)
		})
		s.release(w)
	})
}

// release gives w back. Nothing of it may be in use any more. One that an internal
// error left without a reply gets SERVFAIL first: it may hold up a stream.
func (s *Server) release(w *waiter) {
	if !w.answered {
		s.finish(&w.query, dnswire.AppendEmpty(w.dst[:0], &w.Question, dnswire.ServFail, nil, dnswire.EDE{}), querylog.FromError, w.out)
	}
	w.query, w.out, w.answered = query{}, nil, false
	s.waiters.Put(w)
}

// exchangeBudget bounds the time a query may take upstream, all tries counted.
const exchangeBudget = 6 * time.Second

// resolve asks the upstreams, and always returns an entry. from is the one that
// answered; nil for none.
func (s *Server) resolve(f *flight) (e *cache.Entry, from *upstream.Upstream) {
	e = cache.NewFailure(dnswire.EDE{}, s.now()) // for an internal error
	s.catchPanic(func() { e, from = s.askUpstreams(f) })
	return e, from
}

func (s *Server) askUpstreams(f *flight) (e *cache.Entry, from *upstream.Upstream) {
	epoch := s.epoch.Load()
	ctx, cancel := context.WithTimeout(s.ctx, exchangeBudget)
	defer cancel()
	s.flights.setCancel(f, cancel)
	var a upstream.Answer
	var err error
	if f.private {
		a, err = s.upstreams.ExchangePrivate(ctx, &f.question, f.start)
	} else {
		a, err = s.upstreams.Exchange(ctx, &f.question, f.start)
	}
	e = s.newEntry(&a, err, f, new(cache.Entry))
	if e.IsFailure() && !wasNotAsked(err) {
		e.KeepFailure(s.cache.Peek(&f.question), epoch)
	}
	return e, a.Upstream
}

// newEntry makes an entry, in into, of what the upstreams said, or why they did
// not.
func (s *Server) newEntry(a *upstream.Answer, err error, f *flight, into *cache.Entry) *cache.Entry {
	if err != nil {
		return cache.NewFailure(errorEDE(err), s.now())
	}
	defer a.Release()
	sz := sanitizerPool.Get().(*dnswire.Sanitizer)
	defer sanitizerPool.Put(sz)
	sz.Servers = s.policy().HasServerRules()
	c, err := sz.Sanitize(a.Wire, &f.question)
	if err != nil {
		s.stats.invalid.Add(1)
		return cache.NewFailure(dnswire.EDE{Code: dnswire.EDEInvalidData, Text: err.Error()}, s.now())
	}
	setEntry(into, &c, f.question.Type, a.Upstream.TrustAD(), a.Upstream.Private(), s.now())
	s.settings.Load().clamp(into, c.Negative)
	return into
}

// wasNotAsked reports whether err says that there was nobody to ask. That is
// known at once each time, and a memory of it would outlive the trouble.
func wasNotAsked(err error) bool {
	var e *upstream.Error
	return err == upstream.ErrNoPrivate || errors.As(err, &e) && e.Unasked
}

var sanitizerPool = sync.Pool{New: func() any { return new(dnswire.Sanitizer) }}

// errorEDE says to the client why no upstream answered.
func errorEDE(err error) dnswire.EDE {
	var e *upstream.Error
	if errors.As(err, &e) {
		return dnswire.EDE{Code: e.Code, Text: e.Text}
	}
	return dnswire.EDE{Code: dnswire.EDENoReachable, Text: err.Error()}
}
