package resolver

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
)

// Bounds of one socket to an upstream. Its port is random and known to nobody;
// it is given up long before a spoofer could find it out, and at once when
// somebody seems to guess (RFC 5452, 9.1 and 9.2).
const (
	socketQueries = 8192
	socketAge     = 2 * time.Second
	socketStrays  = 64
	sweepEvery    = 100 * time.Millisecond
)

// A shortWay asks the first upstream that is up, by a socket that queries share.
type shortWay struct {
	srv     *Server
	current atomic.Pointer[upstreamSocket] // nil while there is none

	mu      sync.Mutex
	stopped bool
	all     map[*upstreamSocket]struct{}
}

// An upstreamSocket is a UDP socket connected to one upstream, on a random
// port. Any goroutine may ask on it; one goroutine reads it.
type upstreamSocket struct {
	way    *shortWay
	member *upstream
	fd     int
	opened time.Time

	mu      sync.Mutex
	under   map[uint16]crossing // by id
	asked   int
	strays  int
	users   int  // readers about to send on it
	retired bool // asked no more; closed when nothing is under way
}

// A crossing is a flight on its short way.
type crossing struct {
	flight  *flight
	began   time.Time
	weather uint32 // of the upstreams, then
	strays  int
}

func newShortWay(s *Server) *shortWay {
	return &shortWay{srv: s, all: map[*upstreamSocket]struct{}{}}
}

// An asking is the queries to upstreams of one reader's batch, which leave
// together. It belongs to its reader.
type asking struct {
	socket *upstreamSocket
	box    outbox
	query  [batchSize]exchangeBuffer
	random [128]byte // ids from the system's cryptographic source
	unused int       // octets of random not used yet
}

// id returns an id that nobody can guess.
func (a *asking) id() uint16 {
	if a.unused == 0 {
		rand.Read(a.random[:])
		a.unused = len(a.random)
	}
	a.unused -= 2
	return binary.BigEndian.Uint16(a.random[a.unused:])
}

// leave sends what was asked since the last time.
func (a *asking) leave() {
	if a.box.n > 0 {
		a.box.flush(a.socket.fd)
	}
	if a.socket != nil {
		a.socket.done()
		a.socket = nil
	}
}

// take sends f on the short way, with the rest of a's batch, and reports whether
// that can be done.
func (w *shortWay) take(f *flight, a *asking) bool {
	if f.private {
		return false
	}
	now := time.Now()
	socket := w.socket(now)
	if socket == nil {
		return false
	}
	if a.socket != socket || a.box.n == batchSize {
		a.leave()
		if !socket.use() {
			return false
		}
		a.socket = socket
	}
	b := &a.query[a.box.n]
	query, _ := b.writeQuery(f.question, 0, true, socket.member.trustAD) // f may land as soon as it has entered
	id, ok := socket.enter(f, a, now)
	if !ok {
		return false
	}
	binary.BigEndian.PutUint16(query, id)
	a.box.add(query)
	return true
}

// socket returns the socket to ask on, a new one where the last is worn.
func (w *shortWay) socket(now time.Time) *upstreamSocket {
	m := w.srv.upstreams.firstUp(now)
	if m == nil {
		return nil
	}
	if s := w.current.Load(); s != nil && s.member == m && !s.worn(now) {
		return s
	}
	return w.renew(m, now)
}

// renew opens another socket and retires the last.
func (w *shortWay) renew(m *upstream, now time.Time) *upstreamSocket {
	w.mu.Lock()
	defer w.mu.Unlock()
	last := w.current.Load()
	if last != nil && last.member == m && !last.worn(now) {
		return last // somebody else did it
	}
	if w.stopped {
		return nil
	}
	fd, err := connectRandom(m.addr)
	if err != nil {
		return nil
	}
	s := &upstreamSocket{way: w, member: m, fd: fd, opened: now, under: map[uint16]crossing{}}
	w.all[s] = struct{}{}
	w.current.Store(s)
	if last != nil {
		last.retire()
	}
	w.srv.work.Go(s.read)
	return s
}

// close ends all sockets. What is under way goes on the long way, which ends
// with the server.
func (w *shortWay) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopped = true
	for s := range w.all {
		s.retire()
	}
}

// connectRandom returns a blocking socket on a random port, connected to addr,
// so that the kernel takes packets from there only.
func connectRandom(addr netip.AddrPort) (fd int, err error) {
	to, err := sockaddr(addr)
	if err != nil {
		return -1, err
	}
	family := unix.AF_INET
	if addr.Addr().Is6() {
		family = unix.AF_INET6
	}
	if fd, err = unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
		return -1, err
	}
	wait := unix.NsecToTimeval(sweepEvery.Nanoseconds())
	err = errors.Join(unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 1<<20))
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
func (s *upstreamSocket) worn(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.retired || s.asked >= socketQueries || s.strays >= socketStrays || now.Sub(s.opened) > socketAge || now.Before(s.opened)
}

func (s *upstreamSocket) retire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.retired = true
}

// use keeps s open until done is called; it returns false where s is retired.
func (s *upstreamSocket) use() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.retired {
		return false
	}
	s.users++
	return true
}

func (s *upstreamSocket) done() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.users--
}

