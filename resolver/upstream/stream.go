package upstream

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"net"
	"slices"
	"sync"
	"time"

	"telltale/dnswire"
)

// Bounds of a connection that queries share.
const (
	maxWindow     = 256              // queries that are waited for at once on a connection; others wait their turn
	maxPending    = 4 * maxWindow    // with those that may be answered late
	maxBarren     = 2                // queries that have failed so without any answer between, and all that wait have failed
	maxStreamEnds = 5                // connections that may end under one query before it has failed
	streamIdle    = 30 * time.Second // a connection that carries nothing is closed then (RFC 7766, 6.2.3)
	leastDead     = 2 * time.Second  // a connection on which nothing comes for so long is given up
	leastDial     = 2 * time.Second  // and one that is not there after so long
	mostDial      = 4 * time.Second
	quotaGrows    = 16 // connections in a row that answered their quota, and the next gets twice as much
)

// A stream carries queries to one upstream, by TCP or TLS, on one connection that
// stays open (RFC 7766, RFC 7858): many at a time, whose answers come in any order.
// What a connection leaves unanswered goes out again on the next. There is a
// goroutine that writes and one that reads only while there is a connection.
type stream struct {
	client  *Client
	health  *health
	secure  *tls.Config     // nil: TCP without TLS
	retired <-chan struct{} // is closed when the upstream is no longer one
	wake    chan struct{}   // holds one while the queue has something new
	idle    time.Duration   // how long a connection may carry nothing

	mu         sync.Mutex
	serving    bool // the goroutine that dials and writes runs
	isOpen     bool // there is a connection
	queue      []*streamQuery
	pending    map[uint16]*streamQuery // sent on the connection, by id
	waiting    int                     // those of pending that somebody waits for
	givenUp    [2]map[uint16]struct{}  // ids of this connection whose queries are no longer waited for at all; the second are the older ones
	quota      quota
	barren     int       // queries that failed since connections ended under them, since the last answer
	sent       int       // on the connection
	answers    int       // on the connection
	strays     int       // on the connection
	expired    time.Time // when expireLocked last looked
	active     time.Time // something was sent or came
	unanswered time.Time // since when somebody waits and nothing comes; zero: nobody
	problem    string    // why there was no connection the last time; empty: there was
}

// A streamQuery is a query given to a stream. The stream's mutex guards what changes.
type streamQuery struct {
	stream  *stream
	member  *Upstream
	message []byte // with its length in front; its id is set each time it is sent
	asked   []byte // the part of message that a reply repeats
	delivery

	id    uint16
	first time.Time // when it was given to the stream
	sent  time.Time
	ends  int // connections that have ended under it
}

// newStream returns the stream to an upstream.
func (u *Client) newStream(h *health, s Server, retired <-chan struct{}) *stream {
	t := &stream{client: u, health: h, retired: retired, wake: make(chan struct{}, 1), idle: u.streamIdle, pending: map[uint16]*streamQuery{}}
	if s.Transport == TLS {
		t.secure = u.tlsConfig(s, "dot")
	}
	return t
}

// ask sends q, and posts one result to results, which must have room.
func (s *stream) ask(m *Upstream, q *dnswire.Question, how mode, from int, results chan<- result) sending {
	var b exchangeBuffer
	message, asked := b.writeQuery(q, 0, how, m)
	message = b.query[:2+len(message)]
	if s.secure != nil && how != modePlain {
		message = appendPadding(message, len(m.subnet))
		asked = message[2 : 2+len(asked)]
	}
	sq := &streamQuery{stream: s, member: m, message: message, asked: asked, delivery: delivery{from: from, results: results}, first: time.Now()}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue = append(s.queue, sq)
	if !s.serving {
		s.serving = true
		s.client.tasks.Go(s.serve)
	}
	s.wakeUp()
	return sq
}

// paddingBlock is what the length of encrypted queries is a multiple of (RFC 8467, 4.1).
const paddingBlock = 128

