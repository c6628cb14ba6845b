package announce

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/miekg/dns"

	"telltale/devices/leases"
)

// response is a response of multicast DNS with these records, as in a zone file. Names are
// compressed.
func response(t testing.TB, records ...string) []byte {
	t.Helper()
	m := &dns.Msg{MsgHdr: dns.MsgHdr{Response: true, Authoritative: true}, Compress: true}
	for _, r := range records {
		rr, err := dns.NewRR(r)
		if err != nil {
			t.Fatal(err)
		}
		rr.Header().Class |= 0x8000
		m.Answer = append(m.Answer, rr)
	}
	packet, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return packet
}

// text writes a message as the cases below have it.
func text(m Message) string {
	var all []string
	for _, h := range m.Hosts {
		all = append(all, fmt.Sprintf("host %s %s", h.Name, h.Addr))
	}
	for what, list := range map[string][]string{"name": m.Names, "model": m.Models, "service": m.Services, "software": m.Software} {
		for _, v := range list {
			all = append(all, what+" "+v)
		}
	}
	slices.Sort(all)
	return strings.Join(all, "\n")
}

func TestWhatResponsesSay(t *testing.T) {
	for _, test := range []struct {
		name    string
		records []string
		want    []string
	}{
		{"a host of two families", []string{"Bravia.local. 120 IN A 192.168.1.20", "Bravia.local. 120 IN AAAA fe80::20", "20.1.168.192.in-addr.arpa. 120 IN PTR Bravia.local."},
			[]string{"host Bravia 192.168.1.20", "host Bravia fe80::20"}},
		{"a computer", []string{`Annas\ MacBook._companion-link._tcp.local. 4500 IN SRV 0 0 49152 Annas-MacBook.local.`, `Annas\ MacBook._device-info._tcp.local. 4500 IN TXT "model=MacBookPro18,3" "osxvers=24"`},
			[]string{"model MacBookPro18,3", "service _companion-link._tcp"}},
		{"an accessory for HomeKit", []string{`Lamp._hap._tcp.local. 4500 IN TXT "c#=5" "md=NL29" "CI=5" "sf=0"`},
			[]string{"model HomeKit category 5", "model NL29", "service _hap._tcp"}},
		{"an accessory of a category that is no number", []string{`Lamp._hap._tcp.local. 4500 IN TXT "ci=5; x"`}, []string{"service _hap._tcp"}},
		{"a television", []string{`_googlecast._tcp.local. 120 IN PTR TV-0123._googlecast._tcp.local.`,
			`TV-0123._googlecast._tcp.local. 4500 IN TXT "id=0123" "MD=BRAVIA 4K" "fn=Living Room\033 TV" "rs="`},
			[]string{"model BRAVIA 4K", "name Living Room! TV", "service _googlecast._tcp"}},
		{"a loudspeaker", []string{`AA@Kitchen._raop._tcp.local. 4500 IN TXT "am=AudioAccessory5,1" "md=0,1,2"`, `Kitchen._airplay._tcp.local. 4500 IN TXT "model=AudioAccessory5,1"`},
			[]string{"model AudioAccessory5,1", "service _airplay._tcp", "service _raop._tcp"}},
		{"a tablet that says its model to others of its maker", []string{`Tab._companion-link._tcp.local. 4500 IN TXT "rpMac=0" "rpMd=iPad13,4" "model=none"`},
			[]string{"model iPad13,4", "service _companion-link._tcp"}},
		{"a printer that scans", []string{`P._ipp._tcp.local. 4500 IN TXT "rp=ipp/print" "ty=EPSON ET-2750 Series" "md=none"`, `P._uscan._tcp.local. 4500 IN TXT "ty=EPSON ET-2750 Series"`},
			[]string{"model EPSON ET-2750 Series", "service _ipp._tcp", "service _uscan._tcp"}},
		{"all types", []string{"_services._dns-sd._udp.local. 4500 IN PTR _ipp._tcp.local.", "_services._dns-sd._udp.local. 4500 IN PTR _HTTP._tcp.local."},
			[]string{"service _http._tcp", "service _ipp._tcp"}},
		{"the key of a model at another service", []string{`X._http._tcp.local. 4500 IN TXT "model=none" "md=none" "fn=none"`}, []string{"service _http._tcp"}},
		{"control characters", []string{`ev\027[31mil.local. 120 IN A 192.168.1.9`, `X._device-info._tcp.local. 4500 IN TXT "model=a\007\010b"`}, []string{"host ev[31mil 192.168.1.9", "model ab"}},
		{"goodbye", []string{"bravia.local. 0 IN A 192.168.1.20"}, nil},
		{"names elsewhere", []string{"bravia.example. 120 IN A 192.168.1.20", "a.b.local. 120 IN A 192.168.1.20", "_http._tcp.example. 120 IN PTR x._http._tcp.example.", "_printer._sub._http._tcp.local. 120 IN PTR x._http._tcp.local."}, nil},
		{"another class", []string{"bravia.local. 120 CH A 192.168.1.20"}, nil},
	} {
		m, err := ParseMDNS(response(t, test.records...))
		slices.Sort(test.want)
		if got := text(m); err != nil || got != strings.Join(test.want, "\n") {
			t.Errorf("%s: %v, got\n%s\nwant\n%s", test.name, err, got, strings.Join(test.want, "\n"))
		}
	}
}

