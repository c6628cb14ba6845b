package packets

import (
	"bytes"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// socketPair returns a bound socket with its buffers, and a client connected to it.
func socketPair(t testing.TB, address string) (fd int, m *Receiver, client *net.UDPConn) {
	t.Helper()
	at := netip.MustParseAddrPort(address)
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if at.Addr().IsUnspecified() {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_PKTINFO, 1); err != nil {
			t.Fatal(err)
		}
	}
	sa, err := Sockaddr(at)
	if err == nil {
		err = unix.Bind(fd, sa)
	}
	if err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	client, err = net.DialUDP("udp", nil, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: name.(*unix.SockaddrInet4).Port})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return fd, NewReceiver(false, at.Addr().IsUnspecified()), client
}

func TestOneUnreachableClientCostsNoOtherItsReply(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "0.0.0.0:0"} {
		for _, bad := range [][]int{{0}, {2}, {31}, {0, 1, 30, 31}, {5, 6, 7, 20}} {
			fd, m, client := socketPair(t, address)
			for i := range BatchSize {
				client.Write([]byte{byte(i), 1, 2, 3})
			}
			n, err := m.Receive(fd)
			if err != nil || n != BatchSize {
				t.Fatalf("received %d, %v", n, err)
			}
			var out []Reply
			for i := range n {
				if _, _, ok := m.Packet(i); !ok {
					t.Fatalf("packet %d is none", i)
				}
				out = append(out, Reply{Slot: i, Data: append([]byte("reply to"), byte(i))})
			}
			isBad := map[int]bool{}
			for _, i := range bad {
				m.names[i].Port = 0 // EINVAL
				isBad[i] = true
			}
			if sent, full := m.SendReplies(fd, out, address == "0.0.0.0:0"); sent != n-len(bad) || full {
				t.Errorf("%s without %v: %d sent, want %d", address, bad, sent, n-len(bad))
			}
			client.SetReadDeadline(time.Now().Add(10 * time.Second))
			buf := make([]byte, 64)
			for i := range n {
				if isBad[i] {
					continue
				}
				size, err := client.Read(buf)
				if want := append([]byte("reply to"), byte(i)); err != nil || !bytes.Equal(buf[:size], want) {
					t.Fatalf("%s without %v: %q, %v, want %q", address, bad, buf[:size], err, want)
				}
			}
		}
	}
}

func TestPacketsThatAreNone(t *testing.T) {
	fd, m, client := socketPair(t, "127.0.0.1:0")
	client.Write(nil)
	client.Write(make([]byte, MaxSize))
	client.Write(make([]byte, MaxSize+1))
	client.Write([]byte("from nowhere"))
	client.Write([]byte("a packet"))
	n, err := m.Receive(fd)
	if err != nil || n != 5 {
		t.Fatalf("received %d, %v", n, err)
	}
	m.names[3].Port = 0
	for i, want := range []bool{false, true, false, false, true} {
		packet, from, ok := m.Packet(i)
		if ok != want {
			t.Errorf("packet %d of %d octets: %v, want %v", i, len(packet), ok, want)
		}
		if ok && from != client.LocalAddr().(*net.UDPAddr).AddrPort() {
			t.Errorf("packet %d from %v", i, from)
		}
	}
}
