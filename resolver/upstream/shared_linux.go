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

// Bounds of one socket to an upstream. Its port is random and known to nobody;
// it is given up long before a spoofer could find it out, and at once when
// somebody seems to guess (RFC 5452, 9.1 and 9.2).
const (
	socketQueries = 8192
	socketAge     = 2 * time.Second
	socketStrays  = 64
	sweepEvery    = 100 * time.Millisecond
)

// A Shared asks the first upstream that is up, by a socket that queries share.
// What one packet each way does not settle goes on by the fallback.
type Shared struct {
	options SharedOptions
	client  *Client
	current atomic.Pointer[sharedSocket] // nil while there is none

	mu      sync.Mutex
	stopped atomic.Bool // set under mu
	all     map[*sharedSocket]struct{}
	readers sync.WaitGroup
}

// A sharedSocket is a UDP socket connected to one upstream, on a random port. Any
// goroutine may ask on it; one goroutine reads it.
type sharedSocket struct {
	shared *Shared
	member *Upstream
	fd     int
	opened time.Time

	mu      sync.Mutex
	pending map[uint16]pendingQuery // by id
	asked   int
	strays  int
	users   int  // readers about to send on it
	retired bool // asked no more; closed when nothing is pending
}

// A pendingQuery is a query that was sent on a shared socket.
type pendingQuery struct {
	query  Query
	sent   time.Time
	epoch  uint32 // the availability epoch, then
	strays int
}

// NewShared returns shared sockets of a client; none is open yet.
func NewShared(o SharedOptions) *Shared {
	return &Shared{options: o, client: o.Client, all: map[*sharedSocket]struct{}{}}
}

// A QueryBatch is queries to upstreams that leave together. It belongs to one
// goroutine.
type QueryBatch struct {
	socket *sharedSocket
	sender packets.Sender
	query  [packets.BatchSize]exchangeBuffer
	random [128]byte // ids from the system's cryptographic source
	unused int       // octets of random not used yet
}