func TestQueriesSayNothing(t *testing.T) {
	packet := response(t, "bravia.local. 120 IN A 192.168.1.20")
	for name, change := range map[string]func([]byte){
		"a query":         func(p []byte) { p[2] &^= 0x80 },
		"another opcode":  func(p []byte) { p[2] |= 5 << 3 },
		"an error's code": func(p []byte) { p[3] |= 3 },
	} {
		p := slices.Clone(packet)
		change(p)
		if m, err := ParseMDNS(p); err != nil || !reflect.DeepEqual(m, Message{}) {
			t.Errorf("%s: got %+v, %v", name, m, err)
		}
	}
}

func TestMalformedPacketsSayNothing(t *testing.T) {
	packet := response(t, "bravia.local. 120 IN A 192.168.1.20", `X._device-info._tcp.local. 4500 IN TXT "model=a"`)
	for n := range len(packet) {
		if m, err := ParseMDNS(packet[:n]); err == nil || !reflect.DeepEqual(m, Message{}) {
			t.Fatalf("cut after %d octets: got %+v, %v", n, m, err)
		}
	}
	if _, err := ParseMDNS(make([]byte, MaxPacket+1)); err == nil {
		t.Error("a packet that is too long was read")
	}
}

// A packet of pointers, and one of as many records as fit, cost what a packet may cost.
func TestPacketsThatWantToGrow(t *testing.T) {
	var many []string
	for i := range 300 {
		many = append(many, fmt.Sprintf("h%d.local. 1 IN A 192.168.1.%d", i, i%256), fmt.Sprintf("_s%d._tcp.local. 1 IN PTR x._s%d._tcp.local.", i, i))
	}
	m, err := ParseMDNS(response(t, many[:360]...))
	if err != nil || len(m.Hosts) != maxHosts || len(m.Services) != maxServices {
		t.Errorf("got %d hosts and %d services, %v", len(m.Hosts), len(m.Services), err)
	}
}

// Names that nothing is taken of cost nothing, and long ones no more than short ones.
func TestWhatNamesCost(t *testing.T) {
	long := strings.Repeat("xy.", 70) + "local."
	for _, c := range []struct {
		record string
		most   float64
	}{{long + ` 1 IN HINFO "a" "b"`, 0}, {long + " 1 IN A 192.168.1.20", 2 * maxLabels * 100}, {long + " 0 IN A 192.168.1.20", 0}} {
		packet := response(t, slices.Repeat([]string{c.record}, 100)...)
		if got := testing.AllocsPerRun(1, func() { _, _ = ParseMDNS(packet) }); got > c.most {
			t.Errorf("100 of %.8s...%s: %.0f allocations, want %.0f at most", c.record, c.record[len(long):], got, c.most)
		}
	}
}

func TestPacketsOfQuestionsAreNotRead(t *testing.T) {
	for _, n := range []int{maxQuestions, maxQuestions + 1} {
		m := &dns.Msg{MsgHdr: dns.MsgHdr{Response: true}, Compress: true}
		for range n {
			m.Question = append(m.Question, dns.Question{Name: "x.local.", Qtype: dns.TypeA, Qclass: dns.ClassINET})
		}
		packet, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParseMDNS(packet); (err != nil) != (n > maxQuestions) {
			t.Errorf("%d questions: %v", n, err)
		}
	}
}

