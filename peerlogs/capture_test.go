package peerlogs

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"telltale/dnstap"
	"telltale/dnswire"
)

// captured is when the packets of tests were captured.
var captured = time.Date(2026, 11, 19, 9, 0, 0, 0, time.UTC)

var (
	clientV4 = netip.MustParseAddrPort("192.0.2.7:40000")
	serverV4 = netip.MustParseAddrPort("192.0.2.1:53")
	clientV6 = netip.MustParseAddrPort("[2001:db8::7]:40000")
	serverV6 = netip.MustParseAddrPort("[2001:db8::1]:53")
)

// dnsMessage is a query for A of a name, or the reply to it.
func dnsMessage(id uint16, name string, reply bool) []byte {
	b := binary.BigEndian.AppendUint16(nil, id)
	b = append(b, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0)
	if reply {
		b[2] |= 0x80
	}
	n, err := dnswire.ParseName(name)
	if err != nil {
		panic(err)
	}
	b = append(b, n.Wire()...)
	return append(b, 0, 1, 0, 1)
}

func udpPacket(src, dst netip.AddrPort, b []byte) []byte {
	u := binary.BigEndian.AppendUint16(nil, src.Port())
	u = binary.BigEndian.AppendUint16(u, dst.Port())
	u = binary.BigEndian.AppendUint16(u, uint16(8+len(b)))
	return ipPacket(src, dst, protoUDP, append(append(u, 0, 0), b...))
}

func tcpPacket(src, dst netip.AddrPort, seq uint32, flags byte, b []byte) []byte {
	t := binary.BigEndian.AppendUint16(nil, src.Port())
	t = binary.BigEndian.AppendUint16(t, dst.Port())
	t = binary.BigEndian.AppendUint32(t, seq)
	t = append(t, 0, 0, 0, 0, 5<<4, flags, 0, 0, 0, 0, 0, 0)
	return ipPacket(src, dst, protoTCP, append(t, b...))
}

func ipPacket(src, dst netip.AddrPort, proto byte, b []byte) []byte {
	if src.Addr().Is4() {
		h := []byte{0x45, 0, 0, 0, 0, 0, 0, 0, 64, proto, 0, 0}
		binary.BigEndian.PutUint16(h[2:], uint16(20+len(b)))
		h = append(append(h, src.Addr().AsSlice()...), dst.Addr().AsSlice()...)
		return append(h, b...)
	}
	h := []byte{0x60, 0, 0, 0, 0, 0, proto, 64}
	binary.BigEndian.PutUint16(h[4:], uint16(len(b)))
	h = append(append(h, src.Addr().AsSlice()...), dst.Addr().AsSlice()...)
	return append(h, b...)
}

// with puts heads before a packet.
func with(b []byte, heads ...string) []byte { return append([]byte(strings.Join(heads, "")), b...) }

const macs = "\x02\x00\x5e\x00\x53\x01\x02\x00\x5e\x00\x53\x02"

// pcapOf writes packets into a pcap file, a second apart.
func pcapOf(link uint32, packets ...[]byte) []byte {
	b := binary.LittleEndian.AppendUint32(nil, pcapMicro)
	b = append(b, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0)
	b = binary.LittleEndian.AppendUint32(b, link)
	for i, p := range packets {
		b = appendRecord(b, captured.Add(time.Duration(i)*time.Second), p, len(p))
	}
	return b
}

func appendRecord(b []byte, at time.Time, p []byte, all int) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(at.Unix()))
	b = binary.LittleEndian.AppendUint32(b, uint32(at.Nanosecond()/1000))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(p)))
	b = binary.LittleEndian.AppendUint32(b, uint32(all))
	return append(b, p...)
}

// lookupsOf reads a capture to its end.
func lookupsOf(t testing.TB, text []byte) []string {
	t.Helper()
	return readFile(t, write(t, "capture", text), options(""))
}

// names returns the names of what was read, notes and bad packets as they are.
func names(lines []string) (all []string) {
	for _, l := range lines[1:] {
		if _, rest, ok := strings.Cut(l, ` name="`); ok {
			l = rest[:strings.IndexByte(rest, '"')]
		}
		all = append(all, l)
	}
	return all
}

