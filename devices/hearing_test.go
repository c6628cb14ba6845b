package devices

import (
	"bytes"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
)

// announcementOf is a packet of multicast DNS in which a host says its address.
func announcementOf(t testing.TB, name, at string) []byte {
	t.Helper()
	m := &dns.Msg{MsgHdr: dns.MsgHdr{Response: true, Authoritative: true}}
	header := dns.RR_Header{Name: name + ".local.", Rrtype: dns.TypeA, Class: 0x8001, Ttl: 120}
	if ip := net.ParseIP(at); ip.To4() != nil {
		m.Answer = append(m.Answer, &dns.A{Hdr: header, A: ip})
	} else {
		header.Rrtype = dns.TypeAAAA
		m.Answer = append(m.Answer, &dns.AAAA{Hdr: header, AAAA: ip})
	}
	packet, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return packet
}

func TestOnlyPacketsOfTheLinkCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, _ := open(t, newTable(), Options{})
		h := newHearing(l)
		h.links[2] = link{"eth0", []netip.Prefix{homeLink, netip.MustParsePrefix("2001:db8:1::/64")}}
		mdns, ssdp := groups()[0], groups()[2]
		for _, c := range []struct {
			what, from  string
			g           group
			hops, index int
			counts      bool
		}{
			{"a neighbour", "192.168.1.20", mdns, 255, 2, true},
			{"a mapped address", "::ffff:192.168.1.21", mdns, 255, 2, true},
			{"a link-local address", "fe80::20%2", mdns, 255, 2, true},
			{"a prefix of the link", "2001:db8:1::20", mdns, 255, 2, true},
			{"a hop limit that cannot be read", "192.168.1.22", mdns, 0, 2, true},
			{"a hop limit that a router has lowered", "192.168.1.23", mdns, 254, 2, false},
			{"another network", "192.168.2.20", mdns, 255, 2, false},
			{"another prefix", "2001:db8:2::20", mdns, 255, 2, false},
			{"another interface", "192.168.1.24", mdns, 255, 3, false},
			{"no address", "0.0.0.0", mdns, 255, 2, false},
			{"SSDP has a small hop limit", "192.168.1.25", ssdp, 2, 2, true},
			{"SSDP of another network", "192.168.2.25", ssdp, 2, 2, false},
		} {
			packet := announcementOf(t, "x", "192.168.1.20")
			if c.g.name == "SSDP" {
				packet = []byte("NOTIFY * HTTP/1.1\r\nNT: urn:x:device:y:1\r\nNTS: ssdp:alive\r\n\r\n")
			}
			before := h.status
			h.take(&c.g, packet, addr(c.from), c.hops, c.index)
			_, heard := l.Announced()[plain(addr(c.from))]
			if heard != c.counts || h.status.Packets != before.Packets+1 || (h.status.Foreign == before.Foreign) != c.counts {
				t.Errorf("%s: heard is %v, want %v; %+v", c.what, heard, c.counts, h.status)
			}
		}
		h.take(&mdns, []byte("nonsense"), addr("192.168.1.20"), 255, 2)
		if h.status.Malformed != 1 {
			t.Errorf("what is malformed is not counted: %+v", h.status)
		}
	})
}

// Who sends more than announcerRate a second is not parsed, and others are.
func TestAFloodOfOneAddressIsNotParsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, _ := open(t, newTable(), Options{})
		h := newHearing(l)
		h.links[2] = link{"eth0", []netip.Prefix{homeLink}}
		g, packet := groups()[0], announcementOf(t, "x", "192.168.1.20")
		for range 10 * announcerMost {
			h.take(&g, packet, addr("192.168.1.20"), 255, 2)
		}
		if got, want := h.status.Limited, uint64(9*announcerMost); got != want {
			t.Errorf("%d were dropped, want %d", got, want)
		}
		other := addr("192.168.1.21")
		for h.bucket(other) == h.bucket(addr("192.168.1.20")) {
			other = other.Next()
		}
		h.take(&g, packet, other, 255, 2)
		if _, ok := l.Announced()[other]; !ok {
			t.Error("another address was not heard")
		}
		time.Sleep(time.Second)
		before := h.status.Limited
		h.take(&g, packet, addr("192.168.1.20"), 255, 2)
		if h.status.Limited != before {
			t.Error("a second later it is not heard again")
		}
	})
}

func TestAnnouncementsCanBeSwitched(t *testing.T) {
	l, _ := open(t, newTable(), Options{Announcements: true})
	if !l.AnnouncementStatus().On {
		t.Error("they are off")
	}
	l.SetAnnouncements(false)
	l.SetAnnouncements(false)
	if st := l.AnnouncementStatus(); st.On || len(st.Links) > 0 {
		t.Errorf("got %+v", st)
	}
	l.SetAnnouncements(true)
}

// Two interfaces that cannot be listened on are one warning, however often they are tried.
func TestAProblemIsSaidOnce(t *testing.T) {
	var said bytes.Buffer
	l, _ := open(t, newTable(), Options{Logger: slog.New(slog.NewTextHandler(&said, nil))})
	h := newHearing(l)
	gone := map[int]link{1 << 30: {"gone0", nil}, 1<<30 + 1: {"gone1", nil}, 1<<30 + 2: {"gone2", nil}}
	for range 20 {
		h.listen(t.Context(), func() (map[int]link, error) { return gone, nil })
	}
	if n := strings.Count(said.String(), "is not heard"); n != 1 || !strings.Contains(h.status.Problem, "gone0") {
		t.Errorf("said %d times, in the end %q:\n%s", n, h.status.Problem, said.String())
	}
}

// What devices said of themselves names them no longer once nobody listens.
func TestNamesEndWithTheirSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, _ := open(t, newTable(entry("192.168.1.20", macTV)), Options{})
		l.says("192.168.1.20", host("Bravia", "192.168.1.20"))
		wantName(t, l, "by its host name", "192.168.1.20", "Bravia ("+macTV[9:]+")")
		l.hearing, l.stopHearing = newHearing(l), func() {}
		l.SetAnnouncements(false)
		time.Sleep(2 * publishEvery)
		synctest.Wait()
		wantName(t, l, "nobody listens", "192.168.1.20", macTV)
	})
}
