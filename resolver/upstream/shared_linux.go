package upstream

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"telltale/dnswire"
	"telltale/resolver/packets"
)

// Bounds of shared sockets. The port of each is random and known to nobody; it is
// given up long before a spoofer could find it out, and at once when somebody
// seems to guess (RFC 5452, 9.1 and 9.2).
const (
	sharedPorts   = 8 // sockets that are asked on at a time
	socketQueries = 512
	socketAge     = 2 * time.Second
	sweepEvery    = 20 * time.Millisecond  // while queries are pending
	wakeEvery     = 100 * time.Millisecond // while none is
)

// A Shared asks the first upstream that is up, by sockets that queries share.
// What one packet each way does not answer goes on by the fallback; a late reply is
// used all the same.
type Shared struct {
	options SharedOptions
	client  *Client
	current [sharedPorts]atomic.Pointer[sharedSocket] // those to ask on; nil: none

	mu      sync.Mutex
	stopped bool
	reading bool                    // the reader runs
	epoll   int                     // of the reader, while it runs
	open    map[int32]*sharedSocket // by descriptor
	reader  sync.WaitGroup
}

// A sharedSocket is a UDP socket connected to one upstream, on a random port. Any
// goroutine may ask on it; one goroutine reads those of all.
type sharedSocket struct {
	shared *Shared
	member *Upstream
	fd     int
	opened time.Time

	mu      sync.Mutex
	pending map[uint16]pendingQuery // by id
	ended   map[uint16]struct{}     // ids of queries that have ended: what comes for them is a repetition
	asked   int
	strays  int
	users   int  // batches about to be sent on it
	retired bool // asked no more; closed when nothing is pending
}

// A pendingQuery is a query that was sent on a shared socket.
type pendingQuery struct {
	query Query
	sent  time.Time
	epoch uint32 // the availability epoch, then
	how   mode

	letters uint32        // of the name, as it was sent
	limit   time.Duration // how long the upstream might be silent, then
	late    bool          // it is overdue, and the fallback has it

	hedged bool // the fallback has it, too
}

// NewShared returns shared sockets of a client; none is open yet.
func NewShared(o SharedOptions) *Shared {
	return &Shared{options: o, client: o.Client, open: map[int32]*sharedSocket{}}
}

// A QueryBatch is queries to upstreams that leave together. It belongs to one
// goroutine.
type QueryBatch struct {
	socket *sharedSocket
	sender packets.Sender
	query  [packets.BatchSize]exchangeBuffer
	random [128]byte // from the system's cryptographic source
	unused int       // octets of random not used yet
}

// number returns a number that nobody can guess.
func (b *QueryBatch) number() uint16 {
	if b.unused == 0 {
		rand.Read(b.random[:])
		b.unused = len(b.random)
	}
	b.unused -= 2
	return binary.BigEndian.Uint16(b.random[b.unused:])
}

// Flush sends what was asked since the last time.
func (b *QueryBatch) Flush() {
	if b.sender.Len() > 0 {
		b.sender.Flush(b.socket.fd)
	}
	if b.socket != nil {
		b.socket.done()
		b.socket = nil
	}
}

// Ask adds q to a batch, and reports whether that can be done. The receiver or the
// fallback ends q, perhaps before Ask returns. Names that are forwarded go by the
// fallback.
func (s *Shared) Ask(q Query, b *QueryBatch) bool {
	now := s.client.now()
	if u := s.client; u.choice.Load().Strategy != InOrder {
		if u.choice.Load().Strategy == Parallel {
			return false
		}
		if u.turnToExplore() {
			s.options.Fallback(q, Start{explore: true})
			return true
		}
	}
	m := s.client.first()
	if m == nil || m.carrier != nil || s.client.forwardSet(q.Question()) != nil {
		return false
	}
	how := m.modes.current(now)
	if how == modeTCP || !s.use(m, b, now) {
		return false
	}
	buffer := &b.query[b.sender.Len()]
	packet, asked := buffer.writeQuery(q.Question(), 0, how, m) // q may end as soon as it has been added
	var letters uint32
	if m.letters.areUsed(now) {
		letters = uint32(b.number())<<16 | uint32(b.number())
		mixLetters(asked[dnswire.HeaderLen:len(asked)-4], letters)
	}
	id, ok := b.socket.add(q, b, how, letters, now)
	if !ok {
		return false
	}
	binary.BigEndian.PutUint16(packet, id)
	b.sender.Add(packet)
	return true
}

