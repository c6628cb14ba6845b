package resolver

import (
	"errors"
	"net/netip"
	"time"

	"github.com/miekg/dns"

	"telltale/blocklists"
	"telltale/devices"
	"telltale/dnswire"
	"telltale/querylog"
	"telltale/resolver/cache"
	"telltale/resolver/listen"
	"telltale/resolver/packets"
	"telltale/resolver/upstream"
)

// A query is one question on its way through the server. A reader reuses its
// own for every packet; a query that must wait is copied first.
type query struct {
	dnswire.Question
	packet    []byte               // as it came, where a Tap wants it; nil else
	path      packets.Path         // where it came from
	slot      int                  // its place in the reader's batch
	batch     *upstream.QueryBatch // what its reader's batch asks of upstreams; nil where there is none
	lookups   *blocklists.Batch    // in which its reader has looked its name up, at slot; nil: it has not
	parsed    bool                 // its reader has read the packet into Question
	parseErr  error                // how that ended
	cached    *cache.Entry         // its reader's, for what the cache has; nil: a new one each time
	transport querylog.Transport
	clientID  string          // by which the client named itself; "" for none, as always over UDP and TCP
	arrival   *listen.Arrival // how its connection or request came; nil for a packet
	received  time.Time
	binding   *devices.Binding
	behind    netip.Addr         // the client's address behind a trusted forwarder; not valid: there is none, or it was not said
	group     blocklists.Group   // who asks, as far as the lists care; answerNow sets it
	policy    *blocklists.Policy // the one policy this query is judged by
	verdict   blocklists.Verdict
	alias     []byte // the alias that decided, if not the name itself
	ttl       uint32 // the largest TTL served, seconds
	upstream  string // the ID of the one that was asked for it and gave its answer; "" for none
	private   bool   // only for upstreams with a private address
	expired   bool   // the cache has what is served if upstreams give no answer
	explained bool   // it is no lookup: nothing counts it, and it has no limit of size

	redirection *redirection // where rules lead it, if they do; nil: nowhere else
	translation *translation // what its answer is made of, if it is; nil: it is not

	serverCookie [fullCookie]byte // room for the COOKIE option of the reply
	aliasRoom    [dnswire.MaxName]byte
}

// setAlias makes name the alias that decided; nil: none did.
func (q *query) setAlias(name []byte) {
	if q.alias = nil; name != nil {
		q.alias = append(q.aliasRoom[:0], name...)
	}
}

// A replyWriter is where a query leaves the server: the reply to the client, the
// record to the log. A reader has one that batches both, for itself alone, and one
// that any goroutine may use. Neither waits. An empty reply is none; the one given
// to a reader's own stays in use until its batch ends.
type replyWriter interface {
	send(q *query, reply []byte)
	log(q *query, reply []byte, source querylog.Source)
}

// memberOf returns who asks, as far as the lists care.
func (q *query) memberOf() blocklists.Group {
	g := q.policy.GroupOf(q.device(), q.address())
	if q.transport != querylog.UDP {
		g = g.OverStream()
	}
	return g
}

// device returns the number of the settings that who asks has; 0: none of its own.
func (q *query) device() uint16 {
	if q.binding == nil {
		return 0
	}
	return q.binding.Group
}

// asked returns the question that q waits for: its own, or that to which rules lead.
func (q *query) asked() *dnswire.Question {
	switch {
	case q.redirection != nil:
		return &q.redirection.question
	case q.translation != nil:
		return &q.translation.question
	}
	return &q.Question
}

// nameError returns the rcode by which we say ourselves that there is no such name:
// NODATA where something below it is answered here.
func (q *query) nameError() uint16 {
	if q.policy.HasAnswersBelow(&q.Name) {
		return dnswire.Success
	}
	return dnswire.NXDomain
}

// limit is the largest reply the client can take.
func (q *query) limit() int {
	if q.transport == querylog.UDP && !q.explained {
		return int(min(q.UDPSize, dnswire.PayloadSize))
	}
	return dnswire.MaxMessage
}