// appendPadding pads a message, which has its length in front and ends with an OPT
// with so many octets of other options (RFC 7830).
func appendPadding(message []byte, others int) []byte {
	const option = 12
	size := (paddingBlock - (len(message)-2+4)%paddingBlock) % paddingBlock
	binary.BigEndian.PutUint16(message[len(message)-others-2:], uint16(others+4+size))
	message = append(message, 0, option, 0, byte(size))
	message = append(message, make([]byte, size)...)
	binary.BigEndian.PutUint16(message, uint16(len(message)-2))
	return message
}

// wakeUp has the writer look at the queue.
func (s *stream) wakeUp() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// connected reports whether there is a connection.
func (s *stream) connected() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.isOpen
}

// lastProblem returns why there was no connection the last time; empty if there was.
func (s *stream) lastProblem() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.problem
}

// serve dials and writes for as long as there is something to be sent.
func (s *stream) serve() {
	for s.hasWork() {
		raw, conn, err := s.dial()
		s.mu.Lock()
		s.problem = describeProblem(err)
		s.mu.Unlock()
		if err != nil {
			s.failAll(err)
			continue
		}
		s.carry(raw, conn)
	}
}

// hasWork reports whether a connection is needed. If not, the next query starts
// another goroutine.
func (s *stream) hasWork() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.serving = len(s.queue) > 0
	return s.serving
}

// dial opens a connection. raw is what conn rests on.
func (s *stream) dial() (raw, conn net.Conn, err error) {
	ctx, cancel := context.WithTimeout(s.client.ctx, s.health.dialLimit())
	defer cancel()
	return s.client.dialTLS(ctx, s.health, s.secure)
}

// carry writes what is in the queue, until the connection ends.
func (s *stream) carry(raw, conn net.Conn) {
	defer interrupt(s.client.ctx, raw)()
	s.begin()
	over := make(chan struct{})
	var why error
	s.client.tasks.Go(func() {
		defer close(over)
		why = s.read(conn)
	})
	err := s.write(conn, over)
	if err == nil {
		conn.Close() // it says goodbye, and the far end is there to hear it
	}
	raw.Close()
	<-over
	if err == nil || errors.Is(err, errOver) {
		err = why
	}
	s.finish(err)
}

var (
	// errOver means that the far end has closed the connection.
	errOver = errors.New("the connection has ended")
	// errDead means that nothing comes any more.
	errDead error = &net.OpError{Op: "read", Net: "tcp", Err: context.DeadlineExceeded}
)

// write sends the queue until the connection is over; nil means that nobody needs
// it any more.
func (s *stream) write(conn net.Conn, over <-chan struct{}) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	retired := s.retired
	var out []byte
	for {
		now := time.Now()
		if out = s.takeQueue(out[:0], now); len(out) > 0 {
			conn.SetWriteDeadline(now.Add(s.health.deadAfter()))
			if _, err := conn.Write(out); err != nil {
				return err
			}
		}
		wait, err := s.rest(time.Now(), retired == nil)
		if err != nil || wait <= 0 {
			return err
		}
		timer.Reset(wait)
		select {
		case <-s.wake:
		case <-timer.C:
		case <-retired:
			retired = nil
		case <-over:
			return errOver
		}
	}
}

// begin takes in that there is a new connection.
func (s *stream) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.givenUp = [2]map[uint16]struct{}{}
	s.isOpen, s.sent, s.answers, s.strays, s.active, s.unanswered = true, 0, 0, 0, time.Now(), time.Time{}
}

// takeQueue appends what may be sent now to out, and makes it pending.
func (s *stream) takeQueue(out []byte, now time.Time) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expireLocked(now)
	n := 0
	for _, sq := range s.queue {
		if s.waiting >= maxWindow || s.quota.reached(s.sent) {
			break
		}
		n++
		sq.id, sq.sent = s.newIDLocked(), now
		binary.BigEndian.PutUint16(sq.message[2:], sq.id)
		s.pending[sq.id] = sq
		s.waiting++
		s.sent++
		out = append(out, sq.message...)
	}
	s.queue = slices.Delete(s.queue, 0, n)
	if n > 0 {
		s.active = now
		if s.unanswered.IsZero() {
			s.unanswered = now
		}
	}
	return out
}

