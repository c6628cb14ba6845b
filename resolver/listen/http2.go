package listen

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/http2/hpack"

	"telltale/dnswire"
	"telltale/resolver/packets"
)

// HTTP/2 (RFC 9113) for DNS over HTTPS, and nothing else that HTTP can: net/http's costs about
// ten times as much (docs/decisions/https.md). What a client can make grow has a bound here:
// requests at once, the octets of a header and of a body, answers that wait for the client's
// window and how long they do, and frames without a query.
const (
	headerBlock    = 64 << 10 // octets of a header as it is sent, also over many frames; above requestHeader it is refused, above this the connection ends
	framesForFree  = 1000     // frames without a query between them, before a connection ends
	framesEach     = 16       // more of them, for each query
	creditWindow   = 32 << 10 // octets of bodies after which the client may send as many again
	recentStreams  = 16       // streams that have ended and are remembered
	lingering      = 500 * time.Millisecond
	lingeringLimit = 256 << 10
)

// Why reading ends, beside errors of the protocol and a stop.
var (
	errGone    = errors.New("the other side is gone")
	errIdle    = errors.New("nothing is asked")
	errDrained = errors.New("all is answered")
)

// An http2Conn is a connection of HTTP/2. One goroutine of its own reads it, and writes the
// answers that are known at once, those to requests that came together in one call. Answers
// that come later are written by a goroutine that lives as long as there are some.
type http2Conn struct {
	web     *web
	place   *requester
	conn    net.Conn
	arrival Arrival // of a request that says nothing of who asks

	// The reader's own.
	frames     frameBuffer
	greeted    bool // the preface has come
	set        bool // the first settings have come
	decoder    *hpack.Decoder
	request    request
	block      []byte // of a header whose end has not come
	blockOf    frame  // where it began; its stream is 0 for none
	lastStream uint32 // the latest that the client began
	recent     [recentStreams]recentStream
	recentNext int
	credit     int       // frames that may still come without a query
	receivable int       // octets of bodies that the client may send
	received   int       // octets that it may not yet send again
	late       time.Time // when what has begun to come is late
	drainUntil time.Time // nothing new is begun; zero while it is
	packet     []byte    // room for a query

	mu         sync.Mutex
	written    sync.Cond               // less is pending, or closed, or nobody writes
	streams    map[uint32]*http2Stream // that wait: for a body, a reply, or a window
	stalled    []*http2Stream          // of these, those that wait for a window, in order
	owed       int                     // octets of answers that wait for a window
	fields     fieldWriter
	sendable   int // octets that the client's window takes
	perStream  int // the same, of a stream that begins
	pending    *[]byte
	writing    bool // somebody will write what is pending
	reading    bool // the reader waits
	closed     bool // nothing is written any more
	wasCounted bool // what the client did wrong
}

// A recentStream is one that has ended.
type recentStream struct {
	id    uint32
	reset bool // by this side, so that frames which are under way mean nothing
}

// An http2Stream is one request (RFC 9113, 5).
type http2Stream struct {
	conn    *http2Conn
	id      uint32
	arrival Arrival
	account netip.Addr // whom the request counts for

	// The reader's own.
	isGET      bool
	query      string // of the URL, where it is
	body       []byte // where it is not
	length     int64  // of the body as the request says; negative where it does not
	came       int    // octets of the body
	why        *refusal
	receivable int

	// Guarded by conn.mu.
	ended     bool // the client has sent all
	open      bool // it is neither answered nor reset
	underWay  bool // it counts
	answering bool // rest is what is left of its answer
	bodyless  bool // HEAD
	due       time.Time
	sendable  int
	rest      []byte
}

// serveHTTP2 answers a connection's requests until it ends. It calls ended when nothing is
// read any more that is to be answered. already is what has been read of it.
func (w *web) serveHTTP2(conn net.Conn, place *requester, arrival Arrival, already []byte, ended func()) {
	c := w.newHTTP2(conn, place, arrival)
	c.frames.add(copy(c.frames.space(), already))
	why := c.guard(c.read)
	ended()
	if why == errStopped {
		why = c.guard(c.drain)
	}
	c.finish(why)
}

// guard runs what serves the connection, and returns why that ended. A panic in it ends
// the connection alone.
func (c *http2Conn) guard(f func() error) (why error) {
	if !c.web.l.streams.catchPanic(func() { why = f() }) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.cutLocked()
		return errGone
	}
	return why
}

