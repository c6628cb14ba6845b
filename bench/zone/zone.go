// Package zone is a small real DNS server for tests and measurements: it
// answers from records in presentation form, over UDP and TCP, following
// aliases as a resolver would.
package zone

import (
	"net"
	"net/netip"
	"strings"
	"sync"

	"github.com/miekg/dns"
)

// Parse reads records and returns the handler that answers from them. A name
// without records is NXDOMAIN; a record whose owner begins with "*." answers
// for all names below that have none of their own. Questions for HINFO, by
// which Telltale looks for loops, are NXDOMAIN. A record of TYPE65280 holds in one
// octet the response code with which its name fails: TYPE65280 \# 1 02. An SOA of the
// root goes with negative answers, instead of one of 60 seconds.
func Parse(text string) (dns.HandlerFunc, error) {
	records := map[string][]dns.RR{}
	p := dns.NewZoneParser(strings.NewReader(text), ".", "")
	for rr, ok := p.Next(); ok; rr, ok = p.Next() {
		name := strings.ToLower(rr.Header().Name)
		records[name] = append(records[name], rr)
	}
	if err := p.Err(); err != nil {
		return nil, err
	}
	return func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		m.RecursionAvailable = true
		answer(m, records)
		m.Truncate(maxReply(w, q))
		w.WriteMsg(m)
	}, nil
}

const typeFailure = 65280 // of private use

// answer fills in the records m asks for.
func answer(m *dns.Msg, records map[string][]dns.RR) {
	name, typ := strings.ToLower(m.Question[0].Name), m.Question[0].Qtype
	found := false
	for range 20 { // a chain longer than that is somebody else's test
		next := ""
		all, ok := find(records, name)
		found = ok
		for _, rr := range all {
			if f, ok := rr.(*dns.RFC3597); ok && f.Hdr.Rrtype == typeFailure && len(f.Rdata) == 2 {
				m.Answer, m.Rcode = nil, int(f.Rdata[1]-'0')
				return
			}
			if c, ok := rr.(*dns.CNAME); ok && typ != dns.TypeCNAME {
				next = strings.ToLower(c.Target)
			} else if rr.Header().Rrtype != typ {
				continue
			}
			rr = dns.Copy(rr)
			rr.Header().Name = name
			m.Answer = append(m.Answer, rr)
		}
		if name = next; name == "" {
			break
		}
	}
	if !found {
		m.Rcode = dns.RcodeNameError
	}
	if last := len(m.Answer) - 1; last < 0 || m.Answer[last].Header().Rrtype != typ {
		soa, _ := dns.NewRR(". 300 IN SOA ns.example. host.example. 1 3600 600 86400 60")
		for _, rr := range records["."] {
			if own, ok := rr.(*dns.SOA); ok {
				soa = own
			}
		}
		m.Ns = append(m.Ns, soa)
	}
}

// find returns the records of name, or those of the nearest wildcard.
func find(records map[string][]dns.RR, name string) ([]dns.RR, bool) {
	if all, ok := records[name]; ok {
		return all, true
	}
	for off, end := dns.NextLabel(name, 0); !end; off, end = dns.NextLabel(name, off) {
		if all, ok := records["*."+name[off:]]; ok {
			return all, true
		}
	}
	return nil, false
}

// maxReply is how long a reply may be.
func maxReply(w dns.ResponseWriter, q *dns.Msg) int {
	if w.LocalAddr().Network() == "tcp" {
		return dns.MaxMsgSize
	}
	if opt := q.IsEdns0(); opt != nil {
		return int(opt.UDPSize())
	}
	return dns.MinMsgSize
}

// Serve answers with handle on addr, over UDP and TCP, until the returned
// function is called. A zero port is chosen by the kernel.
func Serve(addr netip.AddrPort, handle dns.Handler) (bound netip.AddrPort, stop func(), err error) {
	udp, tcp, err := listen(addr)
	if err != nil {
		return bound, nil, err
	}
	var running sync.WaitGroup
	servers := []*dns.Server{{PacketConn: udp, Handler: handle}, {Listener: tcp, Handler: handle}}
	for _, s := range servers {
		started := make(chan struct{})
		s.NotifyStartedFunc = func() { close(started) }
		running.Go(func() { s.ActivateAndServe() })
		<-started
	}
	return udp.LocalAddr().(*net.UDPAddr).AddrPort(), func() {
		for _, s := range servers {
			s.Shutdown()
		}
		running.Wait()
	}, nil
}

// listen opens the same port for UDP and TCP.
func listen(addr netip.AddrPort) (udp *net.UDPConn, tcp *net.TCPListener, err error) {
	const tries = 20 // a port free for one may be taken for the other
	for range tries {
		if tcp, err = net.ListenTCP("tcp", net.TCPAddrFromAddrPort(addr)); err != nil {
			return nil, nil, err
		}
		if udp, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(tcp.Addr().(*net.TCPAddr).AddrPort())); err == nil {
			return udp, tcp, nil
		}
		tcp.Close()
	}
	return nil, nil, err
}