// use sees to it that b has a socket to m that may be asked on.
func (s *Shared) use(m *Upstream, b *QueryBatch, now time.Time) bool {
	if b.socket != nil && b.socket.member == m && b.sender.Len() < packets.BatchSize && !b.socket.worn(now) {
		return true
	}
	b.Flush()
	place := &s.current[b.number()%sharedPorts]
	socket := place.Load()
	if socket == nil || socket.member != m || socket.worn(now) {
		socket = s.renew(place, m, now)
	}
	if socket == nil || !socket.use() {
		return false
	}
	b.socket = socket
	return true
}

// renew opens another socket for a place and retires the last.
func (s *Shared) renew(place *atomic.Pointer[sharedSocket], m *Upstream, now time.Time) *sharedSocket {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := place.Load()
	if last != nil && last.member == m && !last.worn(now) {
		return last // somebody else did it
	}
	if s.stopped || !s.readLocked() {
		return nil
	}
	fd, err := connectRandom(m.addr)
	if err == nil {
		if err = unix.EpollCtl(s.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}); err != nil {
			unix.Close(fd)
		}
	}
	if err != nil {
		return nil
	}
	socket := &sharedSocket{shared: s, member: m, fd: fd, opened: now, pending: map[uint16]pendingQuery{}, ended: map[uint16]struct{}{}}
	s.open[int32(fd)] = socket
	place.Store(socket)
	if last != nil {
		last.retire()
	}
	return socket
}

// readLocked sees to it that the reader runs, and returns false where that cannot
// be.
func (s *Shared) readLocked() bool {
	if s.reading {
		return true
	}
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return false
	}
	s.reading, s.epoll = true, epoll
	s.reader.Go(s.read)
	return true
}

// Close ends all sockets. What is pending goes to the fallback.
func (s *Shared) Close() {
	s.mu.Lock()
	s.stopped = true
	for _, socket := range s.open {
		socket.retire()
	}
	s.mu.Unlock()
	s.reader.Wait()
}

// connectRandom returns a socket on a random port, connected to addr, so that the
// kernel takes packets from there only.
func connectRandom(addr netip.AddrPort) (fd int, err error) {
	to, err := packets.Sockaddr(addr)
	if err != nil {
		return -1, err
	}
	family := unix.AF_INET
	if addr.Addr().Is6() {
		family = unix.AF_INET6
	}
	if fd, err = unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0); err != nil {
		return -1, err
	}
	err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 1<<20)
	for range 16 {
		if err == nil {
			err = bindRandom(fd, family)
		}
		if !errors.Is(err, syscall.EADDRINUSE) && !errors.Is(err, syscall.EACCES) {
			break
		}
		err = nil
	}
	if err == nil {
		err = unix.Connect(fd, to)
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func bindRandom(fd, family int) error {
	var random [4]byte
	rand.Read(random[:])
	port := firstPort + int(binary.BigEndian.Uint32(random[:])%(1<<16-firstPort))
	if family == unix.AF_INET6 {
		return unix.Bind(fd, &unix.SockaddrInet6{Port: port})
	}
	return unix.Bind(fd, &unix.SockaddrInet4{Port: port})
}

// worn reports whether no more should be asked on s.
func (s *sharedSocket) worn(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.retired || s.asked >= socketQueries || now.Sub(s.opened) > socketAge || now.Before(s.opened)
}

func (s *sharedSocket) retire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.retired = true
}

// use keeps s open until done is called; it returns false where s is retired.
func (s *sharedSocket) use() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.retired {
		return false
	}
	s.users++
	return true
}

func (s *sharedSocket) done() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.users--
}

// add makes q pending and returns the id to ask it by.
func (s *sharedSocket) add(q Query, b *QueryBatch, how mode, letters uint32, now time.Time) (id uint16, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.retired {
		return 0, false
	}
	for range 8 {
		id = b.number()
		_, pending := s.pending[id]
		if _, ended := s.ended[id]; !pending && !ended {
			s.pending[id] = pendingQuery{query: q, sent: now, epoch: s.shared.client.epoch.Load(), how: how, letters: letters, limit: s.member.timing.current()}
			s.asked++
			s.member.queries.Add(1)
			return id, true
		}
	}
	return 0, false
}

var receiverPool = sync.Pool{New: func() any { return packets.NewReceiver(true, false) }}