func (w *web) newHTTP2(conn net.Conn, place *requester, arrival Arrival) *http2Conn {
	c := &http2Conn{
		web: w, place: place, conn: conn, arrival: arrival, credit: framesForFree, receivable: firstWindow,
		sendable: firstWindow, perStream: firstWindow, streams: map[uint32]*http2Stream{}, fields: fieldWriter{altSvc: place.altSvc},
	}
	c.written.L = &c.mu
	c.decoder = hpack.NewDecoder(tableSize, c.addField)
	c.late = time.Now().Add(c.times().Handshake)
	c.queueLocked(func(b []byte) []byte { // nobody else has it yet
		b = appendFrame(b, 2*settingLen, frameSettings, 0, 0)
		return appendSetting(appendSetting(b, settingStreams, requestStreams), settingHeaderList, requestHeader)
	})
	return c
}

func (c *http2Conn) times() *StreamTimes { return &c.web.l.streams.times }

func (c *http2Conn) addField(f hpack.HeaderField) {
	if c.request.add(f); c.request.isTooLarge() {
		c.decoder.SetEmitEnabled(false) // the table is followed, and no more
	}
}

// read serves what comes, and returns why it does so no longer.
func (c *http2Conn) read() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		if err := c.awaitLocked(); err != nil {
			return err
		}
		n, err := c.readUnlocked()
		if n > 0 && !c.closed {
			c.frames.add(n)
			if err := c.serveLocked(); err != nil {
				return err
			}
		}
		switch {
		case c.closed:
			return errGone
		case err == nil:
		case errors.Is(err, os.ErrDeadlineExceeded):
			if err := c.expireLocked(time.Now()); err != nil {
				return err
			}
		default:
			if c.frames.partial() && !c.web.l.streams.stopped.Load() {
				c.countLocked()
			}
			return errGone
		}
	}
}

// readUnlocked reads without the lock, which its caller has.
func (c *http2Conn) readUnlocked() (int, error) {
	c.reading = true
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		c.reading = false
	}()
	return c.conn.Read(c.frames.space())
}

// awaitLocked prepares for waiting. It returns why there is nothing to wait for.
func (c *http2Conn) awaitLocked() error {
	if !c.frames.partial() {
		c.frames.release()
	}
	if c.late.IsZero() && (c.frames.partial() || c.blockOf.stream != 0) {
		c.late = time.Now().Add(c.times().Handshake)
	}
	if !c.drainUntil.IsZero() && len(c.streams) == 0 {
		return errDrained
	}
	c.setDeadlineLocked()
	if c.drainUntil.IsZero() && c.web.l.streams.stopped.Load() {
		return errStopped
	}
	return nil
}

// setDeadlineLocked lets reading end when the first thing is late.
func (c *http2Conn) setDeadlineLocked() {
	at := c.late
	sooner := func(t time.Time) {
		if !t.IsZero() && (at.IsZero() || t.Before(at)) {
			at = t
		}
	}
	sooner(c.drainUntil)
	for _, st := range c.streams {
		sooner(st.due)
	}
	switch {
	case !c.drainUntil.IsZero() && len(c.streams) == 0, c.drainUntil.IsZero() && c.web.l.streams.stopped.Load():
		at = time.Unix(1, 0)
	case len(c.streams) == 0:
		sooner(c.idleUntil())
	}
	c.conn.SetReadDeadline(at)
}

func (c *http2Conn) idleUntil() time.Time {
	return time.Unix(0, c.place.used.Load()).Add(c.web.l.streams.mayIdle(c.times().IdleTLS))
}

// expireLocked ends what is late. It returns why the connection ends, if it does.
func (c *http2Conn) expireLocked(now time.Time) error {
	if !c.drainUntil.IsZero() && !now.Before(c.drainUntil) {
		return errDrained
	}
	for _, st := range c.streams {
		if st.due.IsZero() || now.Before(st.due) {
			continue
		}
		if st.answering { // the client gives no window
			c.countLocked()
			c.resetLocked(st, cancelled)
			continue
		}
		c.refuseLocked(st, errSlow)
	}
	c.startWritingLocked()
	switch {
	case !c.late.IsZero() && !now.Before(c.late):
		c.countLocked()
		return errIdle
	case len(c.streams) == 0 && c.drainUntil.IsZero() && !now.Before(c.idleUntil()):
		return errIdle
	}
	return nil
}

