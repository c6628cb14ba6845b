package listen

import (
	"bytes"
	"encoding/binary"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"telltale/resolver/dnstest"
	"telltale/resolver/packets"
)

// newTestStream returns a stream whose client is the other end.
func newTestStream(t testing.TB) (*Stream, net.Conn) {
	ours, theirs := net.Pipe()
	t.Cleanup(func() { ours.Close(); theirs.Close() })
	return newStream(newStreams(4, StreamTimes{}, new(counters)), ours, Arrival{Transport: TCP, Idle: time.Minute}), theirs
}

func TestAnswersOwedAreBounded(t *testing.T) {
	st, _ := newTestStream(t)
	st.hold() // and nobody writes
	reply := make([]byte, 60_000)
	for range streamInFlight {
		st.inFlight.Add(1)
		st.Send(reply)
	}
	if got := st.owed.Load(); got > streamOwed+int64(len(reply))+2 {
		t.Errorf("%d octets are kept for one client, want about %d", got, streamOwed)
	}
	if got := st.streams.stats.streamsCut.Load(); got != 1 {
		t.Errorf("%d clients cut off, want 1", got)
	}
	st.write()
	if st.owed.Load() != 0 || st.inFlight.Load() != 0 {
		t.Errorf("%d octets and %d answers are still owed", st.owed.Load(), st.inFlight.Load())
	}
}

// echo answers each message with itself.
type echo struct{ to Correspondent }

func (e echo) ServeMessage(packet []byte) bool { e.to.Send(packet); return true }

// Queries that come in one call are answered in one: many more than may be in flight,
// and much more than may be owed.
func TestQueriesThatComeTogetherAreAnsweredTogether(t *testing.T) {
	for name, c := range map[string]struct{ queries, size, writes int }{
		"small": {8, 40, 1}, "many": {5 * streamInFlight, 40, 16}, "large": {300, 4000, 300},
	} {
		st, client := newTestStream(t)
		counted := &countedConn{Conn: st.conn}
		st.conn, st.handler = counted, echo{st}
		sent := bytes.Repeat(dnstest.Framed(make([]byte, c.size)), c.queries)
		go client.Write(sent)
		go func() { st.read(); st.finish() }()
		got := make([]byte, len(sent))
		if _, err := io.ReadFull(client, got); err != nil || !bytes.Equal(got, sent) {
			t.Errorf("%s: %v", name, err)
		}
		client.Close()
		if n := int(counted.writes.Load()); n > c.writes {
			t.Errorf("%s: %d calls to write, want at most %d", name, n, c.writes)
		}
	}
}

type countedConn struct {
	net.Conn
	writes atomic.Int32
}

func (c *countedConn) Write(b []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(b)
}

// A panickingConn panics once its client has said something: in what reads it, or in what
// writes to it.
type panickingConn struct {
	net.Conn
	reads bool
}

func (c *panickingConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.reads && n > 0 {
		panic("of the test, while reading")
	}
	return n, err
}

func (c *panickingConn) Write(b []byte) (int, error) {
	if !c.reads {
		panic("of the test, while writing")
	}
	return c.Conn.Write(b)
}

// recovers counts panics, as a server does.
func recovers(panics *atomic.Int32) func(func()) bool {
	return func(f func()) (ok bool) {
		defer func() {
			if recover() != nil {
				panics.Add(1)
			}
		}()
		f()
		return true
	}
}

// A panic of what reads or writes a connection ends that, and nothing else.
func TestAPanicEndsOneConnection(t *testing.T) {
	for _, reads := range []bool{true, false} {
		for _, later := range []bool{true, false} {
			var panics atomic.Int32
			var answering sync.WaitGroup
			st, client := newTestStream(t)
			st.streams.catchPanic = recovers(&panics)
			st.streams.admit(&st.place)
			st.conn, st.handler = &panickingConn{st.conn, reads}, echo{st}
			if later {
				st.handler = laterEcho{st, &answering}
			}
			ended := make(chan struct{})
			go func() { defer close(ended); st.guard(st.read); st.finish() }()
			client.SetDeadline(time.Now().Add(time.Minute))
			client.Write(dnstest.Framed(make([]byte, 40)))
			if n, err := client.Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("reads %v, later %v: %d octets, %v", reads, later, n, err)
			}
			<-ended
			answering.Wait()
			if panics.Load() == 0 || st.streams.count() != 0 {
				t.Errorf("reads %v, later %v: %d panics, %d connections left", reads, later, panics.Load(), st.streams.count())
			}
		}
	}
}

