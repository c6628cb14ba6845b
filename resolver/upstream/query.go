package upstream

import (
	"encoding/binary"
	"sync"

	"telltale/dnswire"
)

const (
	// queryPayload is the UDP payload size offered to upstreams: what passes
	// everywhere without fragments, which a spoofer could replace (RFC 9715, 3.2;
	// DNS flag day 2020).
	queryPayload = 1232
	// smallPayload is what passes where that does not (RFC 1035, 4.2.1).
	smallPayload = 512
	// receiveSize holds more than was offered, as some servers send more. What
	// fills it whole was perhaps cut and is asked for again by TCP.
	receiveSize = 4096
	// maxQuery is the longest query: length prefix, header, question, OPT.
	maxQuery = 2 + dnswire.HeaderLen + dnswire.MaxName + 4 + 11
)

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

// writeQuery writes the query for q, and returns it whole and as far as a reply
// must repeat it. Of the client's query only name, type, class, DO and CD go out,
// in lower case: no option, no letter case, no id.
func (b *exchangeBuffer) writeQuery(q *dnswire.Question, id uint16, how mode, trustAD bool) (query, asked []byte) {
	m := binary.BigEndian.AppendUint16(b.query[:2], id)
	flags := byte(0)
	if q.CD {
		flags |= bitCD
	}
	if trustAD {
		flags |= bitAD // RFC 6840, 5.7
	}
	extra := byte(1)
	if how == modePlain {
		extra = 0
	}
	m = append(m, bitRD, flags, 0, 1, 0, 0, 0, 0, 0, extra)
	m = append(m, q.Name.Wire()...)
	m = binary.BigEndian.AppendUint16(m, q.Type)
	m = binary.BigEndian.AppendUint16(m, q.Class)
	asked = m[2:]
	if how != modePlain {
		do, payload := byte(0), uint16(queryPayload)
		if q.DO {
			do = 0x80
		}
		if how == modeSmall {
			payload = smallPayload
		}
		m = append(m, 0, 0, dnswire.TypeOPT, byte(payload>>8), byte(payload), 0, 0, do, 0, 0, 0)
	}
	binary.BigEndian.PutUint16(b.query[:], uint16(len(m)-2))
	return m[2:], asked
}