// expireLocked ends what nobody waits for and is too late by now; all of it, where
// there is too much.
func (s *stream) expireLocked(now time.Time) {
	within := lateWithin
	if len(s.pending) >= maxPending {
		within = 0
	} else if now.Sub(s.expired) < time.Second {
		return
	}
	s.expired = now
	for id, sq := range s.pending {
		if sq.late != nil && now.Sub(sq.sent) >= within {
			delete(s.pending, id)
			s.rememberLocked(id)
			sq.endLocked()
		}
	}
}

// rememberLocked takes in that the query of an id is no longer waited for at all: what still
// comes for it is a reply, and no stray. The last maxPending ids are known, and no more than
// twice as many.
func (s *stream) rememberLocked(id uint16) {
	if s.givenUp[0] == nil || len(s.givenUp[0]) >= maxPending {
		s.givenUp[0], s.givenUp[1] = map[uint16]struct{}{}, s.givenUp[0]
	}
	s.givenUp[0][id] = struct{}{}
}

func (s *stream) wasGivenUpLocked(id uint16) bool {
	for _, ids := range s.givenUp {
		if _, ok := ids[id]; ok {
			return true
		}
	}
	return false
}

// newIDLocked returns a random id that nothing pending has, and nothing given up.
func (s *stream) newIDLocked() uint16 {
	for {
		var random [2]byte
		rand.Read(random[:])
		id := binary.BigEndian.Uint16(random[:])
		if s.pending[id] == nil && !s.wasGivenUpLocked(id) {
			return id
		}
	}
}

// rest returns how long the writer has nothing to do; 0 when nobody needs the
// connection any more, and an error when the connection is dead.
func (s *stream) rest(now time.Time, retired bool) (time.Duration, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waiting == 0 {
		if len(s.queue) == 0 && retired || len(s.queue) > 0 && s.quota.reached(s.sent) {
			return 0, nil
		}
		return s.active.Add(s.idle).Sub(now), nil
	}
	left := s.unanswered.Add(s.health.deadAfter()).Sub(now)
	if left <= 0 {
		return 0, errDead
	}
	return left, nil
}

// read takes replies until the connection ends.
func (s *stream) read(conn net.Conn) error {
	for {
		b, n, err := readFramed(conn)
		if err != nil {
			return err
		}
		if !s.received(b, n) {
			return errStrays
		}
	}
}

// received takes in a message, and reports whether the connection may be kept.
func (s *stream) received(b *exchangeBuffer, n int) bool {
	now := time.Now()
	s.mu.Lock()
	s.active = now
	sq, kind, end := s.matchLocked(b.reply[:n])
	switch {
	case sq == nil && n >= dnswire.HeaderLen && s.wasGivenUpLocked(binary.BigEndian.Uint16(b.reply)):
		for _, ids := range s.givenUp { // a second reply is a stray
			delete(ids, binary.BigEndian.Uint16(b.reply))
		}
		s.answeredLocked(now)
		s.mu.Unlock()
		b.release()
		return true
	case sq == nil:
		s.strays++
		s.health.stray()
		keep := s.strays < maxStrays
		s.mu.Unlock()
		b.release()
		return keep
	}
	delete(s.pending, sq.id)
	if sq.late == nil {
		s.waiting--
	}
	s.answeredLocked(now)
	sent, first := sq.sent, sq.first
	if len(s.queue) > 0 {
		s.wakeUp()
	}
	s.mu.Unlock()
	s.health.timing.replied([]time.Time{sent}, now)
	if kind == replyGood && !sq.member.probing {
		s.health.timing.answered(now.Sub(first))
	}
	s.client.setUp(s.health)
	sq.post(result{kind: kind, answer: sq.member.answer(b, end)})
	return true
}

// answeredLocked takes in that a reply has come: the far end lives.
func (s *stream) answeredLocked(now time.Time) {
	s.answers++
	if s.unanswered = now; s.waiting == 0 {
		s.unanswered = time.Time{}
	}
}

