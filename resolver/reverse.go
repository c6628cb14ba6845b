package resolver

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"

	"telltale/blocklists"
	"telltale/dnswire"
	"telltale/resolver/upstream"
)

// Reverse returns the name that a private address has in its reverse zone, for Telltale's own
// use: nothing is logged. Only servers that the settings have for it are asked: those to which
// the zone is forwarded for everybody, else the upstreams with a private address. life is how
// long the answer holds, also where there is no name. The error is upstream.ErrNoPrivate
// where there is nobody to ask. With fresh, the cache does not answer.
func (s *Server) Reverse(ctx context.Context, addr netip.Addr, fresh bool) (name string, life time.Duration, err error) {
	reverse, err := dns.ReverseAddr(addr.WithZone("").String())
	if err != nil {
		return "", 0, err
	}
	q := &dnswire.Question{Type: dnswire.TypePTR, Class: dnswire.ClassIN, RD: true}
	if err := q.Name.Set(reverse); err != nil {
		return "", 0, err
	}
	special := s.Special(&q.Name, q.Type, blocklists.Pass, 0)
	private := special.Reply == PrivateOnly
	if special.Rule != 0 || !private && s.Zones(0).Find(&q.Name) == nil {
		return "", 0, upstream.ErrNoPrivate
	}
	e, ok := s.fromCache(q, s.now(), nil)
	if !ok || fresh {
		if e, _, err = s.resolveFor(ctx, q, private, upstream.Start{}); err != nil {
			return "", 0, err
		}
	}
	if e.IsFailure() {
		return "", 0, fmt.Errorf("%s: %s", reverse, strings.TrimSpace(dnswire.RcodeString(uint8(e.Rcode))+" "+e.EDE.Text))
	}
	if names := targets(e, dnswire.TypePTR); len(names) > 0 {
		name = names[0]
	}
	return name, max(0, e.Life-e.Age), nil
}
