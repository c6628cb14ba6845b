package upstream

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"telltale/dnswire"
)

// A requester carries queries to one upstream, each as a request of its own on a connection
// that stays open: an HTTP request, or a stream of QUIC. What a connection leaves unanswered
// goes out again on the next. There is a goroutine for each query, and one for each connection.
type requester struct {
	client  *Client
	health  *health
	dial    func(context.Context) (requestConn, error)
	retired <-chan struct{} // is closed when the upstream is no longer one
	idle    time.Duration   // how long a connection may carry nothing

	mu      sync.Mutex
	current *openConn // takes queries; nil: none
	dialing *dialing  // nil: nobody dials
	quota   quota
	problem string // what was wrong with the server the last time; empty: nothing
}

// A requestConn is a connection for requests. Any goroutine may use it.
type requestConn interface {
	// request sends a query, which has its length in front, and returns the reply. An error is
	// that of ctx, a *requestError, or else the end of the connection.
	request(ctx context.Context, query []byte) (reply *exchangeBuffer, size int, err error)
	// ended is closed when nothing can be sent any more.
	ended() <-chan struct{}
	close()
}

// A requestError means that a request has failed and its connection has not.
type requestError struct {
	err   error
	again bool // the server has reset it: a query may be asked again, whatever the server did with it
}

func (e *requestError) Error() string { return e.err.Error() }
func (e *requestError) Unwrap() error { return e.err }

// A dialing is the wait for a connection.
type dialing struct {
	done chan struct{} // is closed at the end
	err  error         // set before that
}

// An openConn is a connection in use. The requester's mutex guards what changes.
type openConn struct {
	requestConn
	wake chan struct{} // holds one while its goroutine is to look at it
	gone chan struct{} // is closed when it is closed

	isOver     bool // takes no queries any more
	isDead     bool // nothing comes on it
	sent       int
	answers    int
	lost       int       // queries that it has left unanswered
	open       int       // requests
	waiting    int       // those of them that somebody waits for
	active     time.Time // something was sent or came
	unanswered time.Time // since when somebody waits and nothing comes; zero: nobody
}

// A request is a query given to a requester, whose mutex guards what changes.
type request struct {
	requester *requester
	member    *Upstream
	message   []byte // with its length in front
	asked     []byte // the part of message that a reply repeats
	cancel    context.CancelFunc
	delivery

	conn *openConn // that it is on; nil: on none
}

func (u *Client) newRequester(h *health, retired <-chan struct{}, dial func(context.Context) (requestConn, error)) *requester {
	return &requester{client: u, health: h, dial: dial, retired: retired, idle: u.streamIdle}
}

// ask sends q, and posts one result to results, which must have room. The id is 0, since a
// request has an answer of its own (RFC 8484, 4.1; RFC 9250, 4.2.1).
func (r *requester) ask(m *Upstream, q *dnswire.Question, how mode, from int, results chan<- result) sending {
	var b exchangeBuffer
	message, asked := b.writeQuery(q, 0, how, m)
	message = b.query[:2+len(message)]
	if how != modePlain {
		message = appendPadding(message, len(m.subnet))
	}
	ctx, cancel := context.WithTimeout(r.client.ctx, lateWithin)
	rq := &request{
		requester: r, member: m, message: message, asked: message[2 : 2+len(asked)], cancel: cancel, delivery: delivery{from: from, results: results},
	}
	r.client.tasks.Go(func() {
		defer cancel()
		rq.post(r.carry(ctx, rq))
	})
	return rq
}

func (r *requester) connected() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.current != nil
}

func (r *requester) lastProblem() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.problem
}

// carry asks, on as many connections as it takes.
func (r *requester) carry(ctx context.Context, rq *request) result {
	var first time.Time
	for ends := 1; ; ends++ {
		conn, err := r.take(ctx, rq)
		if err != nil {
			return result{err: err}
		}
		sent := time.Now()
		if first.IsZero() {
			first = sent
		}
		b, size, err := conn.request(ctx, rq.message)
		if err != nil && ctx.Err() != nil {
			err = ctx.Err() // whatever came of that
		}
		r.give(conn, rq, err)
		if err == nil {
			return r.received(rq, b, size, first, sent)
		}
		var failed *requestError
		switch {
		case err == ctx.Err(), errors.As(err, &failed) && !failed.again, ends >= maxStreamEnds, rq.isLate():
			return result{err: err}
		}
	}
}

// received judges a reply.
func (r *requester) received(rq *request, b *exchangeBuffer, size int, first, sent time.Time) result {
	kind, end, _ := checkReply(b.reply[:size], rq.asked)
	if kind == replyStray {
		b.release()
		r.health.strays.Add(1)
		return result{err: errStrays}
	}
	now := time.Now()
	r.health.timing.replied([]time.Time{sent}, now)
	if kind == replyGood && !rq.member.probing {
		r.health.timing.answered(now.Sub(first))
	}
	r.client.setUp(r.health)
	return result{kind: kind, answer: rq.member.answer(b, end)}
}

// take returns a connection for a request, and dials one where there is none.
func (r *requester) take(ctx context.Context, rq *request) (*openConn, error) {
	for {
		conn, wait, attempt := r.tryTake(rq)
		if conn != nil {
			return conn, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-wait:
		}
		if attempt != nil && attempt.err != nil {
			return nil, attempt.err
		}
	}
}

