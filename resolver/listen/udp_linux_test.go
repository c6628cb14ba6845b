package listen

import (
	"bytes"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"telltale/resolver/overload"
	"telltale/resolver/packets"
)

// socketPair returns a bound UDPConn and a client connected to it.
func socketPair(t testing.TB, address string) (*UDPConn, *net.UDPConn) {
	t.Helper()
	c, bound, err := BindUDP(netip.MustParseAddrPort(address), false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	to := bound
	if to.Addr().IsUnspecified() {
		to = netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), to.Port())
	}
	client, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return c, client
}

func TestPortErrorsSayTheWayOut(t *testing.T) {
	at := netip.MustParseAddrPort("0.0.0.0:53")
	for _, test := range []struct {
		err  PortError
		want []string
	}{
		{PortError{Addr: at, Err: syscall.EACCES}, []string{"0.0.0.0:53", "CAP_NET_BIND_SERVICE", "ip_unprivileged_port_start", "under listen in the settings"}},
		{PortError{Addr: at, Err: syscall.EADDRINUSE, Holder: "dnsmasq (process 812)"}, []string{"0.0.0.0:53", "held by dnsmasq (process 812)"}},
		{PortError{Addr: at, Err: syscall.EADDRINUSE, Holder: "systemd-resolve (process 99)"}, []string{"DNSStubListener=no", "listen.dns"}},
		{PortError{Addr: at, Err: syscall.EADDRNOTAVAIL}, []string{"0.0.0.0:53", "cannot assign"}},
	} {
		if held := test.err.Holder; held != "" && !strings.HasPrefix(held, "systemd") && strings.Contains(test.err.Error(), "systemd-resolved") {
			t.Errorf("%q blames systemd-resolved", test.err.Error())
		}
		for _, want := range test.want {
			if got := test.err.Error(); !bytes.Contains([]byte(got), []byte(want)) {
				t.Errorf("%q does not say %q", got, want)
			}
		}
	}
}

// sendFrom sends n packets to c from another address of this machine.
func sendFrom(t testing.TB, source, to string, n int) {
	t.Helper()
	conn, err := (&net.Dialer{LocalAddr: &net.UDPAddr{IP: net.ParseIP(source)}}).Dial("udp", to)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for range n {
		conn.Write([]byte("a packet of more octets than a header has"))
	}
}

