package peerlogs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// A capture of packets is a file of pcap or pcapng. Of its packets, DNS messages over UDP and
// TCP from and to port 53 count: a query, with what the reply to it says. Nothing is put
// together but what a question takes: it stands at the beginning of a message.
var captureFormat = Format{
	Name: "capture", Title: "capture of packets",
	Lost: "whether a name was blocked, and by what, whether the answer was cached, and what was asked over encrypted transports",
	is: func(head []byte) bool {
		return len(head) >= 12 && (binary.BigEndian.Uint32(head) == pcapngSection || pcapOrder(head) != nil)
	},
}

// messageMost is how much of a DNS message is looked at: its header and its question.
const messageMost = 12 + 255 + 4

// copyWithin is how soon the same packet comes again where several interfaces saw it.
// Clients wait longer before they repeat a query.
const copyWithin = 10 * time.Millisecond

// mostRecent is how many messages are remembered to know copies of them.
const mostRecent = 4096

type captureLog struct {
	exchanges
	recent  recentMessages
	f       *file
	o       Options
	packets packetReader
	streams streams
	number  int64 // of the packet at hand
	left    leftOut
	cut     bool // the last packet is cut
}

// leftOut counts what was not taken over.
type leftOut struct {
	others     int64            // DNS messages that are no queries and replies
	nobodys    int64            // DNS messages of a client without an address
	fragments  int64            // of packets, behind the first
	copies     int64            // of a packet
	links      map[uint32]int64 // packets, by a link type that is not read here
	incomplete int64            // connections of which something is missing
	begun      int64            // segments of connections whose beginning is not there
}

// A packet is one as it was captured. Its data are valid until the next.
type packet struct {
	time time.Time
	link uint32 // the number of a link type
	data []byte
	all  int // octets it had
}

// A packetReader reads packets from a file of one kind.
type packetReader interface {
	// next returns the next packet. A *BadRecord is one that cannot be used, errCut the
	// end of a file that is cut.
	next() (packet, error)
}

// errCut means that the file ends amid a packet.
var errCut = errors.New("the file ends amid a packet")

func newCapture(f *file, o Options) (*captureLog, error) {
	c := &captureLog{f: f, o: o}
	c.left.links = map[uint32]int64{}
	head, err := f.r.Peek(12)
	if err != nil {
		return nil, errors.New("the capture has no packet")
	}
	if pcapOrder(head) == nil {
		c.packets = &pcapng{f: f}
		return c, nil
	}
	p, err := newPcap(f)
	if err != nil {
		return nil, err
	}
	if !linkTypes[p.link] {
		return nil, fmt.Errorf("its packets are of link type %d, which is not read here: %s are", p.link, linkNames)
	}
	c.packets = p
	return c, nil
}

func (c *captureLog) Format() *Format         { return &captureFormat }
func (c *captureLog) Close() error            { return c.f.close() }
func (c *captureLog) Read() (done, all int64) { return c.f.read() }

func (c *captureLog) Next() (*Lookup, error) {
	return c.take(&c.chain, &captureFormat, c.o.now(), c.more)
}

func (c *captureLog) place() string { return "packet " + strconv.FormatInt(c.number, 10) }

// Notes say what was left out.
func (c *captureLog) Notes() (all []string) {
	l := &c.left
	for _, n := range []struct {
		n    int64
		text string
	}{
		{l.others, "DNS messages on port 53 were left out that are no queries and no replies to them"},
		{l.nobodys, "DNS messages were left out whose client has no address: dnsmasq writes so what it asks its upstreams itself"},
		{l.copies, "packets were left out that another interface had seen already"},
		{l.fragments, "fragments of packets were left out that are not the first: a question is in the first"},
		{l.incomplete, "connections over TCP were read in part: segments of them are missing"},
		{l.begun, "segments were left out of connections over TCP whose beginning is not in the capture"},
	} {
		if n.n > 0 {
			all = append(all, fmt.Sprintf("%d %s", n.n, n.text))
		}
	}
	if len(l.links) > 0 {
		var links []string
		sum := int64(0)
		for _, link := range sortedKeys(l.links) {
			links = append(links, strconv.FormatUint(uint64(link), 10))
			sum += l.links[link]
		}
		all = append(all, fmt.Sprintf("%d packets were left out whose link type is not read here: %s", sum, strings.Join(links, ", ")))
	}
	if c.cut {
		all = append(all, fmt.Sprintf("packet %d, the last one, is cut and was left out: it is read when the file has grown", c.number+1))
	}
	return all
}