// serveLocked serves the frames that have come, and writes what is to be said to them.
func (c *http2Conn) serveLocked() error {
	mine := !c.writing
	c.writing = true
	err := c.serveFramesLocked(&mine)
	if mine {
		c.writeLocked()
	}
	return err
}

func (c *http2Conn) serveFramesLocked(mine *bool) error {
	if !c.greeted {
		preface, ok := c.frames.cut(len(http2Preface))
		if !ok {
			return nil
		}
		if string(preface) != http2Preface {
			return protocolError
		}
		c.greeted = true
	}
	for {
		f, ok, err := c.frames.next()
		if err != nil || !ok {
			return err
		}
		if err := c.frameLocked(&f); err != nil {
			return err
		}
		if c.blockOf.stream == 0 && c.set {
			c.late = time.Time{}
		}
		if c.credit < 0 {
			return enhanceYourCalm
		}
		c.makeRoomLocked(mine)
		if c.closed {
			return errGone
		}
	}
}

// makeRoomLocked waits where much is pending: a client that takes nothing is not served.
func (c *http2Conn) makeRoomLocked(mine *bool) {
	for c.pending != nil && len(*c.pending) > keptBuffer && !c.closed {
		if *mine {
			c.writeLocked()
		} else if c.writing {
			c.written.Wait()
		}
		if !c.writing {
			c.writing, *mine = true, true
		}
	}
}

// frameLocked serves a frame. It returns an error of the whole connection.
func (c *http2Conn) frameLocked(f *frame) error {
	if c.blockOf.stream != 0 && (f.kind != frameContinuation || f.stream != c.blockOf.stream) {
		return protocolError
	}
	if !c.set && (f.kind != frameSettings || f.has(flagAck)) {
		return protocolError
	}
	c.credit--
	switch f.kind {
	case frameData:
		return c.dataLocked(f)
	case frameHeaders:
		return c.headersLocked(f)
	case frameContinuation:
		return c.continuationLocked(f)
	case frameRSTStream:
		return c.clientResetLocked(f)
	case frameSettings:
		return c.settingsLocked(f)
	case framePing:
		return c.pingLocked(f)
	case frameWindowUpdate:
		return c.windowLocked(f)
	case frameGoAway:
		if f.stream != 0 {
			return protocolError
		}
		if len(f.payload) < shortestGoAway {
			return frameSizeError
		}
	case framePriority:
		if len(f.payload) != priorityLen {
			return frameSizeError
		}
		if f.stream == 0 || isOwnParent(f) {
			return protocolError
		}
	case framePushPromise:
		return protocolError
	}
	return nil // what nobody knows means nothing (RFC 9113, 5.5)
}

// isOwnParent reports whether a stream is said to depend on itself (RFC 7540, 5.3.1).
func isOwnParent(f *frame) bool { return binary.BigEndian.Uint32(f.payload)&streamBits == f.stream }

// isIdle reports whether a stream has not begun.
func (c *http2Conn) isIdle(stream uint32) bool { return stream > c.lastStream || stream%2 == 0 }

// Headers.

func (c *http2Conn) headersLocked(f *frame) error {
	if f.stream%2 == 0 || !f.unpad() {
		return protocolError
	}
	if f.has(flagPriority) {
		if len(f.payload) < headersPriorityFirst {
			return frameSizeError
		}
		if isOwnParent(f) {
			return protocolError
		}
		f.payload = f.payload[headersPriorityFirst:]
	}
	if !f.has(flagEndHeaders) {
		c.block = append(c.block[:0], f.payload...)
		c.blockOf = *f
		c.blockOf.payload = nil
		return nil
	}
	return c.fieldsLocked(f, f.payload)
}

func (c *http2Conn) continuationLocked(f *frame) error {
	if c.blockOf.stream == 0 {
		return protocolError
	}
	if len(c.block)+len(f.payload) > headerBlock {
		return enhanceYourCalm
	}
	c.block = append(c.block, f.payload...)
	if !f.has(flagEndHeaders) {
		return nil
	}
	began, block := c.blockOf, c.block
	c.blockOf, c.block = frame{}, nil
	return c.fieldsLocked(&began, block)
}

