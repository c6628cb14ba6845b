package resolver

import (
	"net"
	"net/netip"
	"testing"

	"telltale/dnswire"
)

// startBareUpstream starts an upstream that costs as little as can be, so that
// what is counted and measured beside it is ours: it allocates nothing, and
// answers each question for an address with 192.0.2.1 and all others with
// NXDOMAIN.
func startBareUpstream(t testing.TB) *loopbackUpstream {
	t.Helper()
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	stopped := make(chan struct{})
	t.Cleanup(func() {
		conn.Close()
		<-stopped
	})
	record := []byte{0xc0, dnswire.HeaderLen, 0, 1, 0, 1, 0, 0, 0x0e, 0x10, 0, 4, 192, 0, 2, 1}
	go func() {
		defer close(stopped)
		packet := make([]byte, 2048)
		for {
			n, from, err := conn.ReadFromUDPAddrPort(packet)
			if err != nil {
				return
			}
			var q dnswire.Question
			if dnswire.ParseQuestion(packet[:n], &q) != nil {
				continue
			}
			end := dnswire.HeaderLen + len(q.Name.Wire()) + 4
			reply := packet[:end]
			reply[2], reply[3] = 0x81, 0x83 // QR, RD; RA, NXDOMAIN
			clear(reply[6:dnswire.HeaderLen])
			if q.Type == dnswire.TypeA {
				reply[3], reply[7] = 0x80, 1
				reply = append(reply, record...)
			}
			conn.WriteToUDPAddrPort(reply, from)
		}
	}()
	return &loopbackUpstream{addr: conn.LocalAddr().(*net.UDPAddr).AddrPort()}
}

// asker is a client that asks for names nobody has asked for before, as many at
// once as a batch holds.
type asker struct {
	conn   *net.UDPConn
	packet []byte
	asked  int
	buf    []byte
}

func newAsker(t testing.TB, to netip.AddrPort) *asker {
	t.Helper()
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &asker{conn: conn, packet: packetOf(t, "host00000000.site.example.", 1), buf: make([]byte, 2048)}
}

// ask sends the next question.
func (a *asker) ask() {
	digits := a.packet[dnswire.HeaderLen+1+len("host"):][:8]
	for i, n := 7, a.asked; i >= 0; i, n = i-1, n/10 {
		digits[i] = '0' + byte(n%10)
	}
	a.asked++
	a.conn.Write(a.packet)
}

// hear takes a reply, and reports whether it has the address asked for.
func (a *asker) hear() bool {
	n, err := a.conn.Read(a.buf)
	return err == nil && n > dnswire.HeaderLen && a.buf[3]&0xf == 0 && a.buf[7] == 1
}
