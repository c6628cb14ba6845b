package resolver

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"telltale/resolver/dnstest"
	"telltale/resolver/upstream"
)

// A capture is what an upstream has seen of the packets that came to it.
type capture struct {
	mu      sync.Mutex
	packets []captured
}

type captured struct {
	from   netip.AddrPort
	packet []byte
}

// startCapture starts an upstream that keeps all packets that are not probes.
func startCapture(t *testing.T) (*capture, netip.AddrPort) {
	t.Helper()
	c := &capture{}
	udp, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	udp.SetReadBuffer(4 << 20)
	var reading sync.WaitGroup
	reading.Go(func() {
		for b := make([]byte, 4096); ; {
			n, from, err := udp.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			query := append([]byte(nil), b[:n]...)
			if strings.Contains(string(query), dnstest.ProbeLabel) || query[12] == 0 {
				udp.WriteToUDPAddrPort(dnstest.ReplyTo(query, dns.RcodeNameError), from)
				continue
			}
			c.mu.Lock()
			c.packets = append(c.packets, captured{from, query})
			c.mu.Unlock()
			udp.WriteToUDPAddrPort(dnstest.AnswerTo(query, "192.0.2.1"), from)
		}
	})
	t.Cleanup(func() { udp.Close(); reading.Wait() })
	return c, udp.LocalAddr().(*net.UDPAddr).AddrPort()
}

// The id and the options of every query that a client sends here.
const (
	clientID       = 0xbeef
	cookieOfClient = "c11e47c00c1e0001"
)

// talkativeQuery is a query that says as much of its client as it can.
func talkativeQuery(t *testing.T, name string) []byte {
	t.Helper()
	m := new(dns.Msg).SetQuestion(name, dns.TypeA)
	m.Id, m.AuthenticatedData = clientID, true
	m.SetEdns0(4096, false)
	opt := m.IsEdns0()
	opt.Option = append(opt.Option,
		&dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: 1, SourceNetmask: 24, Address: net.IPv4(198, 51, 100, 0)},
		&dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: cookieOfClient},
		&dns.EDNS0_NSID{Code: dns.EDNS0NSID},
		&dns.EDNS0_LOCAL{Code: 65073, Data: []byte{2, 0, 0, 0, 0, 9}}, // the MAC that dnsmasq adds
		&dns.EDNS0_LOCAL{Code: 65001, Data: []byte("living-room-tv")},
		&dns.EDNS0_PADDING{Padding: make([]byte, 77)},
	)
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// askTalkatively asks so many names from client's address, and waits for all answers.
// What gets lost is asked again.
func askTalkatively(t *testing.T, s *Server, client, prefix string, names int) {
	t.Helper()
	conn, err := net.DialUDP("udp", &net.UDPAddr{IP: net.ParseIP(client)}, net.UDPAddrFromAddrPort(s.Addrs()[0]))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	const together = 32
	b := make([]byte, 4096)
	for at := 0; at < names; at += together {
		open := map[string][]byte{}
		for i := at; i < min(at+together, names); i++ {
			name := fmt.Sprintf("%s%d.MiXed.CaSe.Example.", prefix, i)
			open[strings.ToLower(name)] = talkativeQuery(t, name)
		}
		for tries := 0; len(open) > 0; tries++ {
			if tries == 10 {
				t.Fatalf("%d queries have no answer", len(open))
			}
			for _, query := range open {
				conn.Write(query)
			}
			for conn.SetReadDeadline(time.Now().Add(3 * time.Second)); len(open) > 0; {
				n, err := conn.Read(b)
				if err != nil {
					break
				}
				var m dns.Msg
				if err := m.Unpack(b[:n]); err != nil || len(m.Answer) != 1 {
					t.Fatalf("reply %v, %v", &m, err)
				}
				delete(open, strings.ToLower(m.Question[0].Name))
			}
		}
	}
}

