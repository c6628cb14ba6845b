package upstream

import (
	"cmp"
	"net/netip"
	"reflect"
	"strconv"
	"sync"

	"telltale/dnswire"
)

// A Transport is how queries go to a server.
type Transport uint8

const (
	UDP   Transport = iota // and by TCP where a reply is truncated, or UDP does not get through
	TCP                    // on a connection that stays open
	TLS                    // DNS over TLS (RFC 7858); this one and those below never in clear
	HTTPS                  // DNS over HTTPS (RFC 8484), by HTTP/2
	H3                     // the same by HTTP/3
	QUIC                   // DNS over QUIC (RFC 9250)
)

var transportNames = []string{"udp", "tcp", "tls", "https", "h3", "quic"}

func (t Transport) String() string { return transportNames[t] }

// MarshalText returns what String returns.
func (t Transport) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// IsEncrypted reports whether nobody on the way can read the queries.
func (t Transport) IsEncrypted() bool { return t >= TLS }

// defaultID names a server by its address or host, with the transport where that is not UDP.
func (s *Server) defaultID(addr netip.AddrPort) string {
	if s.Router {
		return s.routerID()
	}
	if s.Transport == UDP {
		return addr.String()
	}
	where := addr.String()
	if s.Host != "" {
		where = s.Host + ":" + strconv.Itoa(int(addr.Port()))
	}
	id := s.Transport.String() + "://" + where + s.Path
	if s.Name != "" {
		id += "#" + s.Name
	}
	return id
}

// tlsName returns what the server's certificate must be valid for.
func (s *Server) tlsName() string {
	return cmp.Or(s.Name, s.Host, s.Addr.Addr().Unmap().WithZone("").String())
}

// plain returns the server as health knows it: with its ID, and without what is its
// members' to say.
func (s *Server) plain() Server {
	p := *s
	p.Addr, p.ID, p.TrustAD = netip.AddrPortFrom(s.Addr.Addr().Unmap(), s.Addr.Port()), s.id(), false
	return p
}

// is reports whether two plain servers are the same.
func (s *Server) is(other *Server) bool { return reflect.DeepEqual(s, other) }

// has reports whether the settings say that the server is at addr.
func (s *Server) has(addr netip.Addr) bool {
	if s.Host == "" {
		return s.Addr.Addr() == addr
	}
	for _, a := range s.Addresses {
		if a.Unmap() == addr {
			return true
		}
	}
	return false
}

// all reports whether something holds for each address in the settings, of which there
// must be one.
func (s *Server) all(holds func(netip.Addr) bool) bool {
	if s.Host == "" {
		return holds(s.Addr.Addr())
	}
	for _, a := range s.Addresses {
		if !holds(a.Unmap()) {
			return false
		}
	}
	return len(s.Addresses) > 0
}

// A carrier carries queries to one upstream, on connections that stay open.
type carrier interface {
	// ask sends q, and posts one result to results, which must have room.
	ask(m *Upstream, q *dnswire.Question, how mode, from int, results chan<- result) sending
	// connected reports whether there is a connection.
	connected() bool
	// lastProblem says what was wrong with the server the last time; empty: nothing.
	lastProblem() string
}

// A delivery is where the result of a query goes that a carrier has. The carrier's mutex
// guards it.
type delivery struct {
	from    int
	results chan<- result
	ended   bool // there is a result
	late    func(*Answer)
	end     func() // called at the end, when late is set
}

// post hands the result on, and ends the query.
func (d *delivery) post(mu *sync.Mutex, r result) {
	r.from = d.from
	mu.Lock()
	d.ended = true
	late, end := d.late, d.end
	if late == nil {
		d.results <- r // there is room for one of each query
	}
	mu.Unlock()
	if late == nil {
		return
	}
	if r.err == nil && r.kind == replyGood {
		late(&r.answer)
	}
	r.answer.Release()
	end()
}

// newCarrier returns what carries queries to an upstream; nil if it is asked by UDP.
// retired is closed when the upstream is no longer one.
func (u *Client) newCarrier(h *health, s Server, retired <-chan struct{}) carrier {
	switch s.Transport {
	case UDP:
		return nil
	case HTTPS:
		return u.newHTTPS(h, s, retired)
	case H3:
		return u.newHTTP3(h, s, retired)
	case QUIC:
		return u.newQUIC(h, s, retired)
	}
	return u.newStream(h, s, retired)
}