// A query is found below every head that a packet may have.
func TestHeadsOfPackets(t *testing.T) {
	v4, v6 := udpPacket(clientV4, serverV4, dnsMessage(7, "shop.example", false)), udpPacket(clientV6, serverV6, dnsMessage(7, "shop.example", false))
	extended := func(heads string, proto byte) []byte {
		b := bytes.Clone(v6[:40])
		b[6] = proto
		binary.BigEndian.PutUint16(b[4:], uint16(len(heads)+len(v6)-40))
		return slices.Concat(b, []byte(heads), v6[40:])
	}
	options := bytes.Clone(v4)
	options = slices.Concat(options[:20], []byte{1, 1, 1, 0}, options[20:])
	options[0], options[3] = 0x46, options[3]+4
	unsized := bytes.Clone(v4)
	unsized[2], unsized[3] = 0, 0 // to be filled in by the network card
	for name, c := range map[string]struct {
		link   uint32
		packet []byte
	}{
		"Ethernet":                       {linkEthernet, with(v4, macs, "\x08\x00")},
		"Ethernet, IPv6":                 {linkEthernet, with(v6, macs, "\x86\xdd")},
		"Ethernet that is filled up":     {linkEthernet, append(with(v4, macs, "\x08\x00"), 1, 2, 3, 4)},
		"a VLAN":                         {linkEthernet, with(v4, macs, "\x81\x00\x00\x05\x08\x00")},
		"a VLAN in a VLAN":               {linkEthernet, with(v6, macs, "\x88\xa8\x00\x05\x81\x00\x00\x06\x86\xdd")},
		"PPPoE":                          {linkEthernet, with(v4, macs, "\x88\x64\x11\x00\x00\x01\x00\x50\x00\x21")},
		"BSD loopback":                   {linkNull, with(v4, "\x02\x00\x00\x00")},
		"OpenBSD loopback":               {linkLoop, with(v6, "\x00\x00\x00\x18")},
		"raw":                            {linkRaw, v4},
		"raw, IPv6":                      {linkRaw, v6},
		"raw, as some systems number it": {linkRaw12, v4},
		"IPv4":                           {linkIPv4, v4},
		"IPv6":                           {linkIPv6, v6},
		"cooked":                         {linkSLL, with(v4, "\x00\x04\x00\x01\x00\x06\x02\x00\x5e\x00\x53\x01\x00\x00\x08\x00")},
		"cooked with a VLAN":             {linkSLL, with(v4, "\x00\x04\x00\x01\x00\x06\x02\x00\x5e\x00\x53\x01\x00\x00\x81\x00\x00\x05\x08\x00")},
		"cooked, version 2":              {linkSLL2, with(v6, "\x86\xdd\x00\x00\x00\x00\x00\x02\x00\x01\x04\x06\x02\x00\x5e\x00\x53\x01\x00\x00")},
		"options of IPv4":                {linkRaw, options},
		"no size":                        {linkRaw, unsized},
		"options of IPv6":                {linkRaw, extended("\x3c\x00\x00\x00\x00\x00\x00\x00\x2b\x00\x00\x00\x00\x00\x00\x00\x11\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", protoHopByHop)},
		"the first fragment of IPv6":     {linkRaw, extended("\x11\x00\x00\x01\x00\x00\x00\x01", protoFragment)},
		"authentication":                 {linkRaw, extended("\x11\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", protoAuthentication)},
	} {
		if got := names(lookupsOf(t, pcapOf(c.link, c.packet))); !slices.Equal(got, []string{"shop.example"}) {
			t.Errorf("%s: got %q", name, got)
		}
	}
}

