package resolver

import (
	"math"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// sendFrom sends n packets to c from another address of this machine.
func sendFrom(t testing.TB, source, to string, n int) {
	t.Helper()
	conn, err := dialerFrom(source, "udp").Dial("udp", to)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for range n {
		conn.Write([]byte("a packet of more octets than a header has"))
	}
}

// received reads all that waits at c, and counts it by sender.
func received(t testing.TB, c *batchConn) map[string]int {
	t.Helper()
	c.patience(20 * time.Millisecond)
	by := map[string]int{}
	for {
		n, err := c.batch.receive(c.fd)
		if err == unix.EAGAIN {
			return by
		}
		if err != nil {
			t.Fatal(err)
		}
		for i := range n {
			_, from, _ := c.batch.packet(i)
			by[from.Addr().String()]++
		}
	}
}

func TestKernelThinsSomeAndLeavesOthers(t *testing.T) {
	c, client := socketPair(t, &Server{}, "127.0.0.1:0")
	to := client.RemoteAddr().String()
	thinned := []thinning{
		{netip.MustParseAddr("127.0.0.2"), 0},
		{netip.MustParseAddr("127.0.0.3"), .5},
		{netip.MustParseAddr("2001:db8::2"), 0}, // none of this socket's
		{netip.MustParseAddr("127.0.0.4"), 1},
	}
	for i := range maxThinned - len(thinned) { // as many as there may be
		thinned = append(thinned, thinning{netip.AddrFrom4([4]byte{127, 0, 1, byte(i)}), 0})
	}
	c.thin(thinned, 128)
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
	if b := c.backlog(); b.drops < 400 {
		t.Errorf("the kernel counted %d dropped", b.drops)
	}
	c.thin(nil, 128)
	c.thin(nil, 128)
	sendFrom(t, "127.0.0.2", to, 10)
	if got := received(t, c)["127.0.0.2"]; got != 10 {
		t.Errorf("%d of 10 came through when the thinning was over", got)
	}
}

func TestKernelThinsByPrefixOfIPv6(t *testing.T) {
	c, client := socketPair(t, &Server{}, "[::1]:0")
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
		c.thin([]thinning{{netip.MustParseAddr(p.client), 0}, {netip.MustParseAddr("0.0.0.1"), 0}}, p.bits)
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
	var noted []string
	s, err := New(Options{Report: func(kind, subject, detail string) { noted = append(noted, kind+" "+subject+" "+detail) }})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	c, client := socketPair(t, s, "127.0.0.1:0")
	if b := c.backlog(); b.room == math.MaxUint32 {
		t.Skip("this kernel does not say what waits at a socket")
	}
	c.setRoom(smallRoom)
	room := c.backlog().room
	if room > smallRoom {
		t.Errorf("a room of %d octets, want %d", room, smallRoom)
	}
	sent := 2 * smallRoom / 768
	for range sent {
		client.Write([]byte("no query"))
	}
	r := s.newReader(c)
	read := 0
	for b := c.backlog(); b.used > 0; b = c.backlog() {
		n, err := c.batch.receive(c.fd)
		if err != nil {
			t.Fatal(err)
		}
		read += n
		r.batch(n)
	}
	if got := s.Stats(); int(got.Unread) != sent-read || read == sent || got.Unread == 0 {
		t.Errorf("%d read of %d, counted %d dropped unread", read, sent, got.Unread)
	}
	r.noteOverload()
	if len(noted) != 1 || !strings.HasPrefix(noted[0], "overload  ") {
		t.Errorf("noted %q", noted)
	}
}

// TestReaderEndsItsTurns has a reader go through an overload with a clock of
// its own, and come back to rest.
func TestReaderEndsItsTurns(t *testing.T) {
	now := time.Unix(1e9, 0)
	s, err := New(Options{Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	c, client := socketPair(t, s, "127.0.0.1:0")
	if b := c.backlog(); b.room == math.MaxUint32 {
		t.Skip("this kernel does not say what waits at a socket")
	}
	r := s.newReader(c)
	read := func() {
		n, _ := c.batch.receive(c.fd)
		r.batch(n)
	}
	c.setRoom(smallRoom)
	for range 2 * smallRoom / 768 {
		client.Write([]byte("no query"))
	}
	for range lookEvery {
		read()
	}
	now = now.Add(turnTime)
	read() // few batches in a turn: a slow machine
	if got := c.backlog().room; !r.load.active || got != smallRoom {
		t.Errorf("active %v, room %d, want the least there is", r.load.active, got)
	}
	for c.backlog().used > 0 {
		read()
	}
	for range 3 {
		if r.load.active { // else it would wait without end
			now = now.Add(spellTime)
			read()
		}
	}
	if r.load.active || c.backlog().used != 0 {
		t.Error("the overload has no end")
	}
	wait, err := unix.GetsockoptTimeval(c.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO)
	if err != nil || *wait != (unix.Timeval{}) {
		t.Errorf("it still waits %v, %v", wait, err)
	}
}

func TestAFullBatchCostsNoAllocation(t *testing.T) {
	s, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	c, _ := socketPair(t, s, "127.0.0.1:0")
	r := s.newReader(c)
	for i := range r.queries {
		r.queries[i].client = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), 53)
	}
	r.now = time.Now()
	if n := testing.AllocsPerRun(1000, func() { r.weigh(batchSize) }); n != 0 {
		t.Errorf("at rest: %v allocations", n)
	}
	r.load.look(backlog{used: 1, room: 1}, r.now)
	if n := testing.AllocsPerRun(1000, func() { r.weigh(batchSize) }); n != 0 {
		t.Errorf("in an overload: %v allocations", n)
	}
}

func BenchmarkWeigh(b *testing.B) {
	s, err := New(Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	c, _, err := bindUDP(netip.MustParseAddrPort("127.0.0.1:0"), false)
	if err != nil {
		b.Fatal(err)
	}
	defer c.close()
	c.srv = s
	for name, active := range map[string]bool{"AtRest": false, "Overload": true} {
		b.Run(name, func(b *testing.B) {
			r := s.newReader(c)
			for i := range r.queries {
				r.queries[i].client = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), 53)
			}
			r.now = time.Now()
			if active {
				r.load.look(backlog{used: 1, room: 1}, r.now)
			}
			for b.Loop() {
				r.weigh(batchSize)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/batchSize, "ns/query")
		})
	}
}