// enter makes room for f and returns the id to ask it by.
func (s *upstreamSocket) enter(f *flight, a *asking, now time.Time) (id uint16, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for range 8 {
		id = a.id()
		if _, taken := s.under[id]; !taken {
			s.under[id] = crossing{flight: f, began: now, weather: s.way.srv.upstreams.weather.Load()}
			s.asked++
			return id, true
		}
	}
	return 0, false
}

var messagePool = sync.Pool{New: func() any { return newMessages(true, false) }}

// read takes replies until s is retired and nothing is under way on it.
func (s *upstreamSocket) read() {
	m := messagePool.Get().(*messages)
	defer messagePool.Put(m)
	a := arrivals{srv: s.way.srv}
	query := new(exchangeBuffer)
	for swept := s.opened; !s.ends(); {
		n, err := m.receive(s.fd)
		now := time.Now()
		for i := range n {
			s.way.srv.guard(func() { s.packet(m, i, query, &a, now) })
		}
		a.leave()
		switch {
		case err != nil && err != unix.EAGAIN && err != unix.EINTR:
			s.giveUp(unreachable, func(crossing) bool { return true })
		case now.Sub(swept) >= sweepEvery || n == 0:
			s.sweep(now)
			swept = now
		}
	}
}

// packet settles what the i-th packet received answers.
func (s *upstreamSocket) packet(m *messages, i int, query *exchangeBuffer, a *arrivals, now time.Time) {
	packet, _, ok := m.packet(i)
	if !ok || len(packet) < dnswire.HeaderLen {
		return
	}
	id := binary.BigEndian.Uint16(packet)
	s.mu.Lock()
	c, ok := s.under[id]
	s.mu.Unlock()
	if !ok {
		s.stray(id)
		return
	}
	srv, f := s.way.srv, c.flight
	_, asked := query.writeQuery(f.question, id, true, s.member.trustAD)
	kind, end := checkReply(packet, asked)
	if kind == replyStray {
		s.stray(id)
		return
	}
	s.mu.Lock()
	delete(s.under, id)
	s.mu.Unlock()
	if kind != replyGood {
		srv.goLong(f, nil)
		return
	}
	s.member.queries.Add(1)
	s.member.answeredAfter(now.Sub(c.began))
	reply := answer{wire: packet[:end], server: s.member.addr, trustAD: s.member.trustAD, private: s.member.private}
	var e *entry
	srv.guard(func() { e = srv.newEntryOf(&reply, nil, f, &a.entry) })
	if e == nil { // for a defect
		e = newFailure(dnswire.EDE{}, now)
	}
	if e.isFailure() {
		e.keepFailure(srv.cache.peek(f.question), c.weather)
	}
	a.now = now
	srv.arrive(f, e, a.outletOf, a.hold)
}

// stray counts a packet that answers nothing. Where many come for one query,
// somebody may be guessing: it goes on by another way.
func (s *upstreamSocket) stray(id uint16) {
	s.member.strays.Add(1)
	s.mu.Lock()
	s.strays++
	c, ok := s.under[id]
	if ok {
		if c.strays++; c.strays < maxStrays {
			s.under[id] = c
			ok = false
		} else {
			delete(s.under, id)
		}
	}
	s.mu.Unlock()
	if ok {
		s.way.srv.goLong(c.flight, nil)
	}
}

// sweep sends what was not answered in time on the long way.
func (s *upstreamSocket) sweep(now time.Time) {
	if s.worn(now) {
		s.way.current.CompareAndSwap(s, nil)
		s.retire()
	}
	patience, stopped := s.way.srv.upstreams.shortPatience(), s.way.srv.ctx.Err() != nil
	s.giveUp(silent, func(c crossing) bool { return stopped || now.Sub(c.began) >= patience })
}

// giveUp sends those under way for which over holds on the long way.
func (s *upstreamSocket) giveUp(how outcome, over func(crossing) bool) {
	var late []*flight
	s.mu.Lock()
	for id, c := range s.under {
		if over(c) {
			delete(s.under, id)
			late = append(late, c.flight)
		}
	}
	s.mu.Unlock()
	for _, f := range late {
		s.member.queries.Add(1)
		s.member.failed(how)
		s.way.srv.goLong(f, s.member)
	}
}

// ends closes s where nobody needs it any more, and reports whether it did.
func (s *upstreamSocket) ends() bool {
	s.mu.Lock()
	over := s.retired && len(s.under) == 0 && s.users == 0
	s.mu.Unlock()
	if !over {
		return false
	}
	s.way.mu.Lock()
	delete(s.way.all, s)
	s.way.mu.Unlock()
	unix.Close(s.fd)
	return true
}

var outboxPool = sync.Pool{New: func() any { return new(outbox) }}

// sendAll sends replies, those of one socket together.
func sendAll(s *Server, replies []departure) {
	if len(replies) == 0 {
		return
	}
	box := outboxPool.Get().(*outbox)
	defer outboxPool.Put(box)
	var last *batchConn
	leave := func() {
		if box.n > 0 {
			n := box.n
			s.stats.unsent.Add(uint64(n - box.flush(last.fd)))
		}
	}
	for _, d := range replies {
		conn, ok := d.conn.(*batchConn)
		if !ok || len(d.reply) == 0 {
			d.conn.send(d.q, d.reply)
			continue
		}
		if conn != last || box.n == batchSize {
			leave()
			last = conn
		}
		if !box.addTo(d.reply, d.q, conn.wildcard) {
			s.stats.unsent.Add(1)
		}
	}
	leave()
}