// What is no lookup is left out and told, and what is behind it is read.
func TestWhatIsLeftOutOfACapture(t *testing.T) {
	good := with(udpPacket(clientV4, serverV4, dnsMessage(9, "good.example", false)), macs, "\x08\x00")
	query := dnsMessage(7, "shop.example", false)
	ether := func(b []byte) []byte { return with(b, macs, "\x08\x00") }
	later := ether(udpPacket(clientV4, serverV4, query))
	later[20], later[21] = 0x20, 0x10
	other := bytes.Clone(query)
	other[2] |= 0x28 // UPDATE
	chaos := bytes.Clone(query)
	chaos[len(chaos)-1] = 3
	two := bytes.Clone(query)
	two[5] = 2
	from5353 := netip.MustParseAddrPort("192.0.2.7:5353")
	for name, c := range map[string]struct {
		packet []byte
		want   string
	}{
		"a later fragment":                     {later, "note: 1 fragments of packets were left out"},
		"an UPDATE":                            {ether(udpPacket(clientV4, serverV4, other)), "note: 1 DNS messages on port 53 were left out"},
		"a query to a client":                  {ether(udpPacket(serverV4, clientV4, query)), "note: 1 DNS messages on port 53 were left out"},
		"a resolver's own, without an address": {ether(udpPacket(netip.MustParseAddrPort("0.0.0.0:40000"), serverV4, query)), "note: 1 DNS messages were left out whose client has no address"},
		"class CHAOS":                          {ether(udpPacket(clientV4, serverV4, chaos)), "bad: packet 1: class 3 is not the Internet's"},
		"two questions":                        {ether(udpPacket(clientV4, serverV4, two)), "bad: packet 1: the DNS message has not one question"},
		"a short one":                          {ether(udpPacket(clientV4, serverV4, query[:7])), "bad: packet 1: it has no DNS message"},
		"half a question":                      {ether(udpPacket(clientV4, serverV4, query[:20])), "bad: packet 1: the DNS message is damaged"},
		"a segment of a connection":            {ether(tcpPacket(clientV4, serverV4, 99, 0x18, query)), "note: 1 segments were left out of connections over TCP whose beginning is not in the capture"},
		"another port":                         {ether(udpPacket(clientV4, from5353, query)), ""},
		"ARP":                                  {with(make([]byte, 28), macs, "\x08\x06"), ""},
		"nothing":                              {nil, ""},
		"half an address":                      {[]byte(macs[:9]), ""},
		"half a head of IP":                    {ether(udpPacket(clientV4, serverV4, query))[:30], ""},
		"half a head of UDP":                   {ether(udpPacket(clientV4, serverV4, query))[:38], ""},
		"a head of TCP that is too long":       {ether(tcpPacket(clientV4, serverV4, 1, 0x18, nil))[:50], ""},
	} {
		text := pcapOf(linkEthernet, c.packet, good)
		got := names(lookupsOf(t, text))
		want := 1
		if c.want != "" {
			want = 2
		}
		if len(got) != want || !slices.Contains(got, "good.example") || c.want != "" && !slices.ContainsFunc(got, func(s string) bool { return strings.HasPrefix(s, c.want) }) {
			t.Errorf("%s: got %q, want %q beside good.example", name, got, c.want)
		}
	}
	if got := names(lookupsOf(t, pcapOf(105, good))); len(got) != 0 {
		t.Errorf("got %q of a link type that is not read", got)
	}
	if got := lookupsOf(t, pcapOf(105, good)); !strings.Contains(got[0], "of link type 105, which is not read here: Ethernet") {
		t.Errorf("got %q", got)
	}
	short := appendRecord(pcapOf(linkEthernet), captured, good[:14+20+8+20], len(good))
	if got := names(lookupsOf(t, short)); len(got) != 1 || !strings.Contains(got[0], "packet 1: it was not captured as a whole") {
		t.Errorf("got %q of a packet that was captured in part", got)
	}
}

// A packet that two interfaces saw is one lookup; a query that is repeated is two.
func TestCopiesOfPackets(t *testing.T) {
	query := with(udpPacket(clientV4, serverV4, dnsMessage(9, "shop.example", false)), macs, "\x08\x00")
	text := pcapOf(linkEthernet)
	for _, after := range []time.Duration{0, 50 * time.Microsecond, time.Second, time.Second + time.Millisecond} {
		text = appendRecord(text, captured.Add(after), query, len(query))
	}
	if got := names(lookupsOf(t, text)); !slices.Equal(got, []string{"shop.example", "shop.example", "note: 2 packets were left out that another interface had seen already"}) {
		t.Errorf("got %q", got)
	}
}