// read takes replies, until no socket is open any more.
func (s *Shared) read() {
	r := socketReader{shared: s, batch: receiverPool.Get().(*packets.Receiver), receiver: s.options.NewReceiver()}
	r.rest = r.takeRest
	defer receiverPool.Put(r.batch)
	defer unix.Close(s.epoll)
	events := make([]unix.EpollEvent, sharedPorts)
	for wait, swept := sweepEvery, s.client.now(); ; {
		n, err := unix.EpollWait(s.epoll, events, int(wait/time.Millisecond))
		if err != nil && err != unix.EINTR {
			time.Sleep(sweepEvery) // cannot be; replies are then late
		}
		for i := range max(n, 0) {
			s.mu.Lock()
			socket := s.open[events[i].Fd]
			s.mu.Unlock()
			if socket != nil {
				r.receive(socket)
			}
		}
		if now := s.client.now(); n <= 0 || now.Sub(swept) >= sweepEvery {
			swept = now
			pending, over := s.sweep(now)
			if over {
				return
			}
			if wait = wakeEvery; pending {
				wait = sweepEvery
			}
		} else {
			wait = sweepEvery
		}
	}
}

// sweep gives queries that are not answered in time to the fallback, and closes
// sockets that nobody needs. It reports whether queries are pending, and whether
// the reader is over.
func (s *Shared) sweep(now time.Time) (pending, over bool) {
	s.mu.Lock()
	sockets := make([]*sharedSocket, 0, sharedPorts)
	for _, socket := range s.open {
		sockets = append(sockets, socket)
	}
	stopped := s.stopped
	s.mu.Unlock()
	for _, socket := range sockets {
		if socket.worn(now) {
			socket.retire()
			for i := range s.current {
				s.current[i].CompareAndSwap(socket, nil)
			}
		}
		if socket.sweep(now, stopped) {
			pending = true
		}
		s.mu.Lock()
		if socket.isOver(stopped) {
			delete(s.open, int32(socket.fd))
			unix.Close(socket.fd)
		}
		s.mu.Unlock()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if over = len(s.open) == 0; over {
		s.reading = false
	}
	return pending, over
}

// sweep gives queries that are not answered in time to the fallback, and forgets
// those whose replies would be too late. It reports whether any wait in time.
func (s *sharedSocket) sweep(now time.Time, stopped bool) (pending bool) {
	var overdue, hedged []pendingQuery
	u := s.shared.client
	hedge := u.hedgeAfter(s.member, u.set.Load().all)
	s.mu.Lock()
	for id, p := range s.pending {
		waited := now.Sub(p.sent)
		switch {
		case p.late && waited < lateWithin && !stopped:
		case p.late:
			delete(s.pending, id)
			s.ended[id] = struct{}{}
		case stopped || waited >= p.limit:
			p.late = true
			s.pending[id] = p
			overdue = append(overdue, p)
		case hedge > 0 && waited >= hedge && !p.hedged && s.shared.client.mayHedgeNow(s.member.health):
			p.hedged, pending = true, true
			s.pending[id] = p
			hedged = append(hedged, p)
		default:
			pending = true
		}
	}
	s.mu.Unlock()
	for _, p := range overdue {
		if !stopped {
			s.member.timing.timedOut(p.limit)
			s.member.silentOnce()
		}
		if p.hedged {
			if !stopped {
				s.member.countFailure(silent, now)
			}
			continue
		}
		s.shared.options.Fallback(p.query, Start{Tried: s.member, Began: p.sent})
	}
	for _, p := range hedged {
		s.shared.options.Fallback(p.query, Start{Tried: s.member, Began: p.sent, How: AskHedge})
	}
	return pending || len(overdue) > 0
}

// isOver reports whether nobody needs s any more.
func (s *sharedSocket) isOver(stopped bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.retired || s.users > 0 {
		return false
	}
	for _, p := range s.pending {
		if !p.late || !stopped {
			return false
		}
	}
	return true
}

// A socketReader is what the one goroutine that reads all shared sockets has.
type socketReader struct {
	shared   *Shared
	batch    *packets.Receiver
	receiver Receiver
	query    exchangeBuffer // to compare replies with
	answer   Answer

	socket  *sharedSocket // that packets were received from
	now     time.Time     // when
	next, n int           // of them: the one to look at, and how many there are
	rest    func()        // takeRest
}

// receive takes what waits at a socket.
func (r *socketReader) receive(s *sharedSocket) {
	n, err := r.batch.ReceiveNow(s.fd)
	r.socket, r.now, r.next, r.n = s, r.shared.client.now(), 0, n
	for r.next < r.n { // goes on behind a packet that caused an internal error
		r.shared.options.CatchPanic(r.rest)
	}
	r.receiver.Flush()
	if err != nil && err != unix.EAGAIN && err != unix.EINTR {
		s.unreachable()
	}
}

// takeRest takes the packets that are left.
func (r *socketReader) takeRest() {
	for r.next < r.n {
		i := r.next
		r.next++
		r.reply(r.socket, i, r.now)
	}
}

// reply ends what the i-th packet received answers.
func (r *socketReader) reply(s *sharedSocket, i int, now time.Time) {
	packet, _, whole := r.batch.Packet(i)
	if !whole {
		packet = r.batch.Beginning(i)
	}
	if len(packet) < dnswire.HeaderLen {
		s.stray()
		return
	}
	id := binary.BigEndian.Uint16(packet)
	p, found := s.find(id)
	if !found {
		return
	}
	if p.query == nil {
		s.stray()
		return
	}
	_, asked := r.query.writeQuery(p.query.Question(), id, p.how, s.member)
	kind, end, opt := checkReply(packet, asked)
	if !whole && isReplyTo(packet, asked) {
		kind = replyTruncated
	}
	if kind == replyStray {
		s.stray()
		return
	}
	s.end(id)
	sent, how := [1]time.Time{p.sent}, [1]mode{p.how}
	s.shared.client.heard(s.member, sent[:], how[:], kind, opt, len(packet), now)
	if !repeatsLetters(packet, asked, p.letters) {
		s.member.health.stray()
		s.member.letters.changed(now)
		kind = replyTruncated
	} else if p.letters != 0 {
		s.member.letters.kept()
	}
	switch {
	case kind == replyGood:
		s.member.answered()
		r.answer = Answer{Wire: packet[:end], Upstream: s.member}
		r.receiver.Answered(p.query, &r.answer, p.epoch, now)
	case p.late: // the fallback has it
	case p.hedged:
		s.startAfter(kind, p.how)
	default:
		s.shared.options.Fallback(p.query, Start{Tried: s.member, Began: p.sent, How: s.startAfter(kind, p.how)})
	}
}

// startAfter says how to go on after a reply that is no answer.
func (s *sharedSocket) startAfter(kind replyKind, how mode) StartMode {
	switch {
	case kind == replyTruncated:
		return AskTCP
	case kind == replyUnsupported && how != modePlain:
		return AskPlain
	case kind == replyServFail:
		s.member.health.failed(servFailed)
	default:
		s.member.health.failed(refused)
	}
	return AskOthers
}

// find returns the query of an id. There is none where nobody has asked by that id;
// found is false where it has ended, so that the packet is a repetition.
func (s *sharedSocket) find(id uint16) (p pendingQuery, found bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ended := s.ended[id]; ended {
		return p, false
	}
	return s.pending[id], true
}

func (s *sharedSocket) end(id uint16) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.pending, id)
	s.ended[id] = struct{}{}
}

