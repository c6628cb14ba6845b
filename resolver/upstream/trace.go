package upstream

import (
	"encoding/binary"
	"time"
)

// An EventKind is what happens in an exchange that is traced.
type EventKind uint8

const (
	Sent    EventKind = iota // a query to an upstream
	Replied                  // by an upstream; see Event.Fits for whether that is an answer
	Overdue                  // an upstream has not replied in the time that it usually needs
	GivenUp                  // an upstream will not be asked again, see Event.Why
)

// An Event is something that happens in an exchange that is traced.
type Event struct {
	Time     time.Time
	Kind     EventKind
	Upstream string
	How      string // of Sent: how it was asked
	Hedge    bool   // of Sent: since another one is late
	Fits     bool   // of Replied: it is an answer
	Cut      bool   // of Replied: it is truncated
	Rcode    uint8  // of Replied
	Records  int    // of Replied: in the answer section
	Size     int    // of Replied: octets
	Why      string // of GivenUp: what became of it
}

// note tells who traces the exchange of an event.
func (x *exchange) note(c *candidate, e Event) {
	if x.trace != nil {
		e.Time, e.Upstream = time.Now(), c.id
		x.trace(e)
	}
}

// noteSent notes a query, also for who traces nothing. modePlain is one without EDNS.
func (x *exchange) noteSent(c *candidate, transport string, how mode) {
	c.withEDNS = c.withEDNS || how != modePlain
	switch how {
	case modePlain:
		transport += ", without EDNS"
	case modeSmall:
		transport += ", offering 512 octets"
	}
	x.note(c, Event{Kind: Sent, How: transport, Hedge: c == x.hedge})
}

// noteReply notes a reply.
func (x *exchange) noteReply(c *candidate, r *result) {
	e := Event{Kind: Replied, Fits: r.kind == replyGood, Cut: r.kind == replyTruncated, Size: len(r.answer.Wire)}
	if len(r.answer.Wire) >= 12 {
		e.Rcode, e.Records = r.answer.Wire[3]&0xf, int(binary.BigEndian.Uint16(r.answer.Wire[6:]))
	}
	x.note(c, e)
}