// laterEcho answers each message with itself, from another goroutine.
type laterEcho struct {
	to        Correspondent
	answering *sync.WaitGroup
}

func (e laterEcho) ServeMessage(packet []byte) bool {
	reply := bytes.Clone(packet)
	e.answering.Go(func() { e.to.Send(reply) })
	return true
}

// FuzzFraming cuts octets that come in pieces into messages, and compares with how
// they are cut where all are there.
func FuzzFraming(f *testing.F) {
	f.Add(dnstest.Framed([]byte("0123456789ab")), []byte{1})
	f.Add([]byte{0, 0, 0, 0}, []byte{3})
	f.Add([]byte{0xff, 0xff, 1, 2}, []byte{})
	f.Add(append(dnstest.Framed(make([]byte, packets.MaxSize+1)), dnstest.Framed([]byte("second"))...), []byte{1, 200})
	f.Add(append(dnstest.Framed(make([]byte, packets.MaxSize)), dnstest.Framed(make([]byte, 509))...), []byte{255, 0})
	f.Add(bytes.Repeat(dnstest.Framed(make([]byte, 30)), 300), []byte{255})
	f.Fuzz(func(t *testing.T, octets, pieces []byte) {
		var fr framing
		at, piece := 0, 0
		for rest := octets; ; {
			packet, ok := fr.next()
			for !ok && at < len(octets) {
				n := len(octets)
				if len(pieces) > 0 {
					n = 1 + int(pieces[piece%len(pieces)])*16
					piece++
				}
				if len(fr.space()) == 0 {
					t.Fatalf("no space after %d octets", at)
				}
				if !fr.partial() {
					fr.release()
				}
				n = copy(fr.space()[:min(n, len(fr.space()))], octets[at:])
				at += n
				fr.add(n)
				packet, ok = fr.next()
			}
			want := -1
			if len(rest) >= 2 && len(rest)-2 >= int(binary.BigEndian.Uint16(rest)) {
				want = int(binary.BigEndian.Uint16(rest))
			}
			if ok != (want >= 0) {
				t.Fatalf("a message: %v, with %d octets of %d", ok, len(rest)-2, want)
			}
			if !ok {
				if fr.partial() != (len(rest) > 0) {
					t.Fatalf("partial: %v, with %d octets left", fr.partial(), len(rest))
				}
				return
			}
			whole := rest[2 : 2+want]
			rest = rest[2+want:]
			if want > packets.MaxSize {
				whole = whole[:12]
			}
			if string(packet) != string(whole) {
				t.Fatalf("%x, want %x", packet, whole)
			}
		}
	})
}

func TestConnectionsByIPv6AreCountedByNetwork(t *testing.T) {
	for prefix, want := range map[int]string{128: "2001:db8:0:1::", 64: "2001:db8:0:1::", 56: "2001:db8::"} {
		if got := accountOf(netip.MustParseAddr("2001:db8:0:1:2:3:4:5"), prefix); got.String() != want {
			t.Errorf("by %d bits: %v, want %s", prefix, got, want)
		}
	}
	if got := accountOf(netip.MustParseAddr("192.0.2.7"), 128); got.String() != "192.0.2.7" {
		t.Errorf("IPv4: %v", got)
	}
}

func TestConnectionsHeedTheDescriptorLimit(t *testing.T) {
	var said bytes.Buffer
	limit := descriptorLimit()
	for _, streams := range []int{1, limit} {
		said.Reset()
		l, err := Open(Options{Streams: streams, Logger: slog.New(slog.NewTextHandler(&said, nil))})
		if err != nil {
			t.Fatal(err)
		}
		if want := min(streams, limit/2); l.streams.max != want {
			t.Errorf("%d set, %d files: %d connections, want %d", streams, limit, l.streams.max, want)
		}
		if told := said.Len() > 0; told != (streams > limit/2) {
			t.Errorf("%d set: said %q", streams, said.String())
		}
		l.Close()
	}
}