func sortedKeys(m map[uint32]int64) (all []uint32) {
	for k := range m {
		at := 0
		for at < len(all) && all[at] < k {
			at++
		}
		all = append(all[:at], append([]uint32{k}, all[at:]...)...)
	}
	return all
}

// more takes over the next packet.
func (c *captureLog) more() error {
	p, err := c.packets.next()
	var bad *BadRecord
	switch {
	case errors.As(err, &bad):
		c.number++
		bad.Place = c.place()
		return bad
	case err == errCut:
		c.cut = true
		c.finish(io.EOF)
		return nil
	case err != nil:
		c.finish(err)
		return nil
	}
	c.number++
	if !linkTypes[p.link] {
		if len(c.left.links) < 16 || c.left.links[p.link] > 0 {
			c.left.links[p.link]++
		}
		return nil
	}
	var s segment
	switch s.read(&p) {
	case laterFragment:
		c.left.fragments++
		return nil
	case notOurs:
		return nil
	}
	if !s.tcp {
		return c.message(&s, p.time, s.data, s.missing > 0)
	}
	var failed error
	switch c.streams.add(&s, func(message []byte) {
		if err := c.message(&s, p.time, message, false); err != nil && failed == nil {
			failed = err
		}
	}) {
	case streamIncomplete:
		c.left.incomplete++
	case streamBegun:
		c.left.begun++
	}
	return failed
}

// message takes over a DNS message.
func (c *captureLog) message(s *segment, at time.Time, b []byte, cut bool) error {
	if len(b) < 12 {
		return &BadRecord{c.place(), errors.New("it has no DNS message")}
	}
	reply := b[2]&0x80 != 0
	client, server := s.src, s.dst
	if reply {
		client, server = s.dst, s.src
	}
	if server.Port() != dnsPort || b[2]&0x78 != 0 { // opcode QUERY is 0
		c.left.others++
		return nil
	}
	if client.Addr().IsUnspecified() {
		c.left.nobodys++
		return nil
	}
	b = b[:min(len(b), messageMost)]
	q := &exchange{}
	q.Lookup = Lookup{
		Place: c.place(), Time: at, Client: client.Addr(), Verdict: NotKnown, Rcode: -1, Transport: UDP, Upstream: server.String(),
		raw: fmt.Appendf(nil, "%d %s %s %x", at.UnixNano(), client, server, b),
	}
	if s.tcp {
		q.Transport = TCP
	}
	if err := q.question(b); err != nil {
		if cut {
			err = errors.New("it was not captured as a whole: tcpdump does that by -s 0")
		}
		return &BadRecord{c.place(), err}
	}
	q.key = fmt.Sprintf("%s %s %v %x %d %s", client, server, s.tcp, b[:2], q.Type, q.Name.Wire())
	before := c.byKey[q.key]
	if reply {
		q.Rcode, q.done = int(b[3]&0x0f), true
		if before != nil {
			if took := at.Sub(before.Time); took > 0 && took < time.Hour {
				q.Elapsed = took
			}
		}
	}
	// A reply makes a lookup where the capture has no queries.
	if !s.tcp && (!reply || !c.queries) && c.recent.isCopy(q.key, at) {
		c.left.copies++
		return nil
	}
	c.seen(q, reply)
	return nil
}

// recentMessages are the last messages, by their keys: that of which one is a copy may have been
// answered and given away by then.
type recentMessages struct {
	at   map[string]time.Time
	keys [mostRecent]string // a ring, in the order in which they came
	next int
}

// isCopy reports whether the message with a key was seen just before, and remembers it if not.
func (r *recentMessages) isCopy(key string, at time.Time) bool {
	before, ok := r.at[key]
	if ok && at.Sub(before).Abs() < copyWithin {
		return true
	}
	if r.at == nil {
		r.at = map[string]time.Time{}
	}
	r.at[key] = at
	if !ok {
		delete(r.at, r.keys[r.next])
		r.keys[r.next] = key
		r.next = (r.next + 1) % mostRecent
	}
	return false
}

// dnsPort is where DNS servers are asked.
const dnsPort = 53

// addrPort is an address as rows have it.
func addrPort(addr []byte, port uint16) netip.AddrPort {
	a, _ := netip.AddrFromSlice(addr) // of 4 or 16 octets
	return netip.AddrPortFrom(a.Unmap(), port)
}
