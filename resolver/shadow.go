package resolver

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"telltale/blocklists"
	"telltale/dnswire"
	"telltale/resolver/cache"
)

// A Resolved is what upstreams say of a name and a type, before any list is asked.
type Resolved struct {
	Missing   string       // NXDOMAIN or NODATA; "" where there are records of the type
	Aliases   []string     // the names that the answer leads to, in its order
	Addresses []netip.Addr // of its records
	Servers   []string     // of NS records
}

// ErrSpecial means that a name is one that this server answers by itself, as SpecialOf says:
// upstreams are not to see it, whoever names it.
var ErrSpecial = errors.New("the name has a meaning of its own, and no upstream is asked for it")

// ErrStale means that upstreams give no answer now; that of before says nothing of today.
var ErrStale = errors.New("upstreams give no answer now")

// Resolve asks the cache and the upstreams for a name, for Telltale's own use: what lists
// say does not count, no device asked, and nothing is logged or counted. An error means
// that nobody said what there is, or that there is nothing.
func (s *Server) Resolve(ctx context.Context, name string, typ uint16) (r Resolved, err error) {
	var n dnswire.Name
	if err := n.Set(name); err != nil {
		return r, err
	}
	if s.Special(&n, typ, blocklists.Pass, 0) != (Special{}) {
		return r, fmt.Errorf("%s: %w", name, ErrSpecial)
	}
	e, err := s.lookup(ctx, name, typ)
	switch {
	case err != nil:
		return r, err
	case e.Stale:
		return r, ErrStale
	case e.IsFailure():
		return r, fmt.Errorf("%s: %s", name, strings.TrimSpace(dnswire.RcodeString(uint8(e.Rcode))+" "+e.EDE.Text))
	}
	r.Aliases = aliasesOf(e)
	for a := range e.Addresses {
		r.Addresses = append(r.Addresses, a)
	}
	r.Servers = targets(e, dnswire.TypeNS)
	switch {
	case e.Rcode == dnswire.NXDomain:
		r.Missing = "NXDOMAIN"
	case len(r.Addresses) == 0 && typ != dnswire.TypeNS, len(r.Servers) == 0 && typ == dnswire.TypeNS:
		r.Missing = "NODATA"
	}
	return r, nil
}

// aliasesOf returns the names that e leads to.
func aliasesOf(e *cache.Entry) (all []string) {
	for off := 0; off < len(e.Aliases); {
		var n dnswire.Name
		end, err := n.Read(e.Aliases, off)
		if err != nil {
			break
		}
		all = append(all, n.String())
		off = end
	}
	return all
}

// targets returns the names that e's records of a type lead to: NS or PTR.
func targets(e *cache.Entry, typ uint16) (all []string) {
	var flat [dnswire.MaxName]byte
	for _, off := range e.TTLs {
		if binary.BigEndian.Uint16(e.Wire[off-4:]) != typ {
			continue
		}
		if size, _, err := dnswire.Flatten(e.Wire, int(off)+6, &flat); err == nil {
			all = append(all, string(dnswire.AppendText(nil, flat[:size])))
		}
	}
	return all
}