// record returns what the log keeps of q. It refers to q's memory.
func (q *query) record(reply []byte, source querylog.Source, now time.Time) (rec querylog.Record) {
	q.setRecord(&rec, reply, source)
	rec.Elapsed = now.Sub(q.received)
	return rec
}

// setRecord makes rec what the log keeps of q, but for how long the answer took.
func (q *query) setRecord(rec *querylog.Record, reply []byte, source querylog.Source) {
	rec.Name, rec.Alias = q.Name.Wire(), q.alias
	if q.Type == dnswire.TypeHTTPS || q.Type == dnswire.TypeSVCB {
		rec.Name = q.serviceName()
	}
	rec.Time, rec.Client = q.received, q.path.Client.Addr()
	if rec.Client.Is6() {
		rec.Client = rec.Client.WithZone("")
	}
	rec.ClientID, rec.Binding, rec.Upstream = q.clientID, q.binding, q.upstream
	rec.Verdict, rec.Type, rec.Source, rec.Transport, rec.TTL, rec.Rcode = q.verdict, q.Type, source, q.transport, q.ttl, 0
	if len(reply) > 3 {
		rec.Rcode = reply[3] & 0xf
	}
}

// serviceName returns the name that a question for HTTPS or SVCB is counted as: that
// of _PORT._https.NAME as NAME, as lists decide it (RFC 9460, 2.3).
func (q *query) serviceName() []byte {
	name := q.Name.Wire()
	if name[0] > 1 && name[1] == '_' {
		if owner, ok := q.Name.PortOwner(); ok {
			return q.Name.Suffix(owner.Labels())
		}
	}
	return name
}

// forget lets go of what q refers to: one that waits to be used again must not keep an old
// policy in memory.
func (q *query) forget() {
	q.packet, q.policy, q.verdict, q.alias, q.binding, q.redirection, q.translation, q.arrival, q.upstream = nil, nil, blocklists.Verdict{}, nil, nil, nil, nil, nil, ""
	q.clientID, q.behind, q.Forwarding = "", netip.Addr{}, nil
	q.lookups, q.parsed, q.parseErr = nil, false, nil
}

// parse fills q from packet, by the strict parser or by the full one. If it returns
// false, reply is what to send, which may be nothing.
func (s *Server) parse(packet []byte, q *query, dst []byte) (reply []byte, ok bool) {
	q.upstream = ""
	q.alias, q.ttl, q.private, q.expired, q.verdict, q.redirection, q.translation = nil, 0, false, false, blocklists.Verdict{}, nil, nil
	err := q.parse(packet)
	if err == dnswire.ErrNotQuery {
		s.stats.dropped.Add(1)
		return nil, false
	}
	if !s.mayAsk(q) {
		s.stats.refuses(q.path.Client.Addr())
		return refuse(dst, packet, &q.Question), false
	}
	if err == dnswire.ErrUnusual {
		err = parseUnusual(packet, &q.Question)
	}
	if q.arrival != nil {
		q.setStreamOptions()
	}
	if q.Forwarding != nil {
		if err == nil {
			s.identifyForwarded(q)
		}
		q.Forwarding = nil
	}
	switch err {
	case nil:
		return s.checkTypeAndClass(q, dst)
	case dnswire.ErrOpcode:
		s.stats.notImplemented.Add(1)
		return dnswire.AppendError(dst, &q.Question, dnswire.Opcode(packet), dnswire.NotImp), false
	case dnswire.ErrVersion:
		s.stats.notImplemented.Add(1)
		return dnswire.AppendError(dst, &q.Question, 0, dnswire.BadVers), false
	case dnswire.ErrCookieOnly:
		return dnswire.AppendEmpty(dst, &q.Question, dnswire.Success, s.cookies.answer(q), dnswire.EDE{}), false
	}
	s.stats.malformed.Add(1)
	return dnswire.AppendError(dst, &q.Question, 0, dnswire.FormErr), false
}

// parse reads the packet, unless the reader has.
func (q *query) parse(packet []byte) error {
	if q.parsed {
		return q.parseErr
	}
	return dnswire.ParseQuestion(packet, &q.Question)
}

