package upstream

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"telltale/dnswire"
)

const (
	// queryPayload is the UDP payload size offered to upstreams: what passes
	// everywhere without fragments, which a spoofer could replace (DNS flag day
	// 2020).
	queryPayload = 1232
	// receiveSize holds more than was offered, as some servers send more. What
	// fills it whole was perhaps cut and is asked for again by TCP.
	receiveSize = 2048
	// maxStrays packets that do not fit the query look like somebody guessing:
	// the query turns to TCP, where there is nothing to guess.
	maxStrays = 4
	// maxQuery is the longest query: length prefix, header, question, OPT.
	maxQuery = 2 + dnswire.HeaderLen + dnswire.MaxName + 4 + 11
	// plainFor is how long a server that knows no EDNS is asked without.
	plainFor = 10 * time.Minute
)

// An outcome is what became of one try of one upstream.
type outcome uint8

const (
	answered    outcome = iota
	servFailed          // SERVFAIL that is no validator's verdict; the answer holds it
	refused             // will not answer this, or anything
	unsupported         // could not read the question
	silent              // no reply that fits in time
	unreachable         // the network says that nobody is there
	notSent             // this machine could not send: no descriptors, no memory
)

func (o outcome) String() string {
	return [...]string{"answered", "failed", "refused", "could not read the query", "was silent", "is unreachable", "could not be asked"}[o]
}

// An exchangeBuffer is the memory of one try: the query, behind room for TCP's
// length prefix, and the reply. Whoever holds it owns it whole.
type exchangeBuffer struct {
	query [maxQuery]byte
	reply []byte
	home  *sync.Pool
}

var (
	udpBuffers = sync.Pool{New: func() any { return &exchangeBuffer{reply: make([]byte, receiveSize)} }}
	tcpBuffers = sync.Pool{New: func() any { return &exchangeBuffer{reply: make([]byte, 0xffff)} }}
)

func getBuffer(home *sync.Pool) *exchangeBuffer {
	b := home.Get().(*exchangeBuffer)
	b.home = home
	return b
}

func (b *exchangeBuffer) release() { b.home.Put(b) }

// writeQuery writes the query for q with an id of its own, and returns it whole
// and as far as a reply must repeat it. Of the client's query only name, type,
// class, DO and CD go out, in lower case: no option, no letter case, no id.
func (b *exchangeBuffer) writeQuery(q *dnswire.Question, id uint16, edns, trustAD bool) (query, asked []byte) {
	m := binary.BigEndian.AppendUint16(b.query[:2], id)
	flags := byte(0)
	if q.CD {
		flags |= bitCD
	}
	if trustAD {
		flags |= bitAD // RFC 6840, 5.7
	}
	extra := byte(0)
	if edns {
		extra = 1
	}
	m = append(m, bitRD, flags, 0, 1, 0, 0, 0, 0, 0, extra)
	m = append(m, q.Name.Wire()...)
	m = binary.BigEndian.AppendUint16(m, q.Type)
	m = binary.BigEndian.AppendUint16(m, q.Class)
	asked = m[2:]
	if edns {
		do := byte(0)
		if q.DO {
			do = 0x80
		}
		m = append(m, 0, 0, dnswire.TypeOPT, queryPayload>>8, queryPayload&0xff, 0, 0, do, 0, 0, 0)
	}
	binary.BigEndian.PutUint16(b.query[:], uint16(len(m)-2))
	return m[2:], asked
}

// try asks one upstream once: by UDP, again without EDNS if it seems not to know
// it, and by TCP if the reply is truncated.
func (u *Client) try(ctx context.Context, m *Upstream, q *dnswire.Question, deadline time.Time) (Answer, outcome) {
	edns := m.plain.Load() < time.Now().Unix()
	a, kind, err := tryUDP(ctx, m, q, edns, deadline)
	if err == nil && kind == replyUnsupported && edns {
		a.Release()
		edns = false
		a, kind, err = tryUDP(ctx, m, q, edns, deadline)
		if err == nil && kind == replyGood {
			m.plain.Store(time.Now().Add(plainFor).Unix())
		}
	}
	if err == nil && kind == replyTruncated {
		a.Release()
		a, kind, err = tryTCP(ctx, m, q, edns, deadline)
	}
	if err != nil {
		return Answer{}, outcomeOf(err)
	}
	switch kind {
	case replyGood:
		return a, answered
	case replyServFail:
		if len(a.Wire) >= dnswire.HeaderLen && a.Wire[5] == 1 {
			return a, servFailed
		}
		a.Release()
		return Answer{}, servFailed
	}
	a.Release()
	if kind == replyUnsupported {
		return Answer{}, unsupported
	}
	return Answer{}, refused
}

// outcomeOf reads an error of the socket.
func outcomeOf(err error) outcome {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return silent
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE), errors.Is(err, syscall.ENOBUFS),
		errors.Is(err, syscall.ENOMEM), errors.Is(err, context.Canceled):
		return notSent
	case errors.Is(err, errStrays), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return refused
	}
	return unreachable
}

