package upstream

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"telltale/dnswire"
)

const (
	// maxStrays packets that do not fit the query look like somebody guessing:
	// the query turns to TCP, where there is nothing to guess.
	maxStrays = 4
	// lateWithin is how long after its query a reply is still that query's: late,
	// but used.
	lateWithin = 30 * time.Second
	// maxLate bounds the sockets on which late replies are waited for.
	maxLate = 128
)

// An outcome is what became of asking one upstream.
type outcome uint8

const (
	answered       outcome = iota
	servFailed             // SERVFAIL that is no validator's verdict
	refused                // will not answer this, or anything
	unsupported            // could not read the question
	silent                 // no reply that fits in time
	unreachable            // the network says that nobody is there
	notSent                // this machine could not send: no descriptors, no memory
	badCertificate         // not valid: it may be anybody
	noTLS                  // a server is there, but no TLS with it
	cutOff                 // it ended the connection instead of answering
	wrongReply             // it sent replies, but none that fits the query
	httpFailed             // answered, but with an HTTP error
	outcomes               // how many there are
)

func (o outcome) String() string {
	return [...]string{"answered", "failed", "refused", "could not read the query", "was silent", "is unreachable", "could not be asked",
		"has no valid certificate", "offers no TLS that can be used", "ended the connection", "sent replies that do not fit the query", "answered with an HTTP error"}[o]
}

// failureKinds are the words for outcomes that are failures. They never change.
var failureKinds = [outcomes]string{"", "servfail", "refused", "format", "timeout", "network", "unsent", "certificate", "tls", "connection", "wrong-reply", "http"}

// A result is what came of asking a candidate.
type result struct {
	from   int           // the candidate
	udp    *conversation // where it came; nil: by TCP
	kind   replyKind
	answer Answer
	err    error
}

// A conversation is one query on a UDP socket of its own, bound to a random port
// and connected, so that the kernel takes packets from the upstream's address and
// port only. It may be sent more than once. What does not fit it is counted and
// waited past. One goroutine reads it.
type conversation struct {
	member *Upstream
	conn   *net.UDPConn
	id     uint16
	from   int

	letters uint32 // of the question's name when it is sent first; again it is in lower case
	ignored bool   // it was sent with letters before, elsewhere, and that was silent

	mu      sync.Mutex
	sent    []time.Time
	modes   []mode
	results chan<- result
	ended   bool
	late    func(*Answer) // set when nobody takes results any more
	end     func()        // called at the end, when late is set
}

// converse opens a conversation, whose one result goes to results.
func (u *Client) converse(m *Upstream, from int, results chan<- result) (*conversation, error) {
	conn, id, err := dialUDP(m.addr)
	if err != nil {
		return nil, err
	}
	return &conversation{member: m, conn: conn, id: id, from: from, results: results}, nil
}

// send sends the query, for the first time or again.
func (c *conversation) send(u *Client, q *dnswire.Question, how mode, now time.Time) error {
	var b exchangeBuffer
	query, asked := b.writeQuery(q, c.id, how, c.member)
	c.mu.Lock()
	c.sent, c.modes = append(c.sent, now), append(c.modes, how)
	first := len(c.sent) == 1
	c.mu.Unlock()
	lower := asked
	if first {
		lower = bytes.Clone(asked)
		name := asked[dnswire.HeaderLen : len(asked)-4]
		if c.member.probing {
			name = name[:1+name[0]] // what is behind says who asks
		}
		mixLetters(name, c.letters)
	}
	_, err := c.conn.Write(query)
	if first {
		q := bare(q)
		u.tasks.Go(func() { c.read(u, q, lower) })
	}
	return err
}

// read waits for the reply.
func (c *conversation) read(u *Client, q *dnswire.Question, asked []byte) {
	defer c.conn.Close()
	defer interrupt(u.ctx, c.conn)()
	b := getBuffer(&udpBuffers)
	for strays := 0; strays < maxStrays; strays++ {
		n, err := c.conn.Read(b.reply)
		if err != nil {
			b.release()
			c.post(result{err: err})
			return
		}
		kind, end, opt := checkReply(b.reply[:n], asked)
		if n == len(b.reply) && isReplyTo(b.reply, asked) {
			kind = replyTruncated // perhaps it is longer than the buffer
		}
		if kind != replyStray {
			c.replied(u, q, kind, opt, n)
			if !c.repeatsLetters(b.reply[:n], asked) {
				kind = replyTruncated
			}
			c.post(result{kind: kind, answer: c.member.answer(b, end)})
			return
		}
		c.member.stray()
	}
	b.release()
	c.post(result{kind: replyTruncated})
}

// repeatsLetters reports whether a reply is believed for its letters, and learns from it.
func (c *conversation) repeatsLetters(packet, asked []byte) bool {
	if packet[5] == 0 {
		return true
	}
	if c.ignored {
		c.member.letters.ignored(time.Now())
	}
	if c.letters == 0 {
		return true
	}
	c.mu.Lock()
	again := len(c.sent) > 1
	c.mu.Unlock()
	name := asked[dnswire.HeaderLen : len(asked)-4]
	if again && bytes.Equal(packet[dnswire.HeaderLen:len(asked)-4], name) {
		if !c.member.probing && !hasLetters(name, c.letters) {
			c.member.letters.ignored(time.Now())
		}
		return true
	}
	if c.member.probing {
		first := dnswire.HeaderLen + 1 + int(asked[dnswire.HeaderLen])
		name, lower := packet[dnswire.HeaderLen:first], asked[dnswire.HeaderLen:first]
		c.member.letters.repeated.Store(string(name) != string(lower) && hasLetters(name, c.letters))
		return true
	}
	if !repeatsLetters(packet, asked, c.letters) {
		c.member.stray()
		c.member.letters.changed(time.Now())
		return false
	}
	c.member.letters.kept()
	return true
}

