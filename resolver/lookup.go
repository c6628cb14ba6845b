package resolver

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	"telltale/dnswire"
	"telltale/resolver/cache"
	"telltale/resolver/upstream"
)

// Lookup returns the addresses of a host by the cache and the upstreams, for
// Telltale's own use: what lists say does not count, and nothing is logged.
func (s *Server) Lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	var addrs []netip.Addr
	var why error
	for _, typ := range []uint16{dnswire.TypeA, dnswire.TypeAAAA} {
		e, err := s.lookup(ctx, host, typ)
		if err != nil {
			return nil, err
		}
		if e.Rcode != dnswire.Success {
			why = fmt.Errorf("%s: %s", host, strings.TrimSpace(dnswire.RcodeString(uint8(e.Rcode))+" "+e.EDE.Text))
		}
		for a := range e.Addresses {
			addrs = append(addrs, a)
		}
	}
	switch {
	case len(addrs) > 0:
		return addrs, nil
	case why == nil:
		why = fmt.Errorf("%s has no address", host)
	}
	return nil, why
}

func (s *Server) lookup(ctx context.Context, host string, typ uint16) (*cache.Entry, error) {
	q := &dnswire.Question{Type: typ, Class: dnswire.ClassIN, RD: true}
	if err := q.Name.Set(host); err != nil {
		return nil, err
	}
	if e, ok := s.fromCache(q, s.now(), nil); ok {
		return e, nil
	}
	e, _, err := s.resolveFor(ctx, q, false, upstream.Start{})
	return e, err
}

// resolveFor asks the upstreams a question of our own as start says, and keeps the
// answer, unless it is one upstream's that was named. from is the one that gave it; nil for none.
func (s *Server) resolveFor(ctx context.Context, q *dnswire.Question, private bool, start upstream.Start) (e *cache.Entry, from *upstream.Upstream, err error) {
	type answer struct {
		e    *cache.Entry
		from *upstream.Upstream
	}
	f, done := &flight{question: *q, private: private, start: start}, make(chan answer, 1)
	s.work.Go(func() {
		e, from := s.resolve(f)
		if start.Only == "" {
			s.keep(&f.question, e, from)
			if given := s.orStale(&f.question, e); given != e {
				e, from = given, nil
			}
		}
		done <- answer{e, from}
	})
	select {
	case a := <-done:
		return a.e, a.from, nil
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
}