// errStrays means that a server sent messages over TCP that do not fit.
var errStrays = errors.New("replies do not fit the query")

// tryUDP asks over a socket of its own, bound to a random port and connected, so
// that the kernel takes packets from the upstream's address and port only. What
// does not fit the query is counted and waited past.
func tryUDP(ctx context.Context, m *Upstream, q *dnswire.Question, edns bool, deadline time.Time) (Answer, replyKind, error) {
	conn, id, err := dialUDP(m.addr)
	if err != nil {
		return Answer{}, 0, err
	}
	defer conn.Close()
	defer interrupt(ctx, conn)()
	if err := conn.SetReadDeadline(deadline); err != nil {
		return Answer{}, 0, err
	}
	b := getBuffer(&udpBuffers)
	query, asked := b.writeQuery(q, id, edns, m.trustAD)
	if _, err := conn.Write(query); err != nil {
		b.release()
		return Answer{}, 0, err
	}
	for strays := 0; strays < maxStrays; strays++ {
		n, err := conn.Read(b.reply)
		if err != nil {
			b.release()
			return Answer{}, 0, err
		}
		kind, end := checkReply(b.reply[:n], asked)
		if n == len(b.reply) && kind != replyStray {
			kind = replyTruncated
		}
		if kind != replyStray {
			return m.answer(b, end), kind, nil
		}
		m.strays.Add(1)
	}
	b.release()
	return Answer{}, replyTruncated, nil
}

// tryTCP asks over a connection of its own: truncation is rare, and an idle
// connection kept for it would be one more thing to go stale. The reply's
// memory is bounded by its length prefix, the wait by deadline.
func tryTCP(ctx context.Context, m *Upstream, q *dnswire.Question, edns bool, deadline time.Time) (Answer, replyKind, error) {
	dialer := net.Dialer{Deadline: deadline, KeepAlive: -1}
	conn, err := dialer.DialContext(ctx, "tcp", m.addr.String())
	if err != nil {
		return Answer{}, 0, err
	}
	defer conn.Close()
	defer interrupt(ctx, conn)()
	if err := conn.SetDeadline(deadline); err != nil {
		return Answer{}, 0, err
	}
	var random [2]byte
	rand.Read(random[:])
	b := getBuffer(&tcpBuffers)
	query, asked := b.writeQuery(q, binary.BigEndian.Uint16(random[:]), edns, m.trustAD)
	if _, err := conn.Write(b.query[:2+len(query)]); err != nil {
		b.release()
		return Answer{}, 0, err
	}
	for range maxStrays {
		n, err := readMessage(conn, b.reply)
		if err != nil {
			b.release()
			return Answer{}, 0, err
		}
		kind, end := checkReply(b.reply[:n], asked)
		if kind == replyTruncated {
			break
		}
		if kind != replyStray {
			return m.answer(b, end), kind, nil
		}
		m.strays.Add(1)
	}
	b.release()
	return Answer{}, 0, errStrays
}

// readMessage reads one length-prefixed message (RFC 1035, 4.2.2) into b, which
// holds the longest.
func readMessage(r io.Reader, b []byte) (int, error) {
	if _, err := io.ReadFull(r, b[:2]); err != nil {
		return 0, err
	}
	return io.ReadFull(r, b[:binary.BigEndian.Uint16(b)])
}

// answer makes the reply in b an answer, which owns b.
func (m *Upstream) answer(b *exchangeBuffer, end int) Answer {
	return Answer{Wire: b.reply[:end], Upstream: m, buffer: b}
}

// interrupt ends what conn waits for when ctx ends, until the function it
// returns is called.
func interrupt(ctx context.Context, conn net.Conn) (stop func()) {
	if ctx.Done() == nil {
		return func() {}
	}
	s := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	return func() { s() }
}

// Source ports are taken from firstPort up. Below, registered services may want
// to listen.
const firstPort = 10240

// dialUDP returns a socket connected to addr, and the id of the one query it is
// for. Port and id come from the system's cryptographic source, 31.7 bits that a
// spoofer has to guess (RFC 5452, 4.5 and 9.1).
func dialUDP(addr netip.AddrPort) (conn *net.UDPConn, id uint16, err error) {
	to := net.UDPAddrFromAddrPort(addr)
	for range 16 {
		var random [6]byte
		rand.Read(random[:]) // never fails: it ends the process rather than be weak
		id = binary.BigEndian.Uint16(random[4:])
		port := firstPort + int(binary.BigEndian.Uint32(random[:])%(1<<16-firstPort))
		conn, err = net.DialUDP("udp", &net.UDPAddr{Port: port}, to)
		if !errors.Is(err, syscall.EADDRINUSE) && !errors.Is(err, syscall.EACCES) {
			return conn, id, err
		}
	}
	return conn, id, err
}
