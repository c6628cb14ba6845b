package resolver

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"telltale/dnswire"
	"telltale/resolver/dnstest"
)

// questionEnd returns where the question of a query ends.
func questionEnd(query []byte) int {
	off := 12
	for query[off] != 0 {
		off += 1 + int(query[off])
	}
	return off + 5
}

// An answer whose names lead nowhere cannot be read: that is a failure and not an
// answer without records, which a client would believe.
func TestAPointerLoopIsAFailure(t *testing.T) {
	up := dnstest.StartRaw(t, func(query []byte, send func([]byte)) {
		end := questionEnd(query)
		reply := append([]byte(nil), query[:end]...)
		reply[2], reply[3] = 0x81, 0x80
		copy(reply[6:], []byte{0, 1, 0, 0, 0, 0})
		reply = append(reply, 0xc0, byte(end), 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1)
		send(reply)
	}, nil)
	s, recorded := startServer(t, Options{}, &dnstest.Upstream{Addr: up})
	r := ask(t, s, "udp", "www.example.", dns.TypeA)
	if r.Rcode != dns.RcodeServerFailure || len(r.Answer) != 0 {
		t.Errorf("got %s with %d records, want SERVFAIL", dns.RcodeToString[r.Rcode], len(r.Answer))
	}
	if row := recorded.last(t, 1); row.Rcode != dns.RcodeServerFailure {
		t.Errorf("logged rcode %d", row.Rcode)
	}
}

// fullAnswer is a reply to query that leaves so many octets of a message.
func fullAnswer(query []byte, left int) []byte {
	reply := append([]byte(nil), query[:questionEnd(query)]...)
	reply[2], reply[3] = 0x81, 0x80
	copy(reply[6:], []byte{0, 0, 0, 0, 0, 0})
	const head = 12
	n := 0
	for size := dnswire.MaxMessage - left - len(reply); size > 0; n++ {
		data := min(size-head, 60000) // of this record, its strings' lengths included
		if rest := size - head - data; rest > 0 && rest < head+2 {
			data -= head + 2
		}
		reply = append(reply, 0xc0, 12, 0, byte(dns.TypeTXT), 0, 1, 0, 0, 0, 60)
		reply = binary.BigEndian.AppendUint16(reply, uint16(data))
		for text := data; text > 0; {
			l := min(text-1, 255)
			reply = append(reply, byte(l))
			reply = append(reply, strings.Repeat("x", l)...)
			text -= 1 + l
		}
		size -= head + data
	}
	binary.BigEndian.PutUint16(reply[6:], uint16(n))
	return reply
}

// An answer that fills a message goes to the client whole over TCP, with as much
// beside it as there is room for: TC would send it where it is already.
func TestAFullMessageIsNotTruncatedOverTCP(t *testing.T) {
	for _, left := range []int{0, 5, 11, 30, 200} {
		t.Run(fmt.Sprint(left), func(t *testing.T) {
			up := dnstest.StartRaw(t, func(query []byte, send func([]byte)) {
				reply := append([]byte(nil), query[:questionEnd(query)]...)
				reply[2], reply[3] = 0x83, 0x80 // TC
				copy(reply[6:], []byte{0, 0, 0, 0, 0, 0})
				send(reply)
			}, func(c net.Conn) {
				var size [2]byte
				for {
					if _, err := io.ReadFull(c, size[:]); err != nil {
						return
					}
					query := make([]byte, binary.BigEndian.Uint16(size[:]))
					if _, err := io.ReadFull(c, query); err != nil {
						return
					}
					reply := fullAnswer(query, left)
					c.Write(binary.BigEndian.AppendUint16(nil, uint16(len(reply))))
					c.Write(reply)
				}
			})
			s, _ := startServer(t, Options{}, &dnstest.Upstream{Addr: up})
			for _, change := range []func(*dns.Msg){
				func(m *dns.Msg) {},
				func(m *dns.Msg) {
					m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "0123456789abcdef"})
				},
				func(m *dns.Msg) { m.Extra = nil },
			} {
				r := ask(t, s, "tcp", "full.example.", dns.TypeTXT, change)
				if r.Truncated || r.Rcode != 0 || len(r.Answer) == 0 {
					t.Errorf("truncated %v, %s, %d records", r.Truncated, dns.RcodeToString[r.Rcode], len(r.Answer))
				}
			}
			if n := s.Stats().Truncated; n != 0 {
				t.Errorf("%d answers were counted as truncated", n)
			}
		})
	}
}