// The copy of a packet may come when the query has been answered.
func TestCopiesOfPacketsThatAreAnswered(t *testing.T) {
	query := with(udpPacket(clientV4, serverV4, dnsMessage(9, "shop.example", false)), macs, "\x08\x00")
	reply := with(udpPacket(serverV4, clientV4, dnsMessage(9, "shop.example", true)), macs, "\x08\x00")
	for name, c := range map[string]struct {
		packets [][]byte
		want    []string
	}{
		"a query, its reply, and both again":     {[][]byte{query, reply, query, reply}, []string{"shop.example", "note: 1 packets were left out that another interface had seen already"}},
		"replies alone":                          {[][]byte{reply, reply}, []string{"shop.example", "note: 1 packets were left out that another interface had seen already"}},
		"a query and its reply, and no copy":     {[][]byte{query, reply}, []string{"shop.example"}},
		"a query that is repeated in a second":   {[][]byte{query, reply, nil, query, reply}, []string{"shop.example", "shop.example"}},
		"replies alone, and another in a second": {[][]byte{reply, nil, reply}, []string{"shop.example", "shop.example"}},
	} {
		text, at := pcapOf(linkEthernet), captured
		for _, p := range c.packets {
			if p == nil {
				at = at.Add(time.Second)
				continue
			}
			text = appendRecord(text, at, p, len(p))
			at = at.Add(100 * time.Microsecond)
		}
		if got := names(lookupsOf(t, text)); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

// What is remembered of messages is bounded, and the last ones are known.
func TestRecentMessagesAreBounded(t *testing.T) {
	var r recentMessages
	const n = 3 * mostRecent
	for i := range n {
		if r.isCopy(fmt.Sprint(i), captured) {
			t.Fatalf("message %d is no copy", i)
		}
	}
	if len(r.at) > mostRecent {
		t.Errorf("%d messages are remembered", len(r.at))
	}
	for i := n - mostRecent; i < n; i++ {
		if !r.isCopy(fmt.Sprint(i), captured) {
			t.Fatalf("message %d is forgotten", i)
		}
	}
}

// Messages over TCP are found however they are cut into segments, in whatever order these
// come and however often: compared with the messages that were sent.
func TestMessagesOverTCP(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 13))
		var sent []byte
		var want []string
		for i := range 1 + rng.IntN(6) {
			name := fmt.Sprintf("n%d-%d.example", seed, i)
			m := append(dnsMessage(uint16(i), name, false), make([]byte, rng.IntN(3)*rng.IntN(1000))...) // additional records
			sent = append(binary.BigEndian.AppendUint16(sent, uint16(len(m))), m...)
			want = append(want, name)
		}
		first := rng.Uint32() // it may wrap
		packets := [][]byte{tcpPacket(clientV4, serverV4, first, flagSYN, nil)}
		for at := 0; at < len(sent); {
			n := min(1+rng.IntN(1+rng.IntN(400)), len(sent)-at)
			packets = append(packets, tcpPacket(clientV4, serverV4, first+1+uint32(at), 0x18, sent[at:at+n]))
			if rng.IntN(8) == 0 { // again, and more or less of it
				from, to := max(at-rng.IntN(50), 0), min(at+n+rng.IntN(50), len(sent))
				packets = append(packets, tcpPacket(clientV4, serverV4, first+1+uint32(from), 0x18, sent[from:to]))
			}
			at += n
		}
		for i := 1; i+1 < len(packets); i++ { // neighbours change places
			if rng.IntN(4) == 0 {
				packets[i], packets[i+1] = packets[i+1], packets[i]
			}
		}
		packets = append(packets, tcpPacket(clientV4, serverV4, first+1+uint32(len(sent)), flagFIN, nil))
		if got := names(lookupsOf(t, pcapOf(linkRaw, packets...))); !slices.Equal(got, want) {
			t.Fatalf("seed %d: got %q, want %q", seed, got, want)
		}
	}
}