const notify = "NOTIFY * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nNT: urn:schemas-upnp-org:device:MediaRenderer:1\r\nNTS: ssdp:alive\r\n" +
	"Server: Linux/4.9 UPnP/1.0 BRAVIA/1.0\r\nLOCATION: http://192.168.1.20:80/x.xml\r\nUSN: uuid:1::urn:schemas-upnp-org:device:MediaRenderer:1\r\n\r\n"

func TestWhatNotificationsSay(t *testing.T) {
	for _, test := range []struct{ name, packet, want string }{
		{"a renderer", notify, "service urn:schemas-upnp-org:device:MediaRenderer:1\nsoftware Linux/4.9 UPnP/1.0 BRAVIA/1.0"},
		{"lines that end in LF", strings.ReplaceAll(notify, "\r", ""), "service urn:schemas-upnp-org:device:MediaRenderer:1\nsoftware Linux/4.9 UPnP/1.0 BRAVIA/1.0"},
		{"the device itself", "NOTIFY * HTTP/1.1\r\nNT: upnp:rootdevice\r\nNTS: ssdp:alive\r\nSERVER: a\x1b[31mb\r\n\r\n", "software a[31mb"},
		{"it leaves", strings.Replace(notify, "ssdp:alive", "ssdp:byebye", 1), ""},
		{"somebody looks for something", "M-SEARCH * HTTP/1.1\r\nST: ssdp:all\r\n\r\n", ""},
		{"an answer", "HTTP/1.1 200 OK\r\nST: upnp:rootdevice\r\n\r\n", ""},
	} {
		if m, err := ParseSSDP([]byte(test.packet)); err != nil || text(m) != test.want {
			t.Errorf("%s: %v, got\n%s\nwant\n%s", test.name, err, text(m), test.want)
		}
	}
	for _, packet := range []string{"", "\r\n", "GET / HTTP/1.1\r\n\r\n", "NOTIFY * HTTP/1.1\r\nnonsense\r\n\r\n", strings.Repeat("x", MaxPacket+1)} {
		if m, err := ParseSSDP([]byte(packet)); err == nil || !reflect.DeepEqual(m, Message{}) {
			t.Errorf("%.40q: got %+v, %v", packet, m, err)
		}
	}
}

// wantFit reports what is not fit to be shown, or more than a message may have.
func wantFit(t *testing.T, m *Message) {
	t.Helper()
	if len(m.Hosts) > maxHosts || len(m.Names) > maxNames || len(m.Models) > maxModels || len(m.Services) > maxServices || len(m.Software) > maxSoftware {
		t.Errorf("too much: %+v", m)
	}
	all := slices.Concat(m.Names, m.Models, m.Services, m.Software)
	for _, h := range m.Hosts {
		all = append(all, h.Name)
		if !h.Addr.IsValid() || h.Addr.Is4In6() || leases.HostName(h.Name) != h.Name {
			t.Errorf("got %+v", h)
		}
	}
	for _, s := range all {
		if s == "" || len(s) > 63 || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("%q cannot be shown", s)
		}
	}
}

func FuzzParseMDNS(f *testing.F) {
	f.Add(response(f, "bravia.local. 120 IN A 192.168.1.20", "bravia.local. 120 IN AAAA ::ffff:1.2.3.4", `X._googlecast._tcp.local. 4500 IN TXT "md=a" "fn=b"`, "_services._dns-sd._udp.local. 4500 IN PTR _ipp._tcp.local."))
	for _, name := range []string{`\032192\.168\.1\.1`, `\001-`, `\032\.x`, `x\032y\.\.`, `-\.x`} {
		f.Add(response(f, name+".local. 120 IN A 192.168.1.20"))
	}
	f.Add([]byte("\x00\x00\x84\x00\x00\x00\x00\x01\x00\x00\x00\x00\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x01\x00\x00"))
	f.Fuzz(func(t *testing.T, packet []byte) {
		m, err := ParseMDNS(packet)
		if err != nil && !reflect.DeepEqual(m, Message{}) {
			t.Errorf("got %+v with %v", m, err)
		}
		wantFit(t, &m)
	})
}

func FuzzParseSSDP(f *testing.F) {
	f.Add([]byte(notify))
	f.Fuzz(func(t *testing.T, packet []byte) {
		m, err := ParseSSDP(packet)
		if err != nil && !reflect.DeepEqual(m, Message{}) {
			t.Errorf("got %+v with %v", m, err)
		}
		wantFit(t, &m)
	})
}