// replied learns from a reply of n octets.
func (c *conversation) replied(u *Client, q *dnswire.Question, kind replyKind, opt bool, n int) {
	now := time.Now()
	c.mu.Lock()
	sent, how := slices.Clone(c.sent), slices.Clone(c.modes)
	c.mu.Unlock()
	if u.heard(c.member, sent, how, kind, opt, n, now) {
		c.member.doubtEDNS(q)
	}
}

// post hands the result on, and ends the conversation.
func (c *conversation) post(r result) {
	r.from, r.udp = c.from, c
	c.mu.Lock()
	c.ended = true
	late, end := c.late, c.end
	if late == nil {
		c.results <- r // there is room for one of each conversation
	}
	c.mu.Unlock()
	if late == nil {
		return
	}
	if r.err == nil && r.kind == replyGood {
		late(&r.answer)
	}
	r.answer.Release()
	end()
}

// leave ends the conversation for the exchange. A reply that comes late is given
// to late; nil does not wait for one. end is called when there will be none.
func (c *conversation) leave(late func(*Answer), end func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		end()
		return
	}
	until := time.Unix(1, 0)
	if late != nil {
		until = c.sent[len(c.sent)-1].Add(lateWithin)
	} else {
		late = func(*Answer) {}
	}
	c.late, c.end = late, end
	c.conn.SetReadDeadline(until)
}

// askTCP asks over a connection of its own: truncation is rare, and an idle
// connection kept for it would be one more thing to go stale. The reply's memory
// is bounded by its length prefix, the wait by deadline.
func askTCP(ctx context.Context, m *Upstream, q *dnswire.Question, how mode, deadline time.Time) (Answer, replyKind, error) {
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
	query, asked := b.writeQuery(q, binary.BigEndian.Uint16(random[:]), how, m)
	if _, err := conn.Write(b.query[:2+len(query)]); err != nil {
		b.release()
		return Answer{}, 0, err
	}
	strays := 0
	for ; strays < maxStrays; strays++ {
		n, err := readMessage(conn, b.reply)
		if err != nil && strays > 0 {
			break
		}
		if err != nil {
			b.release()
			return Answer{}, 0, err
		}
		kind, end, _ := checkReply(b.reply[:n], asked)
		if kind == replyTruncated {
			break
		}
		if kind != replyStray {
			return m.answer(b, end), kind, nil
		}
		m.stray()
		conn.SetDeadline(time.Now().Add(leastTimeout)) // nobody else can have sent it, so nothing better is likely
	}
	b.release()
	return Answer{}, 0, errStrays
}

// errStrays means that a server sent messages over TCP that do not fit.
var errStrays = errors.New("replies do not fit the query")

// readMessage reads one length-prefixed message (RFC 1035, 4.2.2) into b, which
// holds the longest.
func readMessage(r io.Reader, b []byte) (int, error) {
	if _, err := io.ReadFull(r, b[:2]); err != nil {
		return 0, err
	}
	return io.ReadFull(r, b[:binary.BigEndian.Uint16(b)])
}

// readFramed reads one message like readMessage, into the smallest buffer that holds it.
func readFramed(from io.Reader) (*exchangeBuffer, int, error) {
	var length [2]byte
	if _, err := io.ReadFull(from, length[:]); err != nil {
		return nil, 0, err
	}
	size := int(binary.BigEndian.Uint16(length[:]))
	b := getBuffer(&udpBuffers)
	if size > len(b.reply) {
		b.release()
		b = getBuffer(&tcpBuffers)
	}
	if _, err := io.ReadFull(from, b.reply[:size]); err != nil {
		b.release()
		return nil, 0, err
	}
	return b, size, nil
}

// answer makes the reply in b an answer, which owns b.
func (m *Upstream) answer(b *exchangeBuffer, end int) Answer {
	return Answer{Wire: b.reply[:end], Upstream: m, buffer: b}
}

// outcomeOf reads an error of the socket.
func outcomeOf(err error) outcome {
	var handshake *handshakeError
	var failed *httpError
	var unknown *unknownNameError
	switch {
	case errors.As(err, &unknown):
		return unreachable
	case errors.As(err, &failed):
		return httpFailed
	case errors.As(err, &handshake) && handshake.isCertificate():
		return badCertificate
	case handshake != nil:
		return noTLS
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded), isQUICTimeout(err):
		return silent
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE), errors.Is(err, syscall.ENOBUFS),
		errors.Is(err, syscall.ENOMEM), errors.Is(err, context.Canceled):
		return notSent
	case errors.Is(err, errStrays):
		return wrongReply
	case errors.Is(err, errReset), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return cutOff
	}
	return unreachable
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