// fieldsLocked serves a header that is whole: of a request, or trailers. Whatever is
// wrong with it, its fields are decoded, as others build on them.
func (c *http2Conn) fieldsLocked(f *frame, block []byte) error {
	st := c.streams[f.stream]
	c.request = request{length: -1, trailers: st != nil || f.stream <= c.lastStream}
	c.decoder.SetEmitEnabled(true)
	if _, err := c.decoder.Write(block); err != nil {
		return compressionError
	}
	if c.decoder.Close() != nil {
		return compressionError
	}
	switch {
	case st != nil:
		return c.trailersLocked(st, f)
	case f.stream <= c.lastStream:
		return c.closedStreamError(f.stream)
	}
	c.lastStream = f.stream
	c.beginLocked(f)
	c.request = request{} // a connection that waits keeps nothing of it
	return nil
}

// closedStreamError returns what a header on a stream that has ended is. One that was reset
// by this side may still be spoken on by a client that does not know it yet.
func (c *http2Conn) closedStreamError(stream uint32) error {
	for _, r := range c.recent {
		if r.id == stream && r.reset {
			return nil
		} else if r.id == stream {
			return streamClosed
		}
	}
	return protocolError
}

func (c *http2Conn) trailersLocked(st *http2Stream, f *frame) error {
	switch {
	case st.ended:
		return streamClosed
	case !f.has(flagEndStream) || c.request.malformed:
		c.malformedLocked(st)
	case st.answering: // nobody waits for the body any more
		st.ended = true
	default:
		c.bodyEndsLocked(st)
	}
	return nil
}

// beginLocked begins a request.
func (c *http2Conn) beginLocked(f *frame) {
	l, r := c.web.l, &c.request
	st := &http2Stream{conn: c, id: f.stream, arrival: c.arrival, length: r.length, receivable: firstWindow, sendable: c.perStream,
		open: true, ended: f.has(flagEndStream), bodyless: r.method == "HEAD"}
	if !c.drainUntil.IsZero() || len(c.streams) >= requestStreams || c.place.asking.Load() >= requestStreams {
		l.stats.requestsRefused.Add(1)
		c.resetLocked(st, refusedStream)
		return
	}
	if r.isTooLarge() {
		c.refuseLocked(st, errHeader)
		return
	}
	if !r.isWhole() {
		c.malformedLocked(st)
		return
	}
	st.why = c.admitLocked(st)
	if st.ended {
		c.wholeLocked(st)
	} else {
		c.awaitBodyLocked(st)
	}
}

// admitLocked finds out who asks and how, and lets the request count.
func (c *http2Conn) admitLocked(st *http2Stream) *refusal {
	l, r := c.web.l, &c.request
	path, query, _ := strings.Cut(r.target, "?")
	if strings.IndexByte(path, '%') >= 0 {
		plain, err := url.PathUnescape(path)
		if err != nil {
			return errNoPath
		}
		path = plain
	}
	id, ok := idOfPath(path)
	if !ok {
		return errNoPath
	}
	if id != "" {
		st.arrival.ClientID = id
	}
	if st.arrival.Client, ok = c.web.clientOf(c.arrival.Client, r.forwarded, c.place); !ok {
		return errNoClient
	}
	st.account = l.account(&st.arrival)
	if !l.requests.take(st.account) {
		return errBusy
	}
	st.underWay = true
	c.place.begin()
	c.recount(st.account)
	switch r.method {
	case "GET":
		st.isGET, st.query = true, query
	case "POST":
		if !isDNSMedia(r.media) {
			return errMedia
		}
	default:
		return errMethod
	}
	return nil
}

// recount lets a connection that counts for nobody count for whom it asks for (see
// streams.recount, which is called for this connection here alone).
func (c *http2Conn) recount(account netip.Addr) {
	if p := &c.place.place; !p.isProxy && !p.account.IsValid() && account.IsValid() {
		c.web.l.streams.recount(p, account)
	}
}

// awaitBodyLocked lets a request wait for its body. Nothing but one that is too long is
// refused before it is whole, since what is to come may show that it is malformed.
func (c *http2Conn) awaitBodyLocked(st *http2Stream) {
	if st.length > packets.MaxSize {
		c.refuseLocked(st, errTooLarge)
		return
	}
	st.due = time.Now().Add(c.times().Handshake)
	c.streams[st.id] = st
	if c.request.expects && st.why == nil {
		c.queueLocked(func(b []byte) []byte {
			return c.appendHeaders(b, st, false, func(b []byte) []byte { return appendStatus(c.fields.begin(b), http.StatusContinue) })
		})
	}
}

