package resolver

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"

	"telltale/querylog"
	"telltale/resolver/packets"
)

// Packets that come together are read together, and their names looked up together; each gets
// the reply, and the record, that it gets alone.
func TestPacketsThatComeTogetherAreAnsweredAsTheyAreAlone(t *testing.T) {
	now := time.Now()
	var recs []querylog.Record
	d := newHarness(t, Options{Policy: withPolicy(everyMode(t)), Now: func() time.Time { return now }, Log: func(batch []querylog.Record) {
		for _, r := range batch {
			r.Name = bytes.Clone(r.Name)
			recs = append(recs, r)
		}
	}})
	d.teach("www.example.", dns.TypeA, "www.example. 300 IN A 192.0.2.1", true)
	service := func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeHTTPS }
	all := [][]byte{
		packetOf(t, "null.example.", dns.TypeA),
		packetOf(t, "WWW.Example.", dns.TypeA),
		[]byte("no query"),
		packetOf(t, "deep.er.than.ALL.that.is.usual.in.names.nx.example.", dns.TypeAAAA),
		packetOf(t, "ok.null.example.", dns.TypeA, func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeANY }),
		packetOf(t, "_8443._https.nodata.example.", dns.TypeA, service),
		packetOf(t, "refused.example.", dns.TypeMX, func(m *dns.Msg) { m.Opcode = dns.OpcodeNotify }),
		packetOf(t, "x.refused.example.", dns.TypeMX),
		packetOf(t, "drop.example.", dns.TypeA),
		packetOf(t, "tcp.example.", dns.TypeA),
		packetOf(t, "nas.lan.", dns.TypeAAAA),
		packetOf(t, ".", dns.TypeANY),
		packetOf(t, "custom.example.", dns.TypeA, func(m *dns.Msg) { m.Extra = nil }),
		packetOf(t, "www.example.", dns.TypeA, func(m *dns.Msg) { m.Response = true }),
		packetOf(t, "health.telltale.invalid.", dns.TypeTXT),
	}
	c, client := socketPair(t, "127.0.0.1:0")
	file, err := client.File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	fd := int(file.Fd())
	r := d.s.newReader(c)
	// ask sends packets, has all of them answered as they came, and returns the replies by id.
	ask := func(asked [][]byte) map[uint16]string {
		for _, p := range asked {
			if _, err := unix.Write(fd, p); err != nil {
				t.Fatal(err)
			}
		}
		for got := 0; got < len(asked); {
			n, err := c.Receive()
			if err != nil {
				t.Fatal(err)
			}
			r.ServeBatch(n)
			got += n
		}
		replies, buf := map[uint16]string{}, make([]byte, 4096)
		for {
			n, _, err := unix.Recvfrom(fd, buf, unix.MSG_DONTWAIT)
			if err != nil {
				return replies
			}
			replies[binary.BigEndian.Uint16(buf)] = string(buf[:n])
		}
	}
	for i, p := range all {
		binary.BigEndian.PutUint16(p, uint16(i))
	}
	alone := map[uint16]string{}
	for _, p := range all {
		for id, reply := range ask([][]byte{p}) {
			alone[id] = reply
		}
	}
	wants := recs
	if len(alone) < 11 || len(wants) < 10 {
		t.Fatalf("%d replies and %d records of packets that came alone", len(alone), len(wants))
	}
	for round := range 3 { // another order each time
		recs = nil
		together := ask(all)
		if len(together) != len(alone) || len(recs) != len(wants) {
			t.Errorf("got %d replies and %d records together, want %d and %d", len(together), len(recs), len(alone), len(wants))
		}
		for id, want := range alone {
			if got := together[id]; got != want {
				t.Errorf("packet %d: got %x together, want %x", id, got, want)
			}
		}
		for _, got := range recs {
			found := false
			for _, want := range wants {
				found = found || bytes.Equal(got.Name, want.Name) && got.Type == want.Type && got.Verdict == want.Verdict && got.Source == want.Source && got.Rcode == want.Rcode
			}
			if !found {
				t.Errorf("round %d: a record that there is not alone: %+v", round, got)
			}
		}
		all = append(all[4:], all[:4]...)
	}
	for i := range packets.BatchSize {
		if q := &r.queries[i]; q.lookups != nil || q.parsed || q.policy != nil {
			t.Fatalf("query %d keeps what it had", i)
		}
	}
}
