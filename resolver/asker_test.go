package resolver

import (
	"net"
	"net/netip"
	"testing"

	"telltale/dnswire"
)

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

// receive takes a reply, and reports whether it has the address asked for.
func (a *asker) receive() bool {
	n, err := a.conn.Read(a.buf)
	return err == nil && n > dnswire.HeaderLen && a.buf[3]&0xf == 0 && a.buf[7] == 1
}
