package listen

import (
	"bytes"
	"encoding/binary"
	"log/slog"
	"net"
	"net/netip"
	"testing"

	"telltale/resolver/dnstest"
	"telltale/resolver/packets"
)

func TestAnswersOwedAreBounded(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	st := newStream(newStreams(4, StreamTimes{}, new(counters)), c.(*net.TCPConn), netip.AddrPort{})
	reply := make([]byte, 60_000)
	for range streamInFlight { // and nobody writes
		st.Send(reply)
	}
	if got := st.owed.Load(); got > streamOwed+int64(len(reply))+2 {
		t.Errorf("%d octets are kept for one client, want about %d", got, streamOwed)
	}
	if len(st.answers) != streamInFlight {
		t.Errorf("%d slots come back, want %d", len(st.answers), streamInFlight)
	}
}

// FuzzStreamFraming cuts octets into messages as a stream does.
func FuzzStreamFraming(f *testing.F) {
	f.Add(dnstest.Framed([]byte("0123456789ab")))
	f.Add([]byte{0, 0, 0, 0})
	f.Add([]byte{0xff, 0xff, 1, 2})
	f.Add(append(dnstest.Framed(make([]byte, packets.MaxSize+1)), dnstest.Framed([]byte("second"))...))
	f.Fuzz(func(t *testing.T, octets []byte) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Skip(err)
		}
		defer l.Close()
		go func() {
			c, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				return
			}
			defer c.Close()
			c.Write(octets)
		}()
		c, err := l.Accept()
		if err != nil {
			t.Skip(err)
		}
		defer c.Close()
		st := newStream(newStreams(4, StreamTimes{}, new(counters)), c.(*net.TCPConn), netip.AddrPort{})
		buf := make([]byte, packets.MaxSize)
		for rest := octets; ; {
			packet, err := st.next(buf)
			want := -1
			if len(rest) >= 2 && len(rest)-2 >= int(binary.BigEndian.Uint16(rest)) {
				want = int(binary.BigEndian.Uint16(rest))
			}
			if (err == nil) != (want >= 0) {
				t.Fatalf("%v, with %d octets of %d", err, len(rest)-2, want)
			}
			if err != nil {
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