// matchLocked returns the query that a message is the reply to; nil if it is none.
func (s *stream) matchLocked(message []byte) (sq *streamQuery, kind replyKind, end int) {
	if len(message) < dnswire.HeaderLen {
		return nil, replyStray, 0
	}
	if sq = s.pending[binary.BigEndian.Uint16(message)]; sq == nil {
		return nil, replyStray, 0
	}
	if kind, end, _ = checkReply(message, sq.asked); kind == replyStray {
		return nil, kind, 0
	}
	return sq, kind, end
}

// finish takes in that a connection has ended. What somebody waits for goes out on
// the next, before all others: an end without an answer may be nobody's fault.
func (s *stream) finish(err error) {
	s.mu.Lock()
	var again, failed []*streamQuery
	for _, sq := range s.pending {
		if sq.late != nil {
			sq.endLocked()
			continue
		}
		if sq.ends++; sq.ends >= maxStreamEnds || s.client.ctx.Err() != nil {
			failed = append(failed, sq)
		} else {
			again = append(again, sq)
		}
	}
	if len(failed) > 0 {
		s.barren++
	}
	if s.answers > 0 {
		s.barren = 0
	}
	if s.barren >= maxBarren { // it is not one query that it cannot bear
		failed, again, s.barren = append(append(failed, again...), s.queue...), nil, 0
		s.queue = nil
	}
	s.quota.ended(s.answers, len(again)+len(failed) > 0 && err != errDead)
	slices.SortFunc(again, func(a, b *streamQuery) int { return a.sent.Compare(b.sent) })
	s.queue = append(again, s.queue...)
	clear(s.pending)
	s.isOpen, s.waiting = false, 0
	s.mu.Unlock()
	for _, sq := range failed {
		sq.post(result{err: err})
	}
}

// A quota is how many queries are sent on one connection. It is learnt from a server that
// closes after some answers: what that has not read by then resets the connection, and takes
// answers with it that are on their way.
type quota struct {
	most   int // 0: any number
	filled int // connections in a row that answered as many
}

// reached reports whether no more may be sent where so many were.
func (q *quota) reached(sent int) bool { return q.most > 0 && sent >= q.most }

// ended takes in that a connection has ended after so many answers; early: with queries that
// had none.
func (q *quota) ended(answers int, early bool) {
	switch {
	case early:
		q.most, q.filled = max(answers/2, 1), 0 // it may count time, and not answers
	case q.reached(answers):
		if q.filled++; q.filled >= quotaGrows {
			q.most, q.filled = 2*q.most, 0
		}
	}
	if q.most >= maxWindow {
		q.most = 0
	}
}

// failAll ends what is queued, since there is no connection.
func (s *stream) failAll(err error) {
	s.mu.Lock()
	queue := s.queue
	s.queue = nil
	s.mu.Unlock()
	for _, sq := range queue {
		sq.post(result{err: err})
	}
}

func (sq *streamQuery) post(r result) { sq.delivery.post(&sq.stream.mu, r) }

// endLocked ends a query that nobody waits for.
func (sq *streamQuery) endLocked() {
	sq.ended = true
	sq.end()
}

// leave ends the query for the exchange, as conversation.leave does.
func (sq *streamQuery) leave(late func(*Answer), end func()) {
	if late == nil {
		late = func(*Answer) {}
	}
	s := sq.stream
	s.mu.Lock()
	defer s.mu.Unlock()
	if sq.ended {
		end()
		return
	}
	sq.late, sq.end = late, end
	if at := slices.Index(s.queue, sq); at >= 0 {
		s.queue = slices.Delete(s.queue, at, at+1)
		sq.endLocked()
		return
	}
	if s.pending[sq.id] != sq {
		return // it is being posted
	}
	s.waiting--
	if s.waiting == 0 {
		s.unanswered = time.Time{}
	}
	if len(s.queue) > 0 {
		s.wakeUp()
	}
}