// What Ethernet fills short packets up with is no data of a connection.
func TestFilledUpSegments(t *testing.T) {
	message := func(name string) []byte {
		m := dnsMessage(1, name, false)
		return append(binary.BigEndian.AppendUint16(nil, uint16(len(m))), m...)
	}
	m := message("a.example")
	frame := func(b []byte) []byte { return append(with(b, macs, "\x08\x00"), 9, 9, 9, 9, 9, 9) }
	got := names(lookupsOf(t, pcapOf(linkEthernet, frame(tcpPacket(clientV4, serverV4, 0, flagSYN, nil)), frame(tcpPacket(clientV4, serverV4, 1, 0x10, nil)), frame(tcpPacket(clientV4, serverV4, 1, 0x18, m)),
		frame(tcpPacket(clientV4, serverV4, 1+uint32(len(m)), 0x18, message("b.example"))))))
	if !slices.Equal(got, []string{"a.example", "b.example"}) {
		t.Errorf("got %q", got)
	}
}

// A connection of which a segment is missing is given up and told; one that is met in its
// middle is read from a segment on that is just one message.
func TestIncompleteConnections(t *testing.T) {
	message := func(name string) []byte {
		m := dnsMessage(1, name, false)
		return append(binary.BigEndian.AppendUint16(nil, uint16(len(m))), m...)
	}
	a, b := message("a.example"), message("b.example")
	packets := [][]byte{tcpPacket(clientV4, serverV4, 0, flagSYN, nil), tcpPacket(clientV4, serverV4, 1, 0x18, a)}
	for i := range earlyMost + 2 { // behind what is missing
		packets = append(packets, tcpPacket(clientV4, serverV4, uint32(1000+i*len(b)), 0x18, b[:len(b)-1]))
	}
	got := names(lookupsOf(t, pcapOf(linkRaw, packets...)))
	if len(got) < 2 || got[0] != "a.example" || !strings.Contains(strings.Join(got, "\n"), "1 connections over TCP were read in part") {
		t.Errorf("got %q", got)
	}
	got = names(lookupsOf(t, pcapOf(linkRaw, tcpPacket(clientV4, serverV4, 77, 0x18, a[5:]), tcpPacket(clientV4, serverV4, 200, 0x18, a), tcpPacket(clientV4, serverV4, 200+uint32(len(a)), 0x18, b[:9]), tcpPacket(clientV4, serverV4, 209+uint32(len(a)), 0x18, b[9:]))))
	if !slices.Equal(got, []string{"a.example", "b.example", "note: 1 segments were left out of connections over TCP whose beginning is not in the capture"}) {
		t.Errorf("got %q", got)
	}
}

// block is a block of pcapng.
func block(order binary.ByteOrder, kind uint32, body ...any) []byte {
	var b bytes.Buffer
	for _, v := range body {
		binary.Write(&b, order, v)
	}
	for b.Len()%4 != 0 {
		b.WriteByte(0)
	}
	size := uint32(b.Len() + 12)
	var out bytes.Buffer
	binary.Write(&out, order, kind)
	binary.Write(&out, order, size)
	out.Write(b.Bytes())
	binary.Write(&out, order, size)
	return out.Bytes()
}

// section is a section of pcapng with an interface.
func section(order binary.ByteOrder, link uint16, options ...any) []byte {
	return append(block(order, pcapngSection, uint32(pcapngMagic), uint16(1), uint16(0), int64(-1), []byte("\x00\x04\x00\x04text")),
		block(order, pcapngInterface, append([]any{link, uint16(0), uint32(262144)}, options...)...)...)
}

// enhanced is a packet block of pcapng.
func enhanced(order binary.ByteOrder, face uint32, units uint64, p []byte) []byte {
	return block(order, pcapngPacket, face, uint32(units>>32), uint32(units), uint32(len(p)), uint32(len(p)), p, []byte(strings.Repeat("\x00", (4-len(p)%4)%4)), []byte("\x00\x00\x00\x00"))
}