// wholeLocked answers a request of which all has come.
func (c *http2Conn) wholeLocked(st *http2Stream) {
	switch {
	case st.length >= 0 && st.length != int64(st.came):
		c.malformedLocked(st)
		return
	case st.why != nil:
		c.refuseLocked(st, st.why)
		return
	}
	packet, why := st.body, (*refusal)(nil)
	if st.isGET {
		packet, why = queryOfURL(st.query, c.packet)
		if c.packet = packet; cap(packet) > smallFrames {
			c.packet = nil
		}
	}
	st.body, st.query = nil, ""
	c.askLocked(st, packet, why)
}

// askLocked answers a query, or says why there is none. The lock is not held meanwhile.
func (c *http2Conn) askLocked(st *http2Stream, packet []byte, why *refusal) {
	if why == nil {
		why = checkQuery(packet)
	}
	if why != nil {
		c.refuseLocked(st, why)
		return
	}
	st.due = time.Time{}
	c.credit = min(c.credit+framesEach, framesForFree)
	ok := c.askUnlocked(st, packet)
	switch {
	case !st.open:
	case ok:
		c.streams[st.id] = st
	default: // nobody knows whether its answer comes
		c.refuseLocked(st, errInternal)
	}
}

// askUnlocked asks without the lock, which its caller has.
func (c *http2Conn) askUnlocked(st *http2Stream, packet []byte) (ok bool) {
	c.mu.Unlock()
	defer c.mu.Lock()
	return c.web.l.options.Handler.NewStreamHandler(st).ServeMessage(packet)
}

// Bodies.

func (c *http2Conn) dataLocked(f *frame) error {
	n := len(f.payload)
	if f.stream == 0 || !f.unpad() {
		return protocolError
	}
	if c.receivable -= n; c.receivable < 0 {
		return flowControlError
	}
	if c.received += n; c.received >= creditWindow {
		c.queueLocked(func(b []byte) []byte { return appendNumber(b, frameWindowUpdate, 0, uint32(c.received)) })
		c.receivable += c.received
		c.received = 0
	}
	st := c.streams[f.stream]
	switch {
	case st == nil && c.isIdle(f.stream):
		return protocolError
	case st == nil:
		if c.closedStreamError(f.stream) != nil {
			c.queueLocked(func(b []byte) []byte { return appendNumber(b, frameRSTStream, f.stream, uint32(streamClosed)) })
		}
		return nil
	case st.ended:
		c.resetLocked(st, streamClosed)
		return nil
	}
	if st.receivable -= n; st.receivable < 0 {
		c.resetLocked(st, flowControlError)
		return nil
	}
	c.bodyLocked(st, f)
	return nil
}

// bodyLocked takes in a part of a body.
func (c *http2Conn) bodyLocked(st *http2Stream, f *frame) {
	switch {
	case st.answering: // nobody waits for it any more
		st.ended = f.has(flagEndStream)
		return
	case st.length >= 0 && int64(st.came+len(f.payload)) > st.length:
		c.malformedLocked(st)
		return
	case st.came+len(f.payload) > packets.MaxSize:
		st.ended = f.has(flagEndStream)
		c.refuseLocked(st, errTooLarge)
		return
	case st.isGET || st.why != nil: // nobody looks at it
	case st.came == 0 && f.has(flagEndStream): // it is used where it is
		st.body = f.payload
	default:
		st.body = append(st.body, f.payload...)
	}
	st.came += len(f.payload)
	if f.has(flagEndStream) {
		c.bodyEndsLocked(st)
	}
}

// bodyEndsLocked answers a request whose body has come.
func (c *http2Conn) bodyEndsLocked(st *http2Stream) {
	st.ended = true
	delete(c.streams, st.id) // until it waits again
	c.wholeLocked(st)
}

// What the client says of the connection and its streams.

func (c *http2Conn) clientResetLocked(f *frame) error {
	switch {
	case f.stream == 0 || c.isIdle(f.stream):
		return protocolError
	case len(f.payload) != resetLen:
		return frameSizeError
	}
	if st := c.streams[f.stream]; st != nil { // what it asked is answered and logged all the same
		c.closeLocked(st, false)
	}
	return nil
}