// mayAsk reports whether the client of q may ask at all: by its address, or by an id
// that nobody can guess, which no query over UDP or TCP has.
func (s *Server) mayAsk(q *query) bool {
	return s.allowed(q.path.Client.Addr()) || q.clientID != "" && s.allowedID(q.clientID)
}

// padTo is what the sizes of encrypted replies are multiples of (RFC 8467, 4.1).
const padTo = 468

// setStreamOptions says what the reply on a connection tells its client beside the
// answer: how long it may be idle, where it asks, and nothing by its size, where that
// cannot be read off the query's either (RFC 7830, 4).
func (q *query) setStreamOptions() {
	if q.AsksKeepalive {
		q.Keepalive = uint16(min(q.arrival.Idle/(100*time.Millisecond), 1<<16-1))
	}
	if q.HasPadding && q.arrival.Transport.Encrypted() {
		q.PadTo = padTo
	}
}

// refuse appends the reply to a client that may not ask: the same for whatever
// it sent, and never more octets than that.
func refuse(dst, packet []byte, q *dnswire.Question) []byte {
	reply := dnswire.AppendEmpty(dst, q, dnswire.Refused, nil, dnswire.EDE{Code: dnswire.EDEProhibited})
	if len(reply)-len(dst) > len(packet) {
		reply = dnswire.AppendEmpty(dst, q, dnswire.Refused, nil, dnswire.EDE{})
	}
	return reply
}

// checkTypeAndClass turns away the questions that no cache or list may answer.
func (s *Server) checkTypeAndClass(q *query, dst []byte) (reply []byte, ok bool) {
	rcode, ede := uint16(dnswire.Success), dnswire.EDE{Code: dnswire.EDENotSupported}
	switch {
	case q.Class != dnswire.ClassIN:
		rcode = dnswire.Refused
	case q.Type == 0 || q.Type == dnswire.TypeOPT || q.Type == dnswire.TypeNXNAME: // RFC 9824, 3.5
		rcode, ede.Code = dnswire.FormErr, dnswire.EDEInvalidType
	case q.Type == dnswire.TypeAXFR || q.Type == dnswire.TypeIXFR || q.Type == dnswire.TypeRRSIG:
		rcode = dnswire.Refused // RRSIG: RFC 8482, 7 calls it as unfit as ANY
	case q.Type >= 128 && q.Type < dnswire.TypeANY:
		rcode = dnswire.NotImp // QTYPEs and Meta-TYPEs (RFC 6895, 3.1)
	default:
		return nil, true
	}
	s.stats.notImplemented.Add(1)
	return dnswire.AppendEmpty(dst, &q.Question, rcode, s.cookies.answer(q), ede), false
}

// maxUnusual bounds the records beside the question that the full parser looks
// at: TSIG, SIG(0), an OPT and an SOA.
const maxUnusual = 4

// parseUnusual re-packs in the plain shape what miekg/dns understood.
func parseUnusual(packet []byte, q *dnswire.Question) error {
	if beside(packet) > maxUnusual {
		return dnswire.ErrFormat
	}
	var m dns.Msg
	if m.Unpack(packet) != nil || len(m.Question) != 1 {
		return dnswire.ErrFormat
	}
	plain := dns.Msg{MsgHdr: m.MsgHdr, Question: m.Question}
	for _, rr := range m.Extra {
		if opt, ok := rr.(*dns.OPT); ok {
			if plain.IsEdns0() != nil {
				return dnswire.ErrFormat // RFC 6891, 6.1.1
			}
			plain.Extra = append(plain.Extra, opt)
		}
	}
	b, err := plain.Pack()
	if err != nil {
		return dnswire.ErrFormat
	}
	if err := dnswire.ParseQuestion(b, q); !errors.Is(err, dnswire.ErrUnusual) {
		return err
	}
	return dnswire.ErrFormat
}

// beside returns how many records a packet claims to have beside its question.
func beside(packet []byte) int {
	n := 0
	for i := 6; i < dnswire.HeaderLen; i += 2 {
		n += int(packet[i])<<8 | int(packet[i+1])
	}
	return n
}
