package upstream

import (
	"encoding/binary"
	"net/netip"
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
	receiveSize     = 4096
	maxSubnetOption = 8 + 16
	// maxQuery is the longest query: length prefix, header, question, OPT with a subnet.
	maxQuery = 2 + dnswire.HeaderLen + dnswire.MaxName + 4 + 11 + maxSubnetOption
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
func (b *exchangeBuffer) writeQuery(q *dnswire.Question, id uint16, how mode, m *Upstream) (query, asked []byte) {
	p := binary.BigEndian.AppendUint16(b.query[:2], id)
	flags := byte(0)
	if q.CD {
		flags |= bitCD
	}
	if m.trustAD {
		flags |= bitAD // RFC 6840, 5.7
	}
	extra := byte(1)
	if how == modePlain {
		extra = 0
	}
	p = append(p, bitRD, flags, 0, 1, 0, 0, 0, 0, 0, extra)
	p = append(p, q.Name.Wire()...)
	p = binary.BigEndian.AppendUint16(p, q.Type)
	p = binary.BigEndian.AppendUint16(p, q.Class)
	asked = p[2:]
	if how != modePlain {
		do, payload := byte(0), uint16(queryPayload)
		if q.DO {
			do = 0x80
		}
		if how == modeSmall {
			payload = smallPayload
		}
		p = append(p, 0, 0, dnswire.TypeOPT, byte(payload>>8), byte(payload), 0, 0, do, 0, 0, byte(len(m.subnet)))
		p = append(p, m.subnet...)
	}
	binary.BigEndian.PutUint16(b.query[:], uint16(len(p)-2))
	return p[2:], asked
}

const optionSubnet = 8 // EDNS client subnet (RFC 7871)

// subnetOption returns the option that says where clients are; nil for no prefix.
func subnetOption(p netip.Prefix) []byte {
	if !p.IsValid() {
		return nil
	}
	family := byte(1)
	if p.Addr().Is6() {
		family = 2
	}
	octets := p.Masked().Addr().AsSlice()[:(p.Bits()+7)/8]
	return append([]byte{0, optionSubnet, 0, byte(4 + len(octets)), 0, family, byte(p.Bits()), 0}, octets...)
}