func (c *http2Conn) settingsLocked(f *frame) error {
	switch {
	case f.stream != 0:
		return protocolError
	case f.has(flagAck) && len(f.payload) > 0, len(f.payload)%settingLen != 0:
		return frameSizeError
	case f.has(flagAck):
		return nil
	case len(f.payload) > settingsOfOneFrame*settingLen:
		return enhanceYourCalm
	}
	c.set = true
	for b := f.payload; len(b) > 0; b = b[settingLen:] {
		value := binary.BigEndian.Uint32(b[2:])
		switch binary.BigEndian.Uint16(b) {
		case settingTableSize:
			c.fields.limit(value)
		case settingPush:
			if value > 1 {
				return protocolError
			}
		case settingWindow:
			if value > maxWindow {
				return flowControlError
			}
			if err := c.changeWindowsLocked(int(value)); err != nil {
				return err
			}
		case settingFrameSize:
			if value < maxFrame || value > longestFrameSetting {
				return protocolError
			}
		}
	}
	c.queueLocked(func(b []byte) []byte { return appendFrame(b, 0, frameSettings, flagAck, 0) })
	c.resumeLocked()
	return nil
}

// changeWindowsLocked gives all streams another window than they began with (RFC 9113,
// 6.9.2). It may be less than nothing afterwards.
func (c *http2Conn) changeWindowsLocked(window int) error {
	more := window - c.perStream
	c.perStream = window
	for _, st := range c.streams {
		if st.sendable += more; st.sendable > maxWindow {
			return flowControlError
		}
	}
	return nil
}

func (c *http2Conn) pingLocked(f *frame) error {
	switch {
	case f.stream != 0:
		return protocolError
	case len(f.payload) != pingLen:
		return frameSizeError
	case !f.has(flagAck):
		c.queueLocked(func(b []byte) []byte { return append(appendFrame(b, pingLen, framePing, flagAck, 0), f.payload...) })
	}
	return nil
}

func (c *http2Conn) windowLocked(f *frame) error {
	if len(f.payload) != windowLen {
		return frameSizeError
	}
	more := int(binary.BigEndian.Uint32(f.payload) & streamBits)
	st := c.streams[f.stream]
	switch {
	case f.stream == 0 && more == 0, f.stream != 0 && c.isIdle(f.stream):
		return protocolError
	case f.stream == 0:
		if c.sendable += more; c.sendable > maxWindow {
			return flowControlError
		}
	case st == nil:
		return nil
	case more == 0:
		c.resetLocked(st, protocolError)
		return nil
	default:
		if st.sendable += more; st.sendable > maxWindow {
			c.resetLocked(st, flowControlError)
			return nil
		}
	}
	c.resumeLocked()
	return nil
}

// Answers.

// Arrival returns who asks, and how the request came here.
func (st *http2Stream) Arrival() *Arrival { return &st.arrival }

// Send takes the reply to the request; an empty one says that there is none.
func (st *http2Stream) Send(reply []byte) {
	c := st.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	c.doneLocked(st)
	if !st.open || c.closed {
		return
	}
	if len(reply) == 0 {
		c.refuseLocked(st, errBusy) // it was shed, or a rule drops it
	} else {
		c.answerLocked(st, reply)
	}
	if c.pending != nil && len(*c.pending) > streamOwed || c.owed > streamOwed {
		c.cutLocked()
	}
	c.startWritingLocked()
	if c.reading && (len(c.streams) == 0 || !st.due.IsZero()) {
		c.setDeadlineLocked()
	}
}

// doneLocked lets a request count no longer.
func (c *http2Conn) doneLocked(st *http2Stream) {
	if st.underWay {
		st.underWay = false
		c.web.l.requests.give(st.account)
		c.place.end()
	}
}

// answerLocked sends a reply.
func (c *http2Conn) answerLocked(st *http2Stream, reply []byte) {
	seconds, caching := dnswire.Freshness(reply)
	date := c.web.date.at(time.Now())
	c.queueLocked(func(b []byte) []byte {
		return c.appendHeaders(b, st, false, func(b []byte) []byte { return c.fields.appendAnswer(b, date, len(reply), caching, seconds) })
	})
	c.sendBodyLocked(st, reply)
}

// refuseLocked answers a request without a query, which counts no longer.
func (c *http2Conn) refuseLocked(st *http2Stream, why *refusal) {
	c.doneLocked(st)
	c.web.count(why)
	if !st.open || c.closed {
		return
	}
	text := why.text + "\n"
	date := c.web.date.at(time.Now())
	c.queueLocked(func(b []byte) []byte {
		return c.appendHeaders(b, st, st.bodyless, func(b []byte) []byte { return c.fields.appendRefusal(b, date, why, len(text)) })
	})
	if st.bodyless {
		c.closeLocked(st, !st.ended)
		return
	}
	c.sendBodyLocked(st, []byte(text))
}