// id returns an id that nobody can guess.
func (b *QueryBatch) id() uint16 {
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
// fallback ends q, perhaps before Ask returns.
func (s *Shared) Ask(q Query, b *QueryBatch) bool {
	now := time.Now()
	socket := s.socket(now)
	if socket == nil {
		return false
	}
	if b.socket != socket || b.sender.Len() == packets.BatchSize {
		b.Flush()
		if !socket.use() {
			return false
		}
		b.socket = socket
	}
	buffer := &b.query[b.sender.Len()]
	packet, _ := buffer.writeQuery(q.Question(), 0, true, socket.member.trustAD) // q may end as soon as it has been added
	id, ok := socket.add(q, b, now)
	if !ok {
		return false
	}
	binary.BigEndian.PutUint16(packet, id)
	b.sender.Add(packet)
	return true
}

// socket returns the socket to ask on, a new one where the last is worn.
func (s *Shared) socket(now time.Time) *sharedSocket {
	m := s.client.firstUp(now)
	if m == nil {
		return nil
	}
	if current := s.current.Load(); current != nil && current.member == m && !current.worn(now) {
		return current
	}
	return s.renew(m, now)
}

// renew opens another socket and retires the last.
func (s *Shared) renew(m *Upstream, now time.Time) *sharedSocket {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := s.current.Load()
	if last != nil && last.member == m && !last.worn(now) {
		return last // somebody else did it
	}
	if s.stopped.Load() {
		return nil
	}
	fd, err := connectRandom(m.addr)
	if err != nil {
		return nil
	}
	socket := &sharedSocket{shared: s, member: m, fd: fd, opened: now, pending: map[uint16]pendingQuery{}}
	s.all[socket] = struct{}{}
	s.current.Store(socket)
	if last != nil {
		last.retire()
	}
	s.readers.Go(socket.read)
	return socket
}

// Close ends all sockets. What is pending goes to the fallback.
func (s *Shared) Close() {
	s.mu.Lock()
	s.stopped.Store(true)
	for socket := range s.all {
		socket.retire()
	}
	s.mu.Unlock()
	s.readers.Wait()
}

// connectRandom returns a blocking socket on a random port, connected to addr,
// so that the kernel takes packets from there only.
func connectRandom(addr netip.AddrPort) (fd int, err error) {
	to, err := packets.Sockaddr(addr)
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
func (s *sharedSocket) worn(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.retired || s.asked >= socketQueries || s.strays >= socketStrays || now.Sub(s.opened) > socketAge || now.Before(s.opened)
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
func (s *sharedSocket) add(q Query, b *QueryBatch, now time.Time) (id uint16, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for range 8 {
		id = b.id()
		if _, taken := s.pending[id]; !taken {
			s.pending[id] = pendingQuery{query: q, sent: now, epoch: s.shared.client.epoch.Load()}
			s.asked++
			return id, true
		}
	}
	return 0, false
}

var receiverPool = sync.Pool{New: func() any { return packets.NewReceiver(true, false) }}

// read takes replies until s is retired and nothing is pending on it.
func (s *sharedSocket) read() {
	m := receiverPool.Get().(*packets.Receiver)
	defer receiverPool.Put(m)
	receiver := s.shared.options.NewReceiver()
	query := new(exchangeBuffer)
	for swept := s.opened; !s.ends(); {
		n, err := m.Receive(s.fd)
		now := time.Now()
		for i := range n {
			s.shared.options.Guard(func() { s.reply(m, i, query, receiver, now) })
		}
		receiver.Flush()
		switch {
		case err != nil && err != unix.EAGAIN && err != unix.EINTR:
			s.giveUp(unreachable, func(pendingQuery) bool { return true })
		case now.Sub(swept) >= sweepEvery || n == 0:
			s.sweep(now)
			swept = now
		}
	}
}

// reply ends what the i-th packet received answers.
func (s *sharedSocket) reply(m *packets.Receiver, i int, query *exchangeBuffer, receiver Receiver, now time.Time) {
	packet, _, ok := m.Packet(i)
	if !ok || len(packet) < dnswire.HeaderLen {
		return
	}
	id := binary.BigEndian.Uint16(packet)
	s.mu.Lock()
	p, ok := s.pending[id]
	s.mu.Unlock()
	if !ok {
		s.stray(id)
		return
	}
	_, asked := query.writeQuery(p.query.Question(), id, true, s.member.trustAD)
	kind, end := checkReply(packet, asked)
	if kind == replyStray {
		s.stray(id)
		return
	}
	s.mu.Lock()
	delete(s.pending, id)
	s.mu.Unlock()
	if kind != replyGood {
		s.shared.options.Fallback(p.query, nil)
		return
	}
	s.member.queries.Add(1)
	s.member.answeredAfter(now.Sub(p.sent))
	a := Answer{Wire: packet[:end], Upstream: s.member}
	receiver.Answered(p.query, &a, p.epoch, now)
}

// stray counts a packet that answers nothing. Where many come for one query,
// somebody may be guessing: it goes on by the fallback.
func (s *sharedSocket) stray(id uint16) {
	s.member.strays.Add(1)
	s.mu.Lock()
	s.strays++
	p, ok := s.pending[id]
	if ok {
		if p.strays++; p.strays < maxStrays {
			s.pending[id] = p
			ok = false
		} else {
			delete(s.pending, id)
		}
	}
	s.mu.Unlock()
	if ok {
		s.shared.options.Fallback(p.query, nil)
	}
}

// sweep gives up what was not answered in time.
func (s *sharedSocket) sweep(now time.Time) {
	if s.worn(now) {
		s.shared.current.CompareAndSwap(s, nil)
		s.retire()
	}
	patience, stopped := s.shared.client.sharedPatience(), s.shared.stopped.Load()
	s.giveUp(silent, func(p pendingQuery) bool { return stopped || now.Sub(p.sent) >= patience })
}

// giveUp sends those pending for which over holds to the fallback.
func (s *sharedSocket) giveUp(how outcome, over func(pendingQuery) bool) {
	var late []Query
	s.mu.Lock()
	for id, p := range s.pending {
		if over(p) {
			delete(s.pending, id)
			late = append(late, p.query)
		}
	}
	s.mu.Unlock()
	for _, q := range late {
		s.member.queries.Add(1)
		s.member.failed(how)
		s.shared.options.Fallback(q, s.member)
	}
}

// ends closes s where nobody needs it any more, and reports whether it did.
func (s *sharedSocket) ends() bool {
	s.mu.Lock()
	over := s.retired && len(s.pending) == 0 && s.users == 0
	s.mu.Unlock()
	if !over {
		return false
	}
	s.shared.mu.Lock()
	delete(s.shared.all, s)
	s.shared.mu.Unlock()
	unix.Close(s.fd)
	return true
}