// received reads all that waits at c, and counts it by sender.
func received(t testing.TB, c *UDPConn) map[string]int {
	t.Helper()
	c.SetTimeout(20 * time.Millisecond)
	by := map[string]int{}
	for {
		n, err := c.Receive()
		if err == unix.EAGAIN {
			return by
		}
		if err == unix.EINTR { // a signal: with a time-out, the call is not taken up again
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		for i := range n {
			_, from, _ := c.batch.Packet(i)
			by[from.Addr().String()]++
		}
	}
}

func TestKernelLimitsSomeAndLeavesOthers(t *testing.T) {
	c, client := socketPair(t, "127.0.0.1:0")
	to := client.RemoteAddr().String()
	limits := []overload.RateLimit{
		{Client: netip.MustParseAddr("127.0.0.2"), Pass: 0},
		{Client: netip.MustParseAddr("127.0.0.3"), Pass: .5},
		{Client: netip.MustParseAddr("2001:db8::2"), Pass: 0}, // none of this socket's
		{Client: netip.MustParseAddr("127.0.0.4"), Pass: 1},
	}
	for i := range 16 - len(limits) { // as many as there may be
		limits = append(limits, overload.RateLimit{Client: netip.AddrFrom4([4]byte{127, 0, 1, byte(i)}), Pass: 0})
	}
	c.LimitRates(limits, 128)
	for _, from := range []string{"127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5", "127.0.1.11"} {
		sendFrom(t, from, to, 200)
	}
	got := received(t, c)
	if half := got["127.0.0.3"]; half < 50 || half > 150 {
		t.Errorf("%d of 200 came through a half", half)
	}
	delete(got, "127.0.0.3")
	if len(got) != 2 || got["127.0.0.4"] != 200 || got["127.0.0.5"] != 200 {
		t.Errorf("came through: %v", got)
	}
	if b := c.Backlog(); b.Drops < 400 {
		t.Errorf("the kernel counted %d dropped", b.Drops)
	}
	c.LimitRates(nil, 128)
	c.LimitRates(nil, 128)
	sendFrom(t, "127.0.0.2", to, 10)
	if got := received(t, c)["127.0.0.2"]; got != 10 {
		t.Errorf("%d of 10 came through when the limit was over", got)
	}
}

func TestKernelLimitsByPrefixOfIPv6(t *testing.T) {
	c, client := socketPair(t, "[::1]:0")
	for _, p := range []struct {
		client string
		bits   int
		want   int
	}{
		{"::1", 128, 0},
		{"::2", 128, 10},
		{"::", 64, 0},
		{"::", 127, 0},
		{"::2", 127, 10},
		{"::", 56, 0},
		{"0:0:0:1::", 64, 10},
		{"0:0:0:100::", 56, 10},
		{"100::", 8, 10},
	} {
		c.LimitRates([]overload.RateLimit{{Client: netip.MustParseAddr(p.client), Pass: 0}, {Client: netip.MustParseAddr("0.0.0.1"), Pass: 0}}, p.bits)
		for range 10 {
			client.Write([]byte("a packet"))
		}
		if got := received(t, c)["::1"]; got != p.want {
			t.Errorf("%d of 10 came through where %s/%d is shut out, want %d", got, p.client, p.bits, p.want)
		}
	}
}

// TestWhatTheKernelDropsIsCounted lets a socket overflow, and a reader find out.
func TestWhatTheKernelDropsIsCounted(t *testing.T) {
	var reported []string
	l := &Listeners{options: Options{
		ClientPrefix: 128, ReportOverload: func(client, detail string) { reported = append(reported, client+" "+detail) },
	}}
	c, client := socketPair(t, "127.0.0.1:0")
	if b := c.Backlog(); b.Buffer == overload.UnknownBuffer {
		t.Skip("this kernel does not say what waits at a socket")
	}
	c.SetReceiveBuffer(minReceiveBuffer)
	if buffer := c.Backlog().Buffer; buffer > minReceiveBuffer {
		t.Errorf("a buffer of %d octets, want %d", buffer, minReceiveBuffer)
	}
	sent := 2 * minReceiveBuffer / 768
	for range sent {
		client.Write([]byte("no query"))
	}
	m := l.newMonitor(c)
	read := 0
	for b := c.Backlog(); b.Used > 0; b = c.Backlog() {
		n, err := c.Receive()
		if err != nil {
			t.Fatal(err)
		}
		read += n
		m.Account(c, n, n == packets.BatchSize, time.Now())
	}
	m.Close(time.Now())
	if got := l.stats.unread.Load(); int(got) != sent-read || read == sent || got == 0 {
		t.Errorf("%d read of %d, counted %d dropped unread", read, sent, got)
	}
	if len(reported) != 1 || !strings.HasPrefix(reported[0], " ") {
		t.Errorf("reported %q", reported)
	}
}

const minReceiveBuffer = 2 * 212_992 // of a socket, octets: Linux's own default

// TestAnOverloadEndsAndTheSocketIsAsBefore has a reader go through an overload
// with a clock of its own, and come back to rest.
func TestAnOverloadEndsAndTheSocketIsAsBefore(t *testing.T) {
	now := time.Unix(1e9, 0)
	l := &Listeners{options: Options{ClientPrefix: 128}}
	c, client := socketPair(t, "127.0.0.1:0")
	if b := c.Backlog(); b.Buffer == overload.UnknownBuffer {
		t.Skip("this kernel does not say what waits at a socket")
	}
	m := l.newMonitor(c)
	read := func() {
		n, _ := c.Receive()
		m.Account(c, n, n == packets.BatchSize, now)
	}
	timeout := func() unix.Timeval {
		wait, err := unix.GetsockoptTimeval(c.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO)
		if err != nil {
			t.Fatal(err)
		}
		return *wait
	}
	c.SetReceiveBuffer(minReceiveBuffer)
	for range 2 * minReceiveBuffer / 768 {
		client.Write([]byte("no query"))
	}
	for range 8 { // the socket is observed once in so many full batches
		read()
	}
	if timeout() == (unix.Timeval{}) {
		t.Fatal("the overload is not noticed")
	}
	now = now.Add(300 * time.Millisecond)
	read() // few batches in an interval: a slow machine
	if got := c.Backlog().Buffer; got != minReceiveBuffer {
		t.Errorf("room %d, want the least there is", got)
	}
	for c.Backlog().Used > 0 {
		read()
	}
	for range 3 {
		if timeout() != (unix.Timeval{}) { // else it would wait without end
			now = now.Add(10 * time.Second)
			read()
		}
	}
	if timeout() != (unix.Timeval{}) || c.Backlog().Used != 0 {
		t.Error("the overload has no end")
	}
}

func TestAFullBatchCostsNoAllocation(t *testing.T) {
	l := &Listeners{options: Options{ClientPrefix: 128}}
	c, client := socketPair(t, "127.0.0.1:0")
	for range packets.BatchSize {
		client.Write([]byte("no query"))
	}
	if n, err := c.Receive(); n != packets.BatchSize || err != nil {
		t.Fatal(n, err)
	}
	m, now := l.newMonitor(c), time.Now()
	if n := testing.AllocsPerRun(1000, func() { m.Account(c, packets.BatchSize, true, now) }); n != 0 {
		t.Errorf("at rest: %v allocations", n)
	}
}

func BenchmarkAccount(b *testing.B) {
	l := &Listeners{options: Options{ClientPrefix: 128}}
	c, client := socketPair(b, "127.0.0.1:0")
	for range packets.BatchSize {
		client.Write([]byte("no query"))
	}
	if n, err := c.Receive(); n != packets.BatchSize || err != nil {
		b.Fatal(n, err)
	}
	m, now := l.newMonitor(c), time.Now()
	for b.Loop() {
		m.Account(c, packets.BatchSize, true, now)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/packets.BatchSize, "ns/query")
}

func TestReadersHaveASocketEach(t *testing.T) {
	for _, readers := range []int{1, 4} {
		l, err := Open(Options{Addrs: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}, Readers: readers, Streams: 4})
		if err != nil {
			t.Fatal(err)
		}
		if got := len(l.all[0].udp); got != readers {
			t.Errorf("%d sockets, want %d", got, readers)
		}
		l.Close()
		for _, c := range l.all[0].udp {
			if c.fd != -1 {
				t.Error("a socket is still open")
			}
		}
	}
}