// Of 10,000 queries the ids and ports that an upstream sees cannot be guessed: ids are as
// those of a fair coin thrown sixteen times, and no port is used for long (RFC 5452, 9).
func TestIDsAndPortsOfTenThousandQueries(t *testing.T) {
	dnstest.CheckLeaks(t)
	seen, addr := startCapture(t)
	s, _ := startServer(t, Options{Upstreams: upstream.Options{Servers: []upstream.Server{{Addr: addr}}}})
	const draws = 10_000
	askTalkatively(t, s, "127.0.0.1", "n", draws)
	seen.mu.Lock()
	defer seen.mu.Unlock()
	n := len(seen.packets)
	if n < draws {
		t.Fatalf("captured %d packets of %d queries", n, draws)
	}
	ids, ports, steps := map[uint16]int{}, map[uint16]int{}, map[uint16]int{}
	var ones [16]int
	var last uint16
	for _, p := range seen.packets {
		id := binary.BigEndian.Uint16(p.packet)
		ids[id]++
		ports[p.from.Port()]++
		steps[id-last]++
		last = id
		for bit := range ones {
			ones[bit] += int(id >> bit & 1)
		}
	}
	// Expected are 65,536*(1-e^(-n/65,536)) different ids, 9,273 of 10,000, give or take 25.
	if len(ids) < n*90/100 {
		t.Errorf("%d different ids in %d queries", len(ids), n)
	}
	for bit, k := range ones { // a half, give or take 50
		if k < n*47/100 || k > n*53/100 {
			t.Errorf("bit %d of the id is set in %d of %d queries", bit, k, n)
		}
	}
	for what, counts := range map[string]map[uint16]int{"id": ids, "step from one id to the next": steps} {
		for value, k := range counts {
			if k > 12 { // 0.15 are expected
				t.Errorf("the %s %d is there %d times", what, value, k)
			}
		}
	}
	if len(ports) < draws/512 {
		t.Errorf("%d ports for %d queries: one serves at most 512", len(ports), n)
	}
	var or, and uint16 = 0, 0xffff
	const most = 512 + draws/100 // and what is on its way when it is given up
	var long []int
	for port, k := range ports {
		or, and = or|port, and&port
		if k > most {
			long = append(long, k)
		}
	}
	// Of 25 random ports two are the same in 1 of 200 runs, and two pairs are in 1 of 100,000.
	if len(long) > 1 || len(long) == 1 && long[0] > 2*most {
		t.Errorf("%d queries from one port", long)
	}
	// No bit is the same in all ports. Of 20 random ports one is in about 1 of 30,000 runs,
	// and there are more, as a port is given up after two seconds, too.
	if changing := bits.OnesCount16(or &^ and); len(ports) >= 20 && changing < 14 {
		t.Errorf("only %d bits of the port change in %d ports", changing, len(ports))
	}
	t.Logf("%d queries: %d ids, %d ports", n, len(ids), len(ports))
}

// Of a client an upstream sees the name and the type, and nothing else: what reaches it
// is octet for octet what any client's question becomes.
func TestNothingOfAClientReachesAnUpstream(t *testing.T) {
	dnstest.CheckLeaks(t)
	seen, addr := startCapture(t)
	s, _ := startServer(t, Options{Allowed: func(netip.Addr) bool { return true }, Upstreams: upstream.Options{Servers: []upstream.Server{{Addr: addr}}}})
	const names = 64
	askTalkatively(t, s, "127.0.0.9", "n", names)
	seen.mu.Lock()
	defer seen.mu.Unlock()
	same := 0
	for _, p := range seen.packets {
		if p.from.Addr() != netip.MustParseAddr("127.0.0.1") {
			t.Errorf("a query came from %v, want this machine's own address", p.from)
		}
		if binary.BigEndian.Uint16(p.packet) == clientID {
			same++
		}
		var m dns.Msg
		if err := m.Unpack(p.packet); err != nil {
			t.Fatal(err)
		}
		name := m.Question[0].Name
		if name != strings.ToLower(name) {
			t.Errorf("the client's letters reach the upstream: %s", name)
		}
		plain := new(dns.Msg).SetQuestion(name, dns.TypeA).SetEdns0(1232, false)
		plain.Id = m.Id
		want, err := plain.Pack()
		if err != nil {
			t.Fatal(err)
		}
		if string(p.packet) != string(want) {
			t.Errorf("sent\n%x\nwant what every client's question becomes\n%x", p.packet, want)
		}
	}
	if len(seen.packets) < names || same > 1 {
		t.Errorf("%d packets, %d of them with the client's id", len(seen.packets), same)
	}
}