// appendHeaders appends a frame with the fields of an answer.
func (c *http2Conn) appendHeaders(b []byte, st *http2Stream, end bool, fields func([]byte) []byte) []byte {
	flags := byte(flagEndHeaders)
	if end {
		flags |= flagEndStream
	}
	at := len(b)
	b = fields(appendFrame(b, 0, frameHeaders, flags, st.id))
	n := len(b) - at - frameHeader
	b[at], b[at+1], b[at+2] = byte(n>>16), byte(n>>8), byte(n)
	return b
}

// sendBodyLocked sends what the windows take of a body, and keeps the rest.
func (c *http2Conn) sendBodyLocked(st *http2Stream, body []byte) {
	if body = c.sendPartLocked(st, body); body == nil {
		return
	}
	st.answering, st.rest = true, append([]byte(nil), body...)
	st.due = time.Now().Add(c.times().Write)
	c.owed += len(body)
	c.streams[st.id] = st
	c.stalled = append(c.stalled, st)
}

// sendPartLocked sends what the windows take of a body, and returns the rest; nil where
// that is all, and the stream ends.
func (c *http2Conn) sendPartLocked(st *http2Stream, body []byte) (rest []byte) {
	for {
		n := min(len(body), maxFrame, c.sendable, st.sendable)
		if n <= 0 && len(body) > 0 {
			return body
		}
		flags := byte(0)
		if n == len(body) {
			flags = flagEndStream
		}
		c.queueLocked(func(b []byte) []byte { return append(appendFrame(b, n, frameData, flags, st.id), body[:n]...) })
		c.sendable -= n
		st.sendable -= n
		if body = body[n:]; len(body) == 0 {
			c.closeLocked(st, !st.ended)
			return nil
		}
	}
}

// resumeLocked sends what waits for a window that there is now.
func (c *http2Conn) resumeLocked() {
	waiting := c.stalled
	c.stalled = nil
	for _, st := range waiting {
		before := st.rest
		st.rest = nil
		c.owed -= len(before)
		rest := c.sendPartLocked(st, before)
		if len(rest) < len(before) { // it was good for something: two such frames, of the stream and the connection
			c.credit = min(c.credit+2, framesForFree)
		}
		if rest == nil {
			continue
		}
		if len(rest) < len(before) {
			st.due = time.Now().Add(c.times().Write)
		}
		st.rest = rest
		c.owed += len(rest)
		c.stalled = append(c.stalled, st)
	}
}

// malformedLocked ends a request that is none (RFC 9113, 8.1.1).
func (c *http2Conn) malformedLocked(st *http2Stream) {
	c.web.l.stats.requestsBad.Add(1)
	c.doneLocked(st)
	c.resetLocked(st, protocolError)
}

// resetLocked ends a stream for what was wrong.
func (c *http2Conn) resetLocked(st *http2Stream, why http2Error) {
	c.queueLocked(func(b []byte) []byte { return appendNumber(b, frameRSTStream, st.id, uint32(why)) })
	c.closeLocked(st, false)
	c.recent[(c.recentNext+recentStreams-1)%recentStreams].reset = true
}

// closeLocked ends a stream. With reset, the client is told that the rest of its request
// is not wanted (RFC 9113, 8.1). A query of it that is under way counts until it is
// answered.
func (c *http2Conn) closeLocked(st *http2Stream, reset bool) {
	st.open = false
	switch {
	case st.answering:
		c.owed -= len(st.rest)
		st.rest = nil
		c.stalled = slices.DeleteFunc(c.stalled, func(other *http2Stream) bool { return other == st })
	case !st.due.IsZero(): // it waited for its body
		c.doneLocked(st)
	}
	delete(c.streams, st.id)
	if reset {
		c.queueLocked(func(b []byte) []byte { return appendNumber(b, frameRSTStream, st.id, uint32(noError)) })
	}
	c.recent[c.recentNext] = recentStream{st.id, reset}
	c.recentNext = (c.recentNext + 1) % recentStreams
}

// countLocked counts a client that is slow or wrong, once.
func (c *http2Conn) countLocked() {
	if !c.wasCounted {
		c.wasCounted = true
		c.web.l.stats.streamsCut.Add(1)
	}
}