// stray counts a packet that answers nothing. Where many come, somebody may be
// guessing, and knows the port: all that is pending goes on by TCP, where there is
// nothing to guess, and nothing that comes to this port is believed any more.
func (s *sharedSocket) stray() {
	s.member.health.stray()
	var pending []pendingQuery
	s.mu.Lock()
	if s.strays++; s.strays >= maxStrays {
		s.retired = true
		for id, p := range s.pending {
			delete(s.pending, id)
			s.ended[id] = struct{}{}
			if !p.late && !p.hedged {
				pending = append(pending, p)
			}
		}
	}
	s.mu.Unlock()
	for _, p := range pending {
		s.shared.options.Fallback(p.query, Start{Tried: s.member, Began: p.sent, How: AskTCP})
	}
}

// unreachable gives what is pending to the fallback: the network says that nobody
// is there.
func (s *sharedSocket) unreachable() {
	var pending []pendingQuery
	s.mu.Lock()
	for id, p := range s.pending {
		if !p.late {
			p.late = true
			s.pending[id] = p
			pending = append(pending, p)
		}
	}
	s.mu.Unlock()
	for _, p := range pending {
		s.member.health.failed(unreachable)
		if p.hedged {
			continue
		}
		s.shared.options.Fallback(p.query, Start{Tried: s.member, Began: p.sent})
	}
}