// tryTake returns a connection, or what to wait for: the end of one that takes no more, or
// of an attempt to dial.
func (r *requester) tryTake(rq *request) (conn *openConn, wait <-chan struct{}, attempt *dialing) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if conn = r.current; conn != nil {
		if r.quota.reached(conn.sent) {
			return nil, conn.gone, nil
		}
		now := time.Now()
		conn.sent++
		conn.open++
		if rq.conn = conn; rq.late == nil {
			conn.waiting++
			if conn.unanswered.IsZero() {
				conn.unanswered = now
			}
		}
		conn.active = now
		conn.wakeUp()
		return conn, nil, nil
	}
	if r.dialing == nil {
		r.dialing = &dialing{done: make(chan struct{})}
		r.client.tasks.Go(func() { r.open(r.dialing) })
	}
	return nil, r.dialing.done, r.dialing
}

// open dials.
func (r *requester) open(attempt *dialing) {
	ctx, cancel := context.WithTimeout(r.client.ctx, r.health.dialLimit())
	defer cancel()
	dialled, err := r.dial(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	defer close(attempt.done)
	attempt.err, r.dialing, r.problem = err, nil, describeProblem(err)
	if err != nil {
		return
	}
	conn := &openConn{requestConn: dialled, wake: make(chan struct{}, 1), gone: make(chan struct{}), active: time.Now()}
	r.current = conn
	r.client.tasks.Go(func() { r.tend(conn) })
}

// give takes in what came of a request on a connection.
func (r *requester) give(conn *openConn, rq *request, err error) {
	now := time.Now()
	var failed *requestError
	isAnswer := err == nil || errors.As(err, &failed)
	r.mu.Lock()
	defer r.mu.Unlock()
	if rq.conn = nil; rq.late == nil {
		conn.waiting--
	}
	conn.open--
	switch {
	case isAnswer:
		conn.active, conn.unanswered = now, now
		conn.answers++
		r.problem = describeProblem(err)
	case !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded):
		conn.lost++
		r.retireLocked(conn)
	}
	if conn.waiting == 0 {
		conn.unanswered = time.Time{}
	}
	if conn.open == 0 {
		conn.wakeUp()
	}
}

// retireLocked lets a connection take no more queries.
func (r *requester) retireLocked(conn *openConn) {
	conn.isOver = true
	if r.current == conn {
		r.current = nil
	}
	conn.wakeUp()
}

// wakeUp has the connection's goroutine look at it.
func (c *openConn) wakeUp() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// tend closes a connection when it is idle, dead, full, or nobody's any more.
func (r *requester) tend(conn *openConn) {
	defer close(conn.gone)
	timer := time.NewTimer(0)
	defer timer.Stop()
	retired, ended, stopped := r.retired, conn.ended(), false
	for {
		wait := r.rest(conn, time.Now(), retired == nil)
		if wait <= 0 || stopped {
			break
		}
		timer.Reset(wait)
		select {
		case <-conn.wake:
		case <-timer.C:
		case <-retired:
			retired = nil
		case <-ended:
			ended = nil
			r.mu.Lock()
			r.retireLocked(conn)
			r.mu.Unlock()
		case <-r.client.ctx.Done():
			stopped = true
		}
	}
	conn.close()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.retireLocked(conn)
	r.quota.ended(conn.answers, conn.lost > 0 && !conn.isDead)
}

// rest returns how long nothing is to be done with a connection; 0: it is to be closed.
func (r *requester) rest(conn *openConn, now time.Time, retired bool) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case conn.open == 0 && (conn.isOver || retired || r.quota.reached(conn.sent)):
		return 0
	case conn.open == 0:
		return conn.active.Add(r.idle).Sub(now)
	case conn.waiting == 0:
		return lateWithin
	}
	left := conn.unanswered.Add(r.health.deadAfter()).Sub(now)
	conn.isDead = left <= 0
	return left
}

func (rq *request) post(r result) { rq.delivery.post(&rq.requester.mu, r) }

func (rq *request) isLate() bool {
	rq.requester.mu.Lock()
	defer rq.requester.mu.Unlock()
	return rq.late != nil
}

// leave ends the request for the exchange, as conversation.leave does.
func (rq *request) leave(late func(*Answer), end func()) {
	r := rq.requester
	r.mu.Lock()
	defer r.mu.Unlock()
	if rq.ended {
		end()
		return
	}
	if late == nil {
		late = func(*Answer) {}
		rq.cancel()
	}
	rq.late, rq.end = late, end
	if conn := rq.conn; conn != nil {
		if conn.waiting--; conn.waiting == 0 {
			conn.unanswered = time.Time{}
		}
	} else {
		rq.cancel() // it is not even sent
	}
}

// errTooLong means that a reply is longer than a message can be.
var errTooLong = errors.New("the reply is longer than a DNS message can be")

// readReply reads a whole reply.
func readReply(from io.Reader) (*exchangeBuffer, int, error) {
	b := getBuffer(&udpBuffers)
	size, err := io.ReadFull(from, b.reply)
	if err == nil {
		long := getBuffer(&tcpBuffers)
		copy(long.reply, b.reply)
		b.release()
		b = long
		var more int
		more, err = io.ReadFull(from, b.reply[size:])
		size += more
	}
	if err == nil {
		var one [1]byte
		if _, err = io.ReadFull(from, one[:]); err == nil {
			err = &requestError{err: errTooLong}
		}
	}
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return b, size, nil
	}
	b.release()
	return nil, 0, err
}