// cutLocked ends a connection whose client does not take its answers.
func (c *http2Conn) cutLocked() {
	c.countLocked()
	c.closed = true
	c.written.Broadcast()
	c.place.close() // the reader ends
}

// Writing.

// queueLocked lets what add appends be written.
func (c *http2Conn) queueLocked(add func([]byte) []byte) {
	if c.closed {
		return
	}
	if c.pending == nil {
		c.pending = answerBuffers.Get().(*[]byte)
	}
	*c.pending = add(*c.pending)
}

// startWritingLocked lets somebody write what is pending.
func (c *http2Conn) startWritingLocked() {
	if c.pending == nil || c.writing || c.closed {
		return
	}
	c.writing = true
	go c.guard(func() error { // finish waits for it
		c.mu.Lock()
		defer c.mu.Unlock()
		c.writeLocked()
		return nil
	})
}

// writeLocked writes what is pending, until nothing is. Its caller is who set writing.
// The lock is not held meanwhile.
func (c *http2Conn) writeLocked() {
	defer func() {
		c.writing = false
		c.written.Broadcast()
	}()
	for c.pending != nil && !c.closed {
		b := c.pending
		c.pending = nil
		ok := c.writeUnlocked(*b)
		if *b = (*b)[:0]; cap(*b) <= keptBuffer {
			answerBuffers.Put(b)
		}
		if !ok && !c.closed {
			c.cutLocked()
		}
		c.written.Broadcast()
	}
}

// writeUnlocked writes octets without the lock, which its caller has.
func (c *http2Conn) writeUnlocked(b []byte) (ok bool) {
	c.mu.Unlock()
	defer c.mu.Lock()
	return c.writeAll(b)
}

// writeAll writes octets; false where the client does not take them.
func (c *http2Conn) writeAll(b []byte) bool {
	for len(b) > 0 {
		n := min(len(b), writeChunk)
		c.conn.SetWriteDeadline(time.Now().Add(c.times().Write))
		if _, err := c.conn.Write(b[:n]); err != nil {
			return false
		}
		b = b[n:]
	}
	return true
}

// flushLocked returns when what is pending is written, or cannot be.
func (c *http2Conn) flushLocked() {
	for c.writing && !c.closed {
		c.written.Wait()
	}
	if !c.closed {
		c.writing = true
		c.writeLocked()
	}
}

// The end.

func (c *http2Conn) goAwayLocked(why http2Error) {
	c.queueLocked(func(b []byte) []byte {
		b = binary.BigEndian.AppendUint32(appendFrame(b, shortestGoAway, frameGoAway, 0, 0), c.lastStream)
		return binary.BigEndian.AppendUint32(b, uint32(why))
	})
}

// drain answers what is under way, and takes nothing new. It returns why it is done.
func (c *http2Conn) drain() error {
	c.takeNothingNew()
	return c.read()
}

func (c *http2Conn) takeNothingNew() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.goAwayLocked(noError)
	for _, st := range c.streams {
		if !st.answering && !st.due.IsZero() { // it waits for its body, and can be asked anew
			c.resetLocked(st, refusedStream)
		}
	}
	c.flushLocked()
	c.late, c.drainUntil = time.Time{}, time.Now().Add(c.times().Answer+c.times().Write)
}

// finish ends the connection for a reason, of which the client is told if it is still
// there.
func (c *http2Conn) finish(why error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	code, isError := why.(http2Error)
	if isError {
		c.countLocked()
		c.goAwayLocked(code)
	} else if why == errIdle {
		c.goAwayLocked(noError)
	}
	if why != errGone {
		c.flushLocked()
	}
	c.closed = true
	for _, st := range c.streams {
		c.closeLocked(st, false)
	}
	c.mu.Unlock()
	if isError && !c.web.l.streams.stopped.Load() {
		c.linger()
	}
	c.conn.Close()
	c.web.l.streams.remove(&c.place.place)
	c.mu.Lock()
	for c.writing {
		c.written.Wait()
	}
}

// linger lets the client read why its connection ends: one that is closed with octets
// unread is reset, by which the client loses what was sent last.
func (c *http2Conn) linger() {
	if half, ok := c.conn.(interface{ CloseWrite() error }); !ok || half.CloseWrite() != nil {
		return
	}
	c.conn.SetReadDeadline(time.Now().Add(lingering))
	io.CopyN(io.Discard, c.conn, lingeringLimit)
}