// pcapng in each order of octets and in units of each kind; sections and interfaces of their
// own; blocks that are not known.
func TestPcapng(t *testing.T) {
	packet := func(name string) []byte { return udpPacket(clientV4, serverV4, dnsMessage(1, name, false)) }
	le, be := binary.LittleEndian, binary.BigEndian
	at := uint64(captured.Unix())
	text := slices.Concat(
		section(le, linkRaw),
		enhanced(le, 0, at*1e6+250000, packet("micro.example")),
		block(le, 0x0bad, strings.Repeat("x", 5)[:4]),
		block(le, pcapngInterface, uint16(linkIPv4), uint16(0), uint32(0), uint16(optionResolution), uint16(1), []byte{9, 0, 0, 0}, uint16(0), uint16(0)),
		enhanced(le, 1, at*1e9+250000000, packet("nano.example")),
		block(le, pcapngInterface, uint16(105), uint16(0), uint32(0)),
		enhanced(le, 2, at*1e6, packet("wlan.example")),
		enhanced(le, 3, at*1e6, packet("nowhere.example")),
		block(le, pcapngOldPacket, uint16(0), uint16(0), uint32((at*1e6+250000)>>32), uint32(at*1e6+250000), uint32(len(packet("old.example"))), uint32(len(packet("old.example"))), packet("old.example")),
		block(le, pcapngSimple, uint32(len(packet("simple.example"))), packet("simple.example")),
		section(be, linkRaw, uint16(optionResolution), uint16(1), []byte{0x80 | 4, 0, 0, 0}, uint16(optionOffset), uint16(8), int64(-100)),
		enhanced(be, 0, (at+100)*16+4, packet("sixteenths.example")),
		section(be, linkRaw, uint16(optionResolution), uint16(1), []byte{77, 0, 0, 0}),
		enhanced(be, 0, at, packet("uncounted.example")),
	)
	if *update {
		if err := os.WriteFile("testdata/mixed.pcapng", text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(text, sample(t, "mixed.pcapng")) {
		t.Error("testdata/mixed.pcapng is another one: -update writes it")
	}
	got := lookupsOf(t, text)
	if n := names(got); !slices.Equal(n, []string{
		"bad: packet 4: it is of an interface that the file does not have", "bad: packet 6: it has no time (a simple packet block of pcapng)", "micro.example", "nano.example", "old.example", "sixteenths.example",
		"bad: packet 8: 0001-01-01T00:00:00Z is before 1990: its clock was not set", "note: 1 packets were left out whose link type is not read here: 105",
	}) {
		t.Errorf("got %q", n)
	}
	for _, l := range got {
		if strings.Contains(l, "name=") && !strings.Contains(l, " 2026-11-19T09:00:00.250Z ") {
			t.Errorf("got %s, want 09:00:00.250", l)
		}
	}
}

// Damaged and crafted files are refused with what is wrong, or end there; no length that
// they state is taken as memory.
func TestDamagedCaptures(t *testing.T) {
	le := binary.LittleEndian
	good := udpPacket(clientV4, serverV4, dnsMessage(1, "good.example", false))
	huge := slices.Concat(pcapOf(linkRaw, good), []byte("\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff"))
	sized := func(b []byte, at int, size uint32) []byte {
		b = bytes.Clone(b)
		le.PutUint32(b[at:], size)
		return b
	}
	head := section(le, linkRaw)
	begun := slices.Concat(head, enhanced(le, 0, uint64(captured.Unix())*1e6, good))
	old := pcapOf(linkRaw, good)
	old[4] = 9
	for name, c := range map[string]struct {
		text []byte
		want string
	}{
		"a packet of 4 GiB":             {huge, "error: behind packet 1: a packet of 4294967295 octets: the file is damaged"},
		"a packet block of 4 GiB":       {append(bytes.Clone(begun), sized(block(le, pcapngPacket, make([]byte, 64)), 4, 1<<32-4)...), "error: behind packet 1: a block of 4294967292 octets: the file is damaged"},
		"an interface of 4 GiB":         {append(bytes.Clone(begun), sized(block(le, pcapngInterface, make([]byte, 64)), 4, 1<<32-4)...), "error: behind packet 1: a block of 4294967292 octets: the file is damaged"},
		"an unknown block of 4 GiB":     {append(bytes.Clone(begun), sized(block(le, 0x0bad, make([]byte, 64)), 4, 1<<32-4)...), "note: packet 2, the last one, is cut"},
		"a section of 4 GiB":            {append(bytes.Clone(begun), sized(block(le, pcapngSection, uint32(pcapngMagic), uint16(1), uint16(0), int64(-1)), 4, 1<<32-4)...), "note: packet 2, the last one, is cut"},
		"a block of no length":          {append(bytes.Clone(begun), sized(block(le, 0x0bad), 4, 0)...), "error: behind packet 1: a block of 0 octets: the file is damaged"},
		"a block of an odd length":      {append(bytes.Clone(begun), sized(block(le, 0x0bad), 4, 13)...), "error: behind packet 1: a block of 13 octets: the file is damaged"},
		"a block with another end":      {append(bytes.Clone(begun), sized(block(le, 0x0bad), 8, 16)...), "error: behind packet 1: a block of 12 octets that ends as one of 16: the file is damaged"},
		"an option that is too long":    {append(bytes.Clone(begun), block(le, pcapngInterface, uint16(1), uint16(0), uint32(0), uint16(2), uint16(900))...), "error: behind packet 1: an option of an interface that is longer than its block: the file is damaged"},
		"a packet beyond its block":     {append(bytes.Clone(begun), block(le, pcapngPacket, uint32(0), uint32(0), uint32(0), uint32(900), uint32(900))...), "bad: packet 2: it is longer than its block"},
		"a version of pcap":             {old, "error: the capture is of version 9 of pcap, and 2 is read here"},
		"a version of pcapng":           {append(bytes.Clone(begun), block(le, pcapngSection, uint32(pcapngMagic), uint16(7), uint16(0), int64(-1))...), "error: the capture is of version 7 of pcapng, and 1 is read here"},
		"a section without an order":    {append(bytes.Clone(begun), block(le, pcapngSection, uint32(7), uint16(1), uint16(0), int64(-1))...), "error: behind packet 1: a section without an order of octets: the file is damaged"},
		"a file that ends in a packet":  {pcapOf(linkRaw, good, good)[:24+2*16+len(good)+9], "note: packet 2, the last one, is cut and was left out: it is read when the file has grown"},
		"a file that ends behind one":   {pcapOf(linkRaw, good), "good.example"},
		"a file that ends in its head":  {pcapOf(linkRaw)[:20], "error: the capture has no packet"},
		"many interfaces":               {append(bytes.Clone(begun), bytes.Repeat(block(le, pcapngInterface, uint16(1), uint16(0), uint32(0)), interfacesMost)...), "error: behind packet 1: an interface that is none, or one too many: the file is damaged"},
		"a connection without an end":   {pcapOf(linkRaw, tcpPacket(clientV4, serverV4, 0, flagSYN, bytes.Repeat([]byte{0xff}, 1000)), good), "good.example"},
		"a connection of empty lengths": {pcapOf(linkRaw, tcpPacket(clientV4, serverV4, 0, flagSYN, make([]byte, 1000)), good), "good.example"},
	} {
		got := lookupsOf(t, c.text)
		if !slices.ContainsFunc(append(names(got), got[0]), func(s string) bool { return strings.HasPrefix(s, c.want) }) {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

// However many connections and segments a capture has, what is kept of them is bounded.
func TestConnectionsAreBounded(t *testing.T) {
	var streams streams
	var s segment
	for i := range 20 * streamsMost {
		src := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 40000)
		s = segment{src: src, dst: serverV4, tcp: true, syn: true}
		streams.add(&s, func([]byte) {})
		for j := range 3 {
			s = segment{src: src, dst: serverV4, tcp: true, seq: uint32(10 + j*2000), data: make([]byte, 1000)}
			streams.add(&s, func([]byte) {})
		}
		if i%7 == 0 {
			s = segment{src: src, dst: serverV4, tcp: true, rst: true}
			streams.add(&s, func([]byte) {})
		}
		if len(streams.byKey) > streamsMost || len(streams.order) > 2*streamsMost || streams.held > earlyOctets {
			t.Fatalf("%d streams, %d in order, %d octets wait", len(streams.byKey), len(streams.order), streams.held)
		}
	}
	held := 0
	for _, st := range streams.byKey {
		for _, e := range st.early {
			held += len(e.data)
		}
	}
	if held != streams.held || held == 0 {
		t.Errorf("%d octets wait, and %d are counted", held, streams.held)
	}
}

// A long capture takes no more memory than a short one.
func TestALongCaptureTakesNoMemory(t *testing.T) {
	const queries = 100_000
	r, w := io.Pipe()
	go func() {
		w.Write(pcapOf(linkRaw))
		var b []byte
		for i := range queries {
			p := udpPacket(clientV4, serverV4, dnsMessage(uint16(i), fmt.Sprintf("n%d.example", i), false))
			if b = appendRecord(b, captured.Add(time.Duration(i)*time.Microsecond), p, len(p)); len(b) > 1<<16 {
				w.Write(b)
				b = b[:0]
			}
		}
		w.Write(b)
		w.Close()
	}()
	l, err := OpenStream(r, nil, Options{})
	if err != nil {
		t.Fatal(err)
	}
	n, most := 0, uint64(0)
	for ; ; n++ {
		if _, err := l.Next(); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if n%20_000 == 0 {
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			most = max(most, m.HeapAlloc)
		}
	}
	if n != queries || most > 64<<20 {
		t.Errorf("%d lookups, %d octets in use", n, most)
	}
}

// A program that sends dnstap and waits for an answer gets it (Frame Streams in both
// directions), and one that does not is read as well.
func TestStreamsOfDnstap(t *testing.T) {
	file := sample(t, "clients.dnstap")
	want := readFile(t, write(t, "x.dnstap", file), options(""))[1:]
	for _, both := range []bool{false, true} {
		here, there := net.Pipe()
		failed := make(chan error, 1)
		go func() {
			failed <- func() error {
				defer there.Close()
				if both {
					if _, err := there.Write(dnstap.AppendControl(nil, dnstap.ControlReady, dnstap.Content)); err != nil {
						return err
					}
					if err := wants(there, frameAccept); err != nil {
						return err
					}
				}
				body := file
				if both && !bytes.HasSuffix(file, dnstap.AppendControl(nil, dnstap.ControlStop, "")) {
					body = append(bytes.Clone(file), dnstap.AppendControl(nil, dnstap.ControlStop, "")...)
				}
				if _, err := there.Write(body); err != nil {
					return err
				}
				if both {
					return wants(there, frameFinish)
				}
				return nil
			}()
		}()
		var reply io.Writer
		if both {
			reply = here
		}
		l, err := OpenStream(here, reply, Options{})
		if err != nil {
			t.Fatal(err)
		}
		got := read(t, l)
		here.Close()
		if err := <-failed; err != nil {
			t.Errorf("who sends, both %v: %v", both, err)
		}
		if !slices.Equal(got, want) {
			t.Errorf("both %v: got %q, want %q", both, got, want)
		}
	}
	for _, text := range []string{"hello, hello, hello", "\x00\x00\x00\x00\x00\x00\x00\x04\x00\x00\x00\x03 and so on", "\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff"} {
		if _, err := OpenStream(strings.NewReader(text), io.Discard, Options{}); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("%q: got %v", text, err)
		}
	}
}

func sample(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// wants reads what is expected.
func wants(r io.Reader, frame []byte) error {
	got := make([]byte, len(frame))
	if _, err := io.ReadFull(r, got); err != nil {
		return err
	}
	if !bytes.Equal(got, frame) {
		return fmt.Errorf("got %q, want %q", got, frame)
	}
	return nil
}

func FuzzCapture(f *testing.F) {
	fuzz(f, "capture", true, "loopback.pcap", "any.pcap", "cooked.pcap", "mixed.pcapng")
}
